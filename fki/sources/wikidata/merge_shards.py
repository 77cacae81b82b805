"""Merge the shards of a dump: claims by subject, with the labels of their objects.

The label of an object may be in any shard. One pass marks the ids that claims name; one pass over
the labels stores those of marked ids in a table on disk; one pass writes the claims with labels in
the order of the dump, however it was split. Memory holds one bit per item, the table's cache and
the most recently used labels.
"""

import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import merge
from operator import itemgetter
from pathlib import Path

from fki.core.errors import DataError
from fki.core.optional import require_module
from fki.net.downloads import OnProgress
from fki.net.resolve_source import SourceRecord
from fki.sources.id_set import IdSet
from fki.sources.wikidata.dump_shard import (
    CLAIMS,
    FORMAT,
    LABELS,
    Shard,
    check_complete,
    describe_mismatch,
    dump_fingerprint,
    open_shard,
    scratch_folder,
    write_shard,
)
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.statements import Subject

LICENSE = "cc0-1.0"  # of all structured data of Wikidata
CACHE_KIB = 32 * 2**10  # of the label table, in memory
CACHED_LABELS = 2**15  # also in memory: a few items are named by most claims


@dataclass(frozen=True, slots=True)
class DumpSubjects:
    """The subjects of a dump with relevant claims; iteration can be repeated.

    The label of an object is "" if it has no English label or is not in the dump.
    """

    file: Path
    scope: Scope
    source: SourceRecord
    counts: Counter[str]  # lines, items, claims
    dropped: Counter[str]  # skipped lines and statements, by reason
    broken: list[str]  # the first unreadable lines

    def __iter__(self) -> Iterator[Subject]:
        """Yield the subjects in the order of the dump."""
        from fki.sources.wikidata.dump_workers import iter_records

        for _, subject, label, claims in iter_records(self.file):
            yield Subject(subject, label, claims)


@contextmanager
def open_subjects(
    places: Sequence[Path],
    work: Path,
    scope: Scope | None = None,
    *,
    workers: int = 1,
    on_progress: OnProgress | None = None,
) -> Iterator[DumpSubjects]:
    """Open the subjects of a dump: one file, or all shards of one.

    A file is read into a folder under `work`. A repeated run reuses it, until the subjects have
    been used without an error.
    Shards contain their scope: `scope` may be omitted, else it must be the same.
    Raises DataError if the dump is unusable or the shards do not belong together, FkiError if a
    folder cannot be written.
    """
    require_module("msgspec")
    own: list[Path] = []
    if missing := [str(place) for place in places if not place.exists()]:
        raise DataError(f"{missing[0]} not found.", hint="Give a dump, or all of its shards.")
    if all(place.is_dir() for place in places):
        shards = order_shards([open_shard(place) for place in places], scope)
    elif len(places) > 1 or scope is None:
        raise DataError(
            "A dump is one file, or the folders of all of its shards.",
            hint="Run: fki download wiki FILE --from dump",
        )
    else:
        own = [work / work_name(dump_fingerprint(places[0]), scope)]
        shards = [write_shard(places[0], own[0], scope, workers=workers, on_progress=on_progress)]
    name = work_name(shards[0].dump["identity"], shards[0].scope)
    with scratch_folder(work / f"{name}-joined") as scratch:
        yield merge_shards(shards, scratch)
    for folder in own:
        shutil.rmtree(folder, ignore_errors=True)


def work_name(identity: str, scope: Scope) -> str:
    """The folder name for a dump and a scope."""
    key = [FORMAT, identity, *map(str, scope.window), *sorted(scope.update_rules.items())]
    return "dump-" + hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]


def order_shards(shards: Sequence[Shard], scope: Scope | None = None) -> list[Shard]:
    """Sort the shards of one dump. Raises DataError unless they are all shards of one dump."""
    first = shards[0]
    for shard in shards:
        if mismatch := describe_mismatch(shard, first.dump, scope or first.scope):
            raise DataError(
                f"{shard.folder} is {mismatch}.",
                hint="Give shards of one dump with the same window and relations.",
            )
        if shard.index.total != first.index.total:
            raise DataError(
                f"{shard.folder} is shard {shard.index} and {first.folder} is {first.index}: the "
                "dump was split into different numbers of shards.",
                hint="Give shards 1/n to n/n with the same n.",
            )
    by_number = {shard.index.number: shard for shard in shards}
    n = first.index.total
    if missing := [f"{i}/{n}" for i in range(1, n + 1) if i not in by_number]:
        raise DataError(
            f"{len(missing)} of {n} shards are missing: {', '.join(missing[:10])}.",
            hint=f"Run: fki download wiki FILE --from dump --shard {missing[0]} --output FOLDER",
        )
    if len(by_number) < len(shards):
        twice = next(shard for shard in shards if by_number[shard.index.number] is not shard)
        raise DataError(f"{twice.folder} is shard {twice.index}, which is given twice.")
    return [by_number[i] for i in range(1, n + 1)]


def merge_shards(shards: Sequence[Shard], scratch: Path) -> DumpSubjects:
    """Write the shards' claims, with labels, to one file in `scratch`, in the order of the dump.

    Raises DataError if the shards together are not a complete dump.
    """
    from fki.sources.wikidata.dump_workers import encode_record, iter_records

    counts = sum((shard.counts for shard in shards), Counter[str]())
    dropped = sum((shard.dropped for shard in shards), Counter[str]())
    dump = shards[0].dump
    check_complete(dump["name"], counts, dropped)
    files = [shard.folder / CLAIMS for shard in shards]
    objects = IdSet()
    for file in files:
        for _, _, _, claims in iter_records(file):
            for claim in claims:
                objects.add(int(claim.object[1:]))
    merged = scratch / "subjects.jsonl"
    with merged.open("wb") as out, closing(sqlite3.connect(scratch / "labels.sqlite")) as table:
        _fill_labels(table, (label for shard in shards for label in _iter_labels(shard, objects)))
        label_of = _make_lookup(table)
        records = merge(*map(iter_records, files), key=itemgetter(0))
        for piece, subject, label, claims in records:
            labeled = [replace(claim, object_label=label_of(claim.object)) for claim in claims]
            out.write(encode_record((piece, subject, label, labeled)))
    revision = f"{dump['bytes']} bytes, sampled {dump['identity']}"
    source = SourceRecord(dump["name"], LICENSE, revision)
    broken = [line for shard in shards for line in shard.broken]
    return DumpSubjects(merged, shards[0].scope, source, counts, dropped, broken)


def _iter_labels(shard: Shard, items: IdSet) -> Iterator[tuple[int, str]]:
    """Yield (id, label) of the shard's items that are in `items`."""
    with (shard.folder / LABELS).open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            item, _, label = line.partition("\t")
            if (number := int(item[1:])) in items:
                yield number, label.rstrip("\n")


def _fill_labels(table: sqlite3.Connection, labels: Iterable[tuple[int, str]]) -> None:
    """Create the label table; without a journal, since it is discarded after this process."""
    table.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE_KIB};"
        "CREATE TABLE labels (id INTEGER PRIMARY KEY, label TEXT NOT NULL)"
    )
    table.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?)", labels)


def _make_lookup(table: sqlite3.Connection) -> Callable[[str], str]:
    """Make a function from an item's id to its label, "" if it has none."""

    @lru_cache(maxsize=CACHED_LABELS)
    def label_of(item: str) -> str:
        row = table.execute("SELECT label FROM labels WHERE id = ?", (int(item[1:]),)).fetchone()
        return str(row[0]) if row else ""

    return label_of
