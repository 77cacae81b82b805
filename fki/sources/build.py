"""The sources that are made into datasets on this machine, by what is typed for them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.core.paths import expand_path
from fki.data import open_dataset
from fki.net.hub import HUB_PREFIX
from fki.net.resolve_source import open_source
from fki.sources import catalog
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import DatasetDraft, write_dataset
from fki.sources.request import DownloadRequest, ProgressReporter
from fki.sources.tables import import_table

Make = Callable[[DownloadRequest, ProgressReporter], AbstractContextManager[DatasetDraft]]

ANY = "*"
LIVE = {  # (name, --from): a module with `named`, `settled` and `make`, of what is never the same
    ("wiki", "wikidata"): "fki.sources.wikidata.from_query_service",
    ("wiki", "dump"): "fki.sources.wikidata.from_dump",
    ("wikipedia", ANY): "fki.sources.wikipedia.build",
}
SUMMARIES = {  # by what is typed
    "wiki --from wikidata": "last month's facts, or those of any window, from the query service",
    "wiki FILE --from dump": "the same from a JSON dump of Wikidata",
    "wikipedia": "what a Wikipedia changed between two dates, or from one export to another",
    "hub:owner/name": "any tables of the Hugging Face Hub, by their columns",
}


class BuiltDataset(NamedTuple):
    """A dataset in its place."""

    folder: Path
    was_here: bool
    dropped: dict[str, int]  # rows, or keys, by the reason why they were left out


def build_dataset(wanted: DownloadRequest, output: str, told: ProgressReporter) -> BuiltDataset:
    """The dataset that is wanted, made and verified, in `output` or fki's own folder.

    Raises ConfigError for what cannot be made, DataError where its source or what is in the folder
    already is not what it must be.
    """
    if module := LIVE.get((wanted.name, wanted.source)) or LIVE.get((wanted.name, ANY)):
        found = import_module(module)
        return _build_live(found.make, found.named(wanted), found.settled(wanted), output, told)
    if wanted.name.startswith(HUB_PREFIX) or wanted.columns:
        return _build_reproducible(_draft_tables, _table_dataset_name(wanted), wanted, output, told)
    if not wanted.source:
        wanted.only()
        if output:
            raise ConfigError(
                f"'{wanted.name}' has a place of its own.", hint="Leave --output out."
            )
        return BuiltDataset(*catalog.fetch_dataset(wanted.name), {})
    return _build_reproducible(_draft_benchmark, wanted.name, wanted, output, told)


def build_shard(wanted: DownloadRequest, output: str, told: ProgressReporter) -> Path:
    """A part of a dump, in the folder `output`. Raises as `bring` does."""
    if (wanted.name, wanted.source) != ("wiki", "dump"):
        raise ConfigError("--shard is for: fki download wiki FILE --from dump")
    found: Path = import_module(LIVE["wiki", "dump"]).shard(wanted, output, told)
    return found


def _build_reproducible(
    make: Make, name: str, wanted: DownloadRequest, output: str, told: ProgressReporter
) -> BuiltDataset:
    """What is the same whenever it is made: what is there already must be just that."""
    folder = expand_path(output) if output else open_dataset.dataset_folder(name)
    with _hold_lock(folder, told), make(wanted, told) as made:
        was_here = catalog.place_or_compare(folder, lambda fresh: write_dataset(fresh, made))
    return BuiltDataset(folder, was_here, made.dropped)


def _build_live(
    make: Make, name: str, wanted: DownloadRequest, output: str, told: ProgressReporter
) -> BuiltDataset:
    """What was made before is not made again: its source may say something else by now."""
    folder = expand_path(output) if output else open_dataset.dataset_folder(name)
    with _hold_lock(folder, told):
        if folder.exists():
            _check_same_command(folder, wanted)
            return BuiltDataset(folder, True, {})
        with make(wanted, told) as made:
            catalog.place_dataset(folder, lambda fresh: write_dataset(fresh, made))
    return BuiltDataset(folder, False, made.dropped)


def _hold_lock(folder: Path, told: ProgressReporter) -> AbstractContextManager[None]:
    def waits() -> None:
        told.note(f"Another process makes {folder.name}: waiting until it is there.")

    return catalog.lock_folder(folder, waits)


def _check_same_command(folder: Path, wanted: DownloadRequest) -> None:
    """Raises DataError where the folder holds something else than what this command makes."""
    open_dataset.verify_dataset(folder)
    command = open_dataset.read_manifest(folder)["command"]
    if command != wanted.typed:
        raise DataError(
            f"{folder} was made by another command: {command}",
            hint=f"Give another --output, or move {folder} away.",
        )


@contextmanager
def _draft_benchmark(wanted: DownloadRequest, told: ProgressReporter) -> Iterator[DatasetDraft]:
    """A dataset of the field, made of its authors' files."""
    reader = BENCHMARKS.get(wanted.name)
    if reader is None:
        known = [
            *BENCHMARKS,
            *(f"{name} --from {source}" for name, source in LIVE if source != ANY),
        ]
        sources = [source for name, source in LIVE if name == wanted.name]
        raise ConfigError(
            f"'{wanted.name}' is not made of files; these are: {', '.join(known)}."
            f"{did_you_mean(wanted.name, BENCHMARKS)}{did_you_mean(wanted.source, sources)}",
            hint="Run: fki download --list   or give --columns for tables of your own",
        )
    wanted.only("date", *(["revision"] if wanted.source.startswith(HUB_PREFIX) else []))
    reader.check_date(wanted.date)
    with open_source(
        wanted.source,
        reader.licence,
        told.fetched,
        wanted=reader.wanted,
        revision=wanted.revision,
    ) as found:
        made = reader.made(found.folder, wanted.typed, wanted.date)
        made.origins += found.origins
        yield made


def _table_dataset_name(wanted: DownloadRequest) -> str:
    """What a dataset of tables is called. Raises ConfigError for a name that is not free."""
    if wanted.name.startswith(HUB_PREFIX):
        return wanted.name.removeprefix(HUB_PREFIX).replace("/", "--")
    if wanted.name in catalog.SOURCES or not open_dataset.DATASET_NAME.fullmatch(wanted.name):
        raise ConfigError(
            f"'{wanted.name}' cannot be the name of a dataset of your own.",
            hint="Give it another name.",
        )
    return wanted.name


@contextmanager
def _draft_tables(wanted: DownloadRequest, told: ProgressReporter) -> Iterator[DatasetDraft]:
    """A dataset made of tables, of the Hub or of a folder."""
    is_named = wanted.name.startswith(HUB_PREFIX)
    place = wanted.name if is_named else wanted.source
    if not place or (is_named and wanted.source):
        raise ConfigError(
            "Which tables?",
            hint=f"Write: hub:owner/name   or: {_table_dataset_name(wanted)} --from PLACE",
        )
    options = ("columns", "config", "split", "date")
    columns = import_table.parse_columns(wanted.columns)
    if place.startswith(HUB_PREFIX):
        wanted.only(*options, "revision")
        source = import_table.open_hub_tables(
            place, wanted.config, wanted.split, wanted.revision, told.fetched
        )
        wanted = replace(wanted, revision=source.origins[0].revision)
    else:
        wanted.only(*options)
        source = import_table.open_folder_tables(expand_path(place), wanted.config, wanted.split)
    if source.chosen.words:
        told.note(f"Of it: {source.chosen.words}.")
    yield import_table.draft_dataset(
        _table_dataset_name(wanted), source, columns, wanted.date, wanted.typed
    )
