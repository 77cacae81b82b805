"""`fki download wiki FILE --from dump`: facts of some months, from a JSON dump or its shards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fki.core.errors import ConfigError
from fki.core.paths import data_home, expand_path
from fki.net.resolve_source import resolve_place
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import DownloadRequest, ProgressReporter
from fki.sources.wikidata.dataset import build_draft
from fki.sources.wikidata.dump_shard import ShardIndex, open_shard, write_shard
from fki.sources.wikidata.entities import Scope
from fki.sources.wikidata.merge_shards import open_subjects
from fki.sources.wikidata.relations import select_relations

DEFAULT_WORKERS = max(1, (os.cpu_count() or 2) - 1)  # one is left to decompress and to write
OPTIONS = ("places", "since", "until", "relations", "limit", "workers", "contact")


def named(wanted: DownloadRequest) -> str:
    """What the dataset is called. Raises ConfigError where no dump is named."""
    return _add_shard_window(wanted).dataset


def settled(wanted: DownloadRequest) -> DownloadRequest:
    """What is wanted, so that the same command makes the same another day; shards tell their days
    themselves."""
    are_shards = any(expand_path(place).is_dir() for place in wanted.places)
    return wanted if are_shards else wanted.dated()


@contextmanager
def make(wanted: DownloadRequest, told: ProgressReporter) -> Iterator[DatasetDraft]:
    """The dataset of a window. Raises ConfigError or DataError where the dump cannot be used."""
    wanted.only(*OPTIONS)
    asked = _add_shard_window(wanted)
    relations = select_relations(asked.relations or "all")
    scope = Scope.of(asked.window(), relations)
    places = [resolve_place(place, told.fetched) for place in wanted.places]
    with open_subjects(
        places,
        data_home() / "downloads",
        scope,
        workers=wanted.workers or DEFAULT_WORKERS,
        watch=told.fetched,
    ) as subjects:
        origin = subjects.origins[0]
        made = build_draft(subjects, relations, asked.window(), asked, origin)
        made.command = wanted.typed
        made.dropped.update(subjects.dropped)
        made.notes += [f"A line that could not be read: {line}" for line in subjects.broken]
        yield made


def shard(wanted: DownloadRequest, output: str, told: ProgressReporter) -> Path:
    """A share of a dump, read on this machine into a folder that others are merged with."""
    wanted.only(*OPTIONS, "shard")
    part = ShardIndex.parse(wanted.shard)
    if len(wanted.places) != 1:
        raise ConfigError(
            "A shard is of one dump.",
            hint="Run: fki download wiki FILE --from dump --shard 1/8 --output shard-1",
        )
    if not output:
        raise ConfigError("A shard needs a folder.", hint="Add --output shard-1")
    scope = Scope.of(wanted.window(), select_relations(wanted.relations or "all"))
    dump = resolve_place(wanted.places[0], told.fetched)
    found = write_shard(
        dump,
        expand_path(output),
        scope,
        part,
        workers=wanted.workers or DEFAULT_WORKERS,
        watch=told.fetched,
    )
    return found.folder


def _add_shard_window(wanted: DownloadRequest) -> DownloadRequest:
    """What is wanted; shards tell themselves what they were read for."""
    if not wanted.places:
        raise ConfigError(
            "Which dump?",
            hint="Run: fki download wiki latest-all.json.bz2 --from dump   (or all of its shards)",
        )
    first = expand_path(wanted.places[0])
    if not first.is_dir():
        return wanted
    scope = open_shard(first, is_checked=False).scope
    return replace(
        wanted,
        since=wanted.since or str(scope.window.since),
        until=wanted.until or str(scope.window.until),
        relations=wanted.relations or ",".join(scope.holds),
    )
