"""`fki download`: a dataset, checked, on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fki.commands._console import Show
from fki.commands._dataset_view import (
    VERSIONS,
    DownloadProgress,
    check_folder,
    describe,
    list_datasets,
    verify_all,
)
from fki.commands._options import Json
from fki.core.errors import ConfigError, Interrupted
from fki.core.paths import expand_path

if TYPE_CHECKING:
    from fki.sources.request import DownloadRequest


LIVE = "Facts and texts of some months"
TABLES = "Tables of the Hub, or of a folder like one"


def download(
    name: Annotated[
        str | None, typer.Argument(help="A known dataset, such as wiki, or hub:owner/name.")
    ] = None,
    places: Annotated[
        list[str] | None, typer.Argument(help="Further files or addresses of --from.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="wikidata or dump; or its files: a folder, an archive, an address (#sha256=... "
            "checks it), or hub:owner/name.",
            metavar="PLACE",
        ),
    ] = None,
    date: Annotated[
        str, typer.Option(help="When files without dates are learned, as in 2021-04-30.")
    ] = "",
    columns: Annotated[
        str,
        typer.Option(
            help="Whose columns are ours: subject=A,relation=B,object=C,date=D, or prompt, "
            "target, date, or text, date.",
            rich_help_panel=TABLES,
            metavar="OURS=THEIRS,...",
        ),
    ] = "",
    config: Annotated[
        str, typer.Option(help="A configuration of the dataset.", rich_help_panel=TABLES)
    ] = "",
    split: Annotated[
        str, typer.Option(help="A split, or several: train+test.", rich_help_panel=TABLES)
    ] = "",
    revision: Annotated[
        str,
        typer.Option(help="A branch, tag or commit instead of main.", rich_help_panel=TABLES),
    ] = "",
    since: Annotated[
        str, typer.Option(help="The first day; of last month if left out.", rich_help_panel=LIVE)
    ] = "",
    until: Annotated[
        str, typer.Option(help="The first day no longer wanted.", rich_help_panel=LIVE)
    ] = "",
    relations: Annotated[
        str, typer.Option(help="Only these, as in P6,P35.", rich_help_panel=LIVE, metavar="P,...")
    ] = "",
    limit: Annotated[
        int, typer.Option(min=0, help="Changes of each relation; 0: all.", rich_help_panel=LIVE)
    ] = 0,
    facts: Annotated[
        str,
        typer.Option(
            help="A dataset of Wikidata's facts, to ask what Wikipedia's changes tell.",
            rich_help_panel=LIVE,
            metavar="DATASET",
        ),
    ] = "",
    wiki: Annotated[
        str, typer.Option(help="Which Wikipedia, such as enwiki.", rich_help_panel=LIVE)
    ] = "",
    shard: Annotated[
        str,
        typer.Option(
            help="Read only this part of a dump, as in 1/8.", rich_help_panel=LIVE, metavar="I/N"
        ),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(
            min=0, help="Processes that read dumps; 0: one less than cores.", rich_help_panel=LIVE
        ),
    ] = 0,
    contact: Annotated[
        str,
        typer.Option(
            help="Your e-mail or page, which Wikimedia asks for; or set FKI_CONTACT.",
            rich_help_panel=LIVE,
        ),
    ] = "",
    endpoint: Annotated[
        str,
        typer.Option(
            help="Another SPARQL service with Wikidata's data.",
            rich_help_panel=LIVE,
            metavar="ADDRESS",
        ),
    ] = "",
    mirror: Annotated[
        str,
        typer.Option(
            help="Another host of Wikimedia's dumps.", rich_help_panel=LIVE, metavar="ADDRESS"
        ),
    ] = "",
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
        return list_datasets(show)
    if verify:
        return verify_all(show)
    if check_ is not None:
        return check_folder(expand_path(check_), show)
    if name is None:
        raise ConfigError("Which dataset?", hint="Run: fki download wiki   or: fki download --list")
    from fki.sources.request import DownloadRequest

    _download(
        DownloadRequest(
            name,
            from_ or "",
            tuple(places or ()),
            date=date,
            columns=columns,
            config=config,
            split=split,
            revision=revision,
            since=since,
            until=until,
            relations=relations,
            limit=limit,
            facts=facts,
            wiki=wiki,
            shard=shard,
            workers=workers,
            contact=contact,
            endpoint=endpoint,
            mirror=mirror,
        ),
        output or "",
        show,
    )


def _download(wanted: "DownloadRequest", output: str, show: Show) -> None:
    """A dataset that fki has, or makes of a source."""
    from fki.sources.build import build_dataset, build_shard

    try:
        with DownloadProgress(show) as watch:
            if wanted.shard:
                return _report_shard(build_shard(wanted, output, watch), show)
            folder, was_here, dropped = build_dataset(wanted, output, watch)
        for why, count in sorted(dropped.items(), key=lambda item: -item[1]):
            show.note(f"Left out: {count:,} {'row' if count == 1 else 'rows'}: {why}.")
        is_known = not output
        _report_dataset(folder.name if is_known else str(folder), folder, was_here, show)
    except KeyboardInterrupt:
        raise Interrupted(
            "Stopped; nothing half-made was kept as a dataset.",
            hint="Run the same command again: it goes on where it was.",
        ) from None


def _report_shard(folder: Path, show: Show) -> None:
    """A part of a dump is in place."""
    show.note(f"{folder} holds its part of the dump.")
    show.data(shard=str(folder))
    show.next_commands("fki download wiki ALL-SHARDS... --from dump")


def _report_dataset(name: str, folder: Path, was_here: bool, show: Show) -> None:
    """What came, where it is, and what to type next."""
    from fki.data import open_dataset

    where = "is already in" if was_here else "is now in"
    show.note(f"{folder.name} {where} {folder} (checksums verified).")
    describe([open_dataset.open_stream(name, version, "sentinel") for version in VERSIONS], show)
    card = folder / "README.md"
    show.note(f"Sources, licences and counts: {card}")
    show.data(dataset=name, folder=str(folder), card=str(card), was_here=was_here)
    show.next_commands(
        f"fki train --preset t5_recadam --version quarter --dataset {name}"
        if name != "wiki"
        else "fki train --preset t5_recadam --version quarter"
    )
