"""The sources that are made into datasets on this machine, by what is typed for them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from fki.core.errors import ConfigError, DataError, nearest
from fki.core.paths import user_path
from fki.data import open_dataset
from fki.net.hub import SIGN
from fki.net.resolve_source import brought
from fki.sources import catalog
from fki.sources.benchmarks.registry import READERS
from fki.sources.dataset_writer import DatasetDraft, write_dataset
from fki.sources.request import DownloadRequest, ProgressReporter
from fki.sources.tables import import_table

Make = Callable[[DownloadRequest, ProgressReporter], AbstractContextManager[DatasetDraft]]

ANY = "*"
LIVE = {  # (name, --from): a module with `named`, `settled` and `make`, of what is never the same
    ("wiki", "wikidata"): "fki.sources.wikidata.from_query_service",
    ("wiki", "dump"): "fki.sources.wikidata.from_dump",
    ("wikipedia", ANY): "fki.sources.wikipedia.compared",
}
SUMMARIES = {  # by what is typed
    "wiki --from wikidata": "last month's facts, or those of any window, from the query service",
    "wiki FILE --from dump": "the same from a JSON dump of Wikidata",
    "wikipedia": "what a Wikipedia changed between two dates, or from one export to another",
    "hub:owner/name": "any tables of the Hugging Face Hub, by their columns",
}


class Brought(NamedTuple):
    """A dataset in its place."""

    folder: Path
    was_here: bool
    dropped: dict[str, int]  # rows, or keys, by the reason why they were left out


def bring(wanted: DownloadRequest, output: str, told: ProgressReporter) -> Brought:
    """The dataset that is wanted, made and verified, in `output` or fki's own folder.

    Raises ConfigError for what cannot be made, DataError where its source or what is in the folder
    already is not what it must be.
    """
    if module := LIVE.get((wanted.name, wanted.source)) or LIVE.get((wanted.name, ANY)):
        found = import_module(module)
        return _live(found.make, found.named(wanted), found.settled(wanted), output, told)
    if wanted.name.startswith(SIGN) or wanted.columns:
        return _built(_of_tables, _own_name(wanted), wanted, output, told)
    if not wanted.source:
        wanted.only()
        if output:
            raise ConfigError(
                f"'{wanted.name}' has a place of its own.", hint="Leave --output out."
            )
        return Brought(*catalog.fetch(wanted.name), {})
    return _built(_of_files, wanted.name, wanted, output, told)


def bring_shard(wanted: DownloadRequest, output: str, told: ProgressReporter) -> Path:
    """A part of a dump, in the folder `output`. Raises as `bring` does."""
    if (wanted.name, wanted.source) != ("wiki", "dump"):
        raise ConfigError("--shard is for: fki download wiki FILE --from dump")
    found: Path = import_module(LIVE["wiki", "dump"]).shard(wanted, output, told)
    return found


def _built(
    make: Make, name: str, wanted: DownloadRequest, output: str, told: ProgressReporter
) -> Brought:
    """What is the same whenever it is made: what is there already must be just that."""
    folder = user_path(output) if output else open_dataset.dataset_folder(name)
    with _alone(folder, told), make(wanted, told) as made:
        was_here = catalog.build(folder, lambda fresh: write_dataset(fresh, made))
    return Brought(folder, was_here, made.dropped)


def _live(
    make: Make, name: str, wanted: DownloadRequest, output: str, told: ProgressReporter
) -> Brought:
    """What was made before is not made again: its source may say something else by now."""
    folder = user_path(output) if output else open_dataset.dataset_folder(name)
    with _alone(folder, told):
        if folder.exists():
            _check_same(folder, wanted)
            return Brought(folder, True, {})
        with make(wanted, told) as made:
            catalog.place(folder, lambda fresh: write_dataset(fresh, made))
    return Brought(folder, False, made.dropped)


def _alone(folder: Path, told: ProgressReporter) -> AbstractContextManager[None]:
    def waits() -> None:
        told.note(f"Another process makes {folder.name}: waiting until it is there.")

    return catalog.alone(folder, waits)


def _check_same(folder: Path, wanted: DownloadRequest) -> None:
    """Raises DataError where the folder holds something else than what this command makes."""
    open_dataset.verify(folder)
    command = open_dataset.read_manifest(folder)["command"]
    if command != wanted.typed:
        raise DataError(
            f"{folder} was made by another command: {command}",
            hint=f"Give another --output, or move {folder} away.",
        )


@contextmanager
def _of_files(wanted: DownloadRequest, told: ProgressReporter) -> Iterator[DatasetDraft]:
    """A dataset of the field, made of its authors' files."""
    reader = READERS.get(wanted.name)
    if reader is None:
        known = [*READERS, *(f"{name} --from {source}" for name, source in LIVE if source != ANY)]
        sources = [source for name, source in LIVE if name == wanted.name]
        raise ConfigError(
            f"'{wanted.name}' is not made of files; these are: {', '.join(known)}."
            f"{nearest(wanted.name, READERS)}{nearest(wanted.source, sources)}",
            hint="Run: fki download --list   or give --columns for tables of your own",
        )
    wanted.only("date", *(["revision"] if wanted.source.startswith(SIGN) else []))
    reader.check_date(wanted.date)
    with brought(
        wanted.source,
        reader.licence,
        told.fetched,
        wanted=reader.wanted,
        revision=wanted.revision,
    ) as found:
        made = reader.made(found.folder, wanted.typed, wanted.date)
        made.origins += found.origins
        yield made


def _own_name(wanted: DownloadRequest) -> str:
    """What a dataset of tables is called. Raises ConfigError for a name that is not free."""
    if wanted.name.startswith(SIGN):
        return wanted.name.removeprefix(SIGN).replace("/", "--")
    if wanted.name in catalog.SOURCES or not open_dataset.NAME.fullmatch(wanted.name):
        raise ConfigError(
            f"'{wanted.name}' cannot be the name of a dataset of your own.",
            hint="Give it another name.",
        )
    return wanted.name


@contextmanager
def _of_tables(wanted: DownloadRequest, told: ProgressReporter) -> Iterator[DatasetDraft]:
    """A dataset made of tables, of the Hub or of a folder."""
    is_named = wanted.name.startswith(SIGN)
    place = wanted.name if is_named else wanted.source
    if not place or (is_named and wanted.source):
        raise ConfigError(
            "Which tables?", hint=f"Write: hub:owner/name   or: {_own_name(wanted)} --from PLACE"
        )
    options = ("columns", "config", "split", "date")
    columns = import_table.parse_columns(wanted.columns)
    if place.startswith(SIGN):
        wanted.only(*options, "revision")
        source = import_table.from_hub(
            place, wanted.config, wanted.split, wanted.revision, told.fetched
        )
        wanted = replace(wanted, revision=source.origins[0].revision)
    else:
        wanted.only(*options)
        source = import_table.from_folder(user_path(place), wanted.config, wanted.split)
    if source.chosen.words:
        told.note(f"Of it: {source.chosen.words}.")
    yield import_table.made(_own_name(wanted), source, columns, wanted.date, wanted.typed)
