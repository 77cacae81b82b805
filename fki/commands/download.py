"""`fki download`: a dataset, checked, on this machine."""

from typing import Annotated

import typer

from fki.commands._options import Json
from fki.commands._show import Show, new_table, number
from fki.core.errors import ConfigError
from fki.core.types import Version

VERSIONS: tuple[Version, ...] = ("day", "month", "quarter")


def download(
    name: Annotated[str | None, typer.Argument(help="A known dataset, such as wiki.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the known datasets.")] = False,
    as_json: Json = False,
) -> None:
    """Put a dataset on this machine, verify it, and say what came."""
    from fki.data import catalog

    show = Show(as_json=as_json)
    if list_:
        table = new_table("dataset", "what it holds", "here")
        for source in catalog.SOURCES.values():
            is_here = catalog.dataset_folder(source.name).exists()
            table.add_row(source.name, source.summary, "yes" if is_here else "no")
            show.data(dataset=source.name, summary=source.summary, here=is_here)
        return show.table(table)
    if name is None:
        raise ConfigError("Which dataset?", hint="Run: fki download wiki   or: fki download --list")
    folder, was_here = catalog.fetch(name)
    show.note(
        f"{name} {'is already in' if was_here else 'is now in'} {folder} (checksums verified)."
    )
    _describe(name, show)
    card = folder / "README.md"
    show.note(f"Sources, licences and counts: {card}")
    show.data(dataset=name, folder=str(folder), card=str(card), was_here=was_here)
    show.next_commands(
        f"fki train --preset t5_recadam --version quarter --dataset {name}"
        if name != "wiki"
        else "fki train --preset t5_recadam --version quarter"
    )


def _describe(name: str, show: Show) -> None:
    """One row per version: periods, facts, and probes by set."""
    from fki.data import catalog

    streams = [catalog.open_stream(name, version, "sentinel") for version in VERSIONS]
    sets = [s.name for s in streams[0].probe_sets]
    counts = ["periods", "facts", *sets]
    table = new_table("version", *counts, numbers=counts)
    for stream in streams:
        facts = sum(len(p.facts) for p in stream.periods)
        probes = {s.name: len(s) for s in stream.probe_sets}
        row = [len(stream.periods), facts, *(probes.get(s, 0) for s in sets)]
        first, last = stream.periods[0].start, stream.periods[-1].end
        table.add_row(stream.version, *(number(n, 0) for n in row))
        show.data(
            version=stream.version,
            periods=len(stream.periods),
            facts=facts,
            probes=probes,
            first=str(first),
            last=str(last),
        )
    show.table(table)
    show.note(f"The stream runs from {first} to {last}; probes are counted by set.")
