"""What `fki download` shows of datasets: which there are, what one holds, whether all are sound."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fki.commands._console import Show, make_table
from fki.core.errors import DataError
from fki.core.formatting import format_number
from fki.core.types import Version

if TYPE_CHECKING:
    from fki.core.types import Stream
    from fki.net.downloads import FileProgress as Fetched

VERSIONS: tuple[Version, ...] = ("day", "month", "quarter")


def list_datasets(show: Show) -> None:
    """The known datasets, and those that were made on this machine."""
    from fki.sources import catalog
    from fki.sources.build import SUMMARIES

    table = make_table("dataset", "what it holds", "here")
    kept = catalog.list_datasets()
    for source in catalog.SOURCES.values():
        is_here = source.name in kept
        table.add_row(source.name, source.summary, "yes" if is_here else "no")
        show.data(dataset=source.name, summary=source.summary, here=is_here)
    for typed, summary in SUMMARIES.items():
        table.add_row(typed, summary, "")
        show.data(dataset=typed, summary=summary, here=False)
    for name in kept:
        if name not in catalog.SOURCES:
            table.add_row(name, "made on this machine", "yes")
            show.data(dataset=name, summary="made on this machine", here=True)
    show.table(table)


def verify_all(show: Show) -> None:
    """Each dataset on this machine against its manifest. Raises DataError where one was altered."""
    from fki.data import open_dataset
    from fki.sources import catalog

    table = make_table("dataset", "digest", "files")
    faults = []
    for name in catalog.list_datasets():
        try:
            told = open_dataset.verify_dataset(open_dataset.dataset_folder(name))
            table.add_row(name, told[:16], "as they were made")
            show.data(dataset=name, digest=told, ok=True)
        except DataError as error:
            faults.append(str(error))
            table.add_row(name, "", "altered")
            show.data(dataset=name, ok=False, problem=str(error))
    show.table(table)
    if faults:
        raise DataError("\n".join(faults), hint="Move what was altered away and download it again.")


def check_folder(folder: Path, show: Show) -> None:
    """A dataset folder, fki's or one's own: rows, periods, probes, manifest and card.

    Raises DataError where anything is wrong.
    """
    from fki.data import open_dataset
    from fki.sources import catalog

    faults = catalog.find_faults(folder)
    describe(
        [
            open_dataset.open_stream(str(folder.resolve()), version, "sentinel")
            for version in VERSIONS
        ],
        show,
    )
    if faults:
        raise DataError("\n".join(faults))
    show.data(folder=str(folder), ok=True)
    show.note(f"{folder} is sound.")


def describe(streams: "list[Stream]", show: Show) -> None:
    """One row per version: periods, facts, and probes by set."""
    sets = [s.name for s in streams[0].probe_sets]
    counts = ["periods", "facts", *sets]
    table = make_table("version", *counts, numbers=counts)
    for stream in streams:
        facts = sum(len(p.facts) for p in stream.periods)
        probes = {s.name: len(s) for s in stream.probe_sets}
        row = [len(stream.periods), facts, *(probes.get(s, 0) for s in sets)]
        first, last = stream.periods[0].start, stream.periods[-1].end
        table.add_row(stream.version, *(format_number(n, 0) for n in row))
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


class DownloadProgress:
    """Bars on stderr while files come and questions are answered, with how long it will take."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=show.err,
            transient=True,
            disable=not show.err.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "DownloadProgress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        """A sentence for the user, above the bars."""
        self._show.note(text)

    def fetched(self, fetched: "Fetched") -> None:
        """So much of a file is here."""
        total = f"/{fetched.total / 2**20:,.1f}" if fetched.total else ""
        shown = f"{fetched.done / 2**20:,.1f}{total} MiB"
        self._move(fetched.name, fetched.done, fetched.total, shown)

    def counted(self, what: str, done: int, total: int) -> None:
        """So many of a round's parts are done."""
        self._move(what, done, total, f"{done:,}/{total:,}")
        if done == total and not self._show.err.is_terminal:
            self.note(f"{what}: {total:,}")

    def _move(self, name: str, done: int, total: int | None, shown: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, shown=shown)
        self._bars.update(self._tasks[name], completed=done, total=total, shown=shown)
