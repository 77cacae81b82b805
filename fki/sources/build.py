"""From a request of `fki download` to a dataset in its place: which source reads it, and how."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.core.paths import expand_path
from fki.data import open_dataset
from fki.data.known_datasets import KNOWN_DATASETS
from fki.net.hub import HUB_PREFIX
from fki.net.resolve_source import ADDRESS, open_source
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import DatasetDraft, write_dataset
from fki.sources.place_dataset import lock_folder, place_dataset, place_embedded, place_or_compare
from fki.sources.request import (
    BenchmarkRequest,
    DownloadRequest,
    DumpRequest,
    ProgressReporter,
    TableRequest,
    WikidataRequest,
    WikipediaRequest,
)
from fki.sources.tables import import_table

R = TypeVar("R", bound=DownloadRequest)
OpenDraft = Callable[[R, ProgressReporter], AbstractContextManager[DatasetDraft]]

ANY = "*"


class LiveModule(Protocol[R]):
    """The functions of a module that reads a source whose content changes from day to day."""

    def dataset_name(self, request: R) -> str:
        """The dataset's name, which contains what was requested."""

    def resolve_dates(self, request: R) -> R:
        """The request with every date filled in, so that it means the same another day."""

    def open_draft(
        self, request: R, progress: ProgressReporter
    ) -> AbstractContextManager[DatasetDraft]:
        """The dataset, for as long as it is written."""


class LiveSource(NamedTuple):
    """A source whose content changes from day to day."""

    module: str  # a LiveModule, imported when it is needed
    request: type[DownloadRequest]
    summary: str


LIVE_SOURCES = {  # by name and --from
    ("wiki", "wikidata"): LiveSource(
        "fki.sources.wikidata.from_query_service",
        WikidataRequest,
        "last month's facts, or those of any window, from Wikidata's query service",
    ),
    ("wiki", "dump"): LiveSource(
        "fki.sources.wikidata.from_dump",
        DumpRequest,
        "the same facts from a JSON dump of Wikidata",
    ),
    ("wikipedia", ANY): LiveSource(
        "fki.sources.wikipedia.build",
        WikipediaRequest,
        "the changes of a Wikipedia between two dates, or between two exports",
    ),
}
SUMMARIES = {source.request.usage: source.summary for source in LIVE_SOURCES.values()} | {
    TableRequest.usage: "any tables of the Hugging Face Hub, by their columns"
}


class BuiltDataset(NamedTuple):
    """A dataset in its place."""

    folder: Path
    was_here: bool
    dropped: dict[str, int]  # rows, or keys, by the reason why they were skipped


def make_request(
    name: str, source: str, places: tuple[str, ...], options: Mapping[str, Any]
) -> DownloadRequest:
    """The request of the source that reads these arguments of `fki download`.

    Args:
        source: the value of --from, "" if not given.
        options: values by the option's name; "" and 0 are not given.
    Raises:
        ConfigError: no source has this name, or it does not read one of the options.
    """
    return _request_type(name, source, options).parse(name, source, places, options)


def build_dataset(
    request: DownloadRequest, output: str, progress: ProgressReporter
) -> BuiltDataset:
    """Build and verify the requested dataset in `output`, by default in the data folder.

    Raises ConfigError for a request that cannot be met, DataError if the source, or the content of
    the folder, is not what it must be.
    """
    if isinstance(request, TableRequest):
        name = _table_dataset_name(request)
        return _build_reproducible(_draft_tables, name, request, output, progress)
    if isinstance(request, BenchmarkRequest):
        return _build_reproducible(_draft_benchmark, request.name, request, output, progress)
    if source := _live_source(request.name, request.source):
        module = _import_live(source)
        request = module.resolve_dates(request)
        name = module.dataset_name(request)
        return _build_live(module.open_draft, name, request, output, progress)
    return _place_known(request.name, output)


def build_shard(request: DownloadRequest, output: str, progress: ProgressReporter) -> Path:
    """Read one shard of a dump into the folder `output`. Raises as `build_dataset` does."""
    module: Any = import_module(LIVE_SOURCES["wiki", "dump"].module)
    folder: Path = module.build_shard(request, output, progress)
    return folder


def _live_source(name: str, source: str) -> LiveSource | None:
    return LIVE_SOURCES.get((name, source)) or LIVE_SOURCES.get((name, ANY))


def _import_live(source: LiveSource) -> LiveModule[Any]:
    return cast("LiveModule[Any]", import_module(source.module))


def _request_type(name: str, source: str, options: Mapping[str, Any]) -> type[DownloadRequest]:
    """Raises ConfigError for a name that no source reads from this place."""
    if live := _live_source(name, source):
        return live.request
    if name.startswith(HUB_PREFIX) or options.get("columns"):
        return TableRequest
    if not source:
        return DownloadRequest
    if name in BENCHMARKS:
        return BenchmarkRequest
    typed = [f"{name} --from {place}" for name, place in LIVE_SOURCES if place != ANY]
    places = [place for live_name, place in LIVE_SOURCES if live_name == name]
    raise ConfigError(
        f"'{name}' has no reader for --from {source}. Readers: "
        f"{', '.join([*BENCHMARKS, *typed])}.{did_you_mean(name, BENCHMARKS)}"
        f"{did_you_mean(source, places)}",
        hint="Run: fki download --list   or give --columns for your own tables",
    )


