"""`fki download wiki FILE --from dump`: the facts of a window, from a JSON dump or its shards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fki.core.errors import ConfigError
from fki.core.paths import data_home, expand_path
from fki.net.resolve_source import resolve_place
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import DumpRequest, ProgressReporter
from fki.sources.wikidata.dataset import build_draft
from fki.sources.wikidata.dump_shard import ShardIndex, dump_fingerprint, open_shard, write_shard
from fki.sources.wikidata.merge_shards import open_subjects, work_name
from fki.sources.wikidata.ray_shards import open_shards
from fki.sources.wikidata.relations import select_relations
from fki.sources.wikidata.scope import Scope

DEFAULT_WORKERS = max(1, (os.cpu_count() or 2) - 1)  # one core is left to decompress and write


def dataset_name(request: DumpRequest) -> str:
    """The dataset's name. Raises ConfigError if no dump is given."""
    return _complete_request(request).dataset_name


def resolve_dates(request: DumpRequest) -> DumpRequest:
    """The request with its window as dates, so that a later run builds the same; shards contain
    their window."""
    are_shards = any(expand_path(place).is_dir() for place in request.places)
    return request if are_shards else request.with_dates()


@contextmanager
def open_draft(request: DumpRequest, progress: ProgressReporter) -> Iterator[DatasetDraft]:
    """Build the dataset of a window.

    Raises ConfigError for unsupported options, DataError if the dump is unusable.
    """
    complete = _complete_request(request)
    relations = select_relations(complete.relations or "all")
    scope = Scope.from_relations(complete.window(), relations)
    work = data_home() / "downloads"
    with (
        _open_places(complete, work, scope, progress) as places,
        open_subjects(
            places,
            work,
            scope,
            workers=request.workers or DEFAULT_WORKERS,
            on_progress=progress.report_file,
        ) as subjects,
    ):
        draft = build_draft(
            subjects, relations, complete.window(), complete, subjects.source, subjects.dropped
        )
        draft.command = request.command
        draft.notes += [f"Unreadable line: {line}" for line in subjects.broken]
        yield draft


@contextmanager
def _open_places(
    request: DumpRequest, work: Path, scope: Scope, progress: ProgressReporter
) -> Iterator[list[Path]]:
    """The dump or the shards of a request; with --on, the shards that a cluster writes."""
    places = [resolve_place(place, progress.report_file) for place in request.places]
    if not request.on:
        yield places
        return
    if len(places) > 1 or places[0].is_dir():
        raise ConfigError(
            "--on reads one dump; shards that exist are merged here.", hint="Leave --on out."
        )
    folder = work / f"{work_name(dump_fingerprint(places[0]), scope)}-shards"
    with open_shards(places[0], folder, request, progress) as shards:
        yield shards


def build_shard(request: DumpRequest, output: str, progress: ProgressReporter) -> Path:
    """Read a share of a dump into the folder `output`, which `open_draft` merges with the others.

    Raises ConfigError for unsupported options, DataError if the dump is unusable.
    """
    index = ShardIndex.parse(request.shard)
    if len(request.places) != 1:
        raise ConfigError(
            "A shard is read from one dump.",
            hint="Run: fki download wiki FILE --from dump --shard 1/8 --output shard-1",
        )
    if not output:
        raise ConfigError("--shard requires an output folder.", hint="Add --output shard-1")
    scope = Scope.from_relations(request.window(), select_relations(request.relations or "all"))
    written = write_shard(
        resolve_place(request.places[0], progress.report_file),
        expand_path(output),
        scope,
        index,
        workers=request.workers or DEFAULT_WORKERS,
        on_progress=progress.report_file,
    )
    return written.folder


def _complete_request(request: DumpRequest) -> DumpRequest:
    """The request; window and relations that are not given are those of the shards."""
    if not request.places:
        raise ConfigError(
            "No dump given.",
            hint="Run: fki download wiki latest-all.json.bz2 --from dump   (or all of its shards)",
        )
    first = expand_path(request.places[0])
    if not first.is_dir():
        return request
    scope = open_shard(first, is_checked=False).scope
    return replace(
        request,
        since=request.since or str(scope.window.since),
        until=request.until or str(scope.window.until),
        relations=request.relations or ",".join(scope.update_rules),
    )
