"""`fki download`: a dataset, checked, on this machine."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fki.commands._datasets import VERSIONS, Watch, check, describe, list_all, verify_all
from fki.commands._options import Json
from fki.commands._show import Show
from fki.core.errors import ConfigError, nearest
from fki.core.home import user_path


def download(
    name: Annotated[str | None, typer.Argument(help="A known dataset, such as wiki.")] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Its authors' files: a folder, an archive, or an address (#sha256=... checks it).",
            metavar="PLACE",
        ),
    ] = None,
    date: Annotated[
        str | None, typer.Option(help="When files without dates are learned, as in 2021-04-30.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help="A new folder for it, instead of fki's own.", metavar="FOLDER"),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the known datasets.")] = False,
    check_: Annotated[
        str | None, typer.Option("--check", help="Check a dataset folder.", metavar="FOLDER")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Check what is on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Put a dataset on this machine, verify it, and say what came."""
    show = Show(as_json=as_json)
    if list_:
        return list_all(show)
    if verify:
        return verify_all(show)
    if check_ is not None:
        return check(user_path(check_), show)
    if name is None:
        raise ConfigError("Which dataset?", hint="Run: fki download wiki   or: fki download --list")
    if from_ is None:
        return _bring(name, show)
    _make(name, from_, date or "", output, show)


def _bring(name: str, show: Show) -> None:
    """A dataset that fki can get by itself."""
    from fki.data import catalog

    folder, was_here = catalog.fetch(name)
    _tell(name, folder, was_here, show)


def _make(name: str, place: str, date: str, output: str | None, show: Show) -> None:
    """A dataset of the field, made of its authors' files."""
    from fki.data import catalog
    from fki.data.bring import brought
    from fki.data.field.readers import READERS
    from fki.data.made import write_dataset

    reader = READERS.get(name)
    if reader is None:
        raise ConfigError(
            f"'{name}' is not made of files; these are: {', '.join(READERS)}."
            f"{nearest(name, READERS)}",
            hint="Run: fki download --list",
        )
    options = {"--from": place, "--date": date, "--output": output or ""}
    typed = shlex.join(["fki", "download", name, *_given(options)])
    folder = user_path(output) if output else catalog.dataset_folder(name)
    with Watch(show) as watch, brought(place, reader.licence, watch) as found:
        made = reader.made(found.folder, typed, date)
        made.origins += found.origins
        was_here = catalog.build(folder, lambda fresh: write_dataset(fresh, made))
    for why, count in made.dropped.most_common():
        if count:
            show.note(f"Left out: {count:,} {'row' if count == 1 else 'rows'}: {why}.")
    _tell(str(folder) if output else name, folder, was_here, show)


def _given(options: dict[str, str]) -> list[str]:
    """The options that have a value, as they are typed."""
    return [word for option, value in options.items() if value for word in (option, value)]


def _tell(name: str, folder: Path, was_here: bool, show: Show) -> None:
    """What came, where it is, and what to type next."""
    from fki.data import catalog

    where = "is already in" if was_here else "is now in"
    show.note(f"{folder.name} {where} {folder} (checksums verified).")
    describe([catalog.open_stream(name, version, "sentinel") for version in VERSIONS], show)
    card = folder / "README.md"
    show.note(f"Sources, licences and counts: {card}")
    show.data(dataset=name, folder=str(folder), card=str(card), was_here=was_here)
    show.next_commands(
        f"fki train --preset t5_recadam --version quarter --dataset {name}"
        if name != "wiki"
        else "fki train --preset t5_recadam --version quarter"
    )