def _place_known(name: str, output: str) -> BuiltDataset:
    """The embedded dataset. Raises DataError for any other name."""
    known = KNOWN_DATASETS.get(name)
    if known is None:
        raise DataError(
            f"Dataset '{name}' not found.{did_you_mean(name, KNOWN_DATASETS)}",
            hint="Run: fki download --list",
        )
    if name in BENCHMARKS:
        raise BENCHMARKS[name].missing_files_error()
    if output:
        raise ConfigError(f"'{name}' has a fixed folder.", hint="Leave --output out.")
    return BuiltDataset(*place_embedded(name), {})


def _build_reproducible(
    open_draft: OpenDraft[R], name: str, request: R, output: str, progress: ProgressReporter
) -> BuiltDataset:
    """Build a dataset whose source never changes: an existing folder must have the same content."""
    folder = _target_folder(name, output)
    with _hold_lock(folder, progress), open_draft(request, progress) as draft:
        was_here = place_or_compare(folder, lambda fresh: write_dataset(fresh, draft))
    return BuiltDataset(folder, was_here, draft.dropped)


def _build_live(
    open_draft: OpenDraft[R], name: str, request: R, output: str, progress: ProgressReporter
) -> BuiltDataset:
    """Build a dataset whose source changes: an existing folder of the same command is kept."""
    folder = _target_folder(name, output)
    with _hold_lock(folder, progress):
        if folder.exists():
            _check_same_command(folder, request)
            return BuiltDataset(folder, True, {})
        with open_draft(request, progress) as draft:
            place_dataset(folder, lambda fresh: write_dataset(fresh, draft))
    return BuiltDataset(folder, False, draft.dropped)


def _target_folder(name: str, output: str) -> Path:
    return expand_path(output) if output else open_dataset.dataset_folder(name)


def _hold_lock(folder: Path, progress: ProgressReporter) -> AbstractContextManager[None]:
    def report_wait() -> None:
        progress.note(f"Another process is making {folder.name}; waiting for it.")

    return lock_folder(folder, report_wait)


def _check_same_command(folder: Path, request: DownloadRequest) -> None:
    """Raises DataError if another command made the dataset in the folder."""
    open_dataset.verify_dataset(folder)
    command = open_dataset.read_manifest(folder)["command"]
    if command != request.command:
        raise DataError(
            f"{folder} was made by another command: {command}",
            hint=f"Give another --output, or move {folder} away.",
        )


@contextmanager
def _draft_benchmark(
    request: BenchmarkRequest, progress: ProgressReporter
) -> Iterator[DatasetDraft]:
    """A benchmark's dataset, read from its authors' files."""
    benchmark = BENCHMARKS[request.name]
    benchmark.check_date(request.date)
    benchmark.check_choices(request.target, request.as_)
    with open_source(
        request.source,
        benchmark.dataset.license,
        progress.report_file,
        patterns=benchmark.patterns,
        revision=request.revision,
    ) as files:
        draft = benchmark.draft(
            files.folder,
            request.command,
            request.date,
            request.target,
            request.source,
            request.as_,
        )
        draft.origins += files.origins
        yield draft


def _table_dataset_name(request: TableRequest) -> str:
    """The name of a dataset of tables. Raises ConfigError if the name is taken or invalid."""
    if request.name.startswith(HUB_PREFIX):
        return request.name.removeprefix(HUB_PREFIX).replace("/", "--")
    if request.name in KNOWN_DATASETS or not open_dataset.DATASET_NAME.fullmatch(request.name):
        raise ConfigError(
            f"'{request.name}' cannot be the name of a dataset of your own.",
            hint="Give it another name.",
        )
    return request.name


@contextmanager
def _draft_tables(request: TableRequest, progress: ProgressReporter) -> Iterator[DatasetDraft]:
    """A dataset of tables, from the Hub or from a folder."""
    name, place = _table_dataset_name(request), request.place
    if not request.source and not place.startswith(HUB_PREFIX):
        raise ConfigError(
            "--columns needs tables.", hint=f"Write: hub:owner/name   or: {name} --from PLACE"
        )
    if request.source and request.name.startswith(HUB_PREFIX):
        raise ConfigError(
            f"'{request.name}' and --from name two places.", hint="Leave one of them out."
        )
    columns = import_table.parse_columns(request.columns)
    if place.startswith(HUB_PREFIX):
        source = import_table.open_hub_tables(
            place, request.subset, request.split, request.revision, progress.report_file
        )
        request = replace(request, revision=source.origins[0].revision)
    elif ADDRESS.match(place):
        raise ConfigError(
            f"--columns does not read an address: {place}",
            hint="Download its files, and give their folder: --from FOLDER",
        )
    else:
        source = import_table.open_folder_tables(expand_path(place), request.subset, request.split)
    if source.selection.description:
        progress.note(f"Using {source.selection.description}.")
    yield import_table.draft_dataset(name, source, columns, request.date, request.command)
