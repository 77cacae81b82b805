"""The shards of a dump together: claims by subject, with the labels of what they name.

An object's label may be in any shard. So the ids that claims name are marked, a bit each; the
labels are gone through once, and those of marked ids kept in a table on disk; then the claims are
written again with their labels, in the order of the dump, whatever it was cut into. In memory are a
bit for each item, the table's cache and the labels that were used last.
"""

import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

from fki.core.errors import DataError
from fki.net.downloads import OnProgress
from fki.net.optional import require_module
from fki.net.resolve_source import SourceRecord
from fki.sources.wikidata.dump_shard import (
    CLAIMS,
    LABELS,
    Shard,
    check_complete,
    describe_mismatch,
    dump_fingerprint,
    open_shard,
    scratch_folder,
    write_shard,
)
from fki.sources.wikidata.entities import Scope
from fki.sources.wikidata.statements import Subject

LICENSE = "cc0-1.0"  # of all of Wikidata's structured data
CHUNK_IDS = 2**20  # ids whose bits are kept together
CACHE_KIB = 32 * 2**10  # KiB of the table of labels that are held in memory
CACHED_LABELS = 2**15  # labels that are held too: a few items are named by most claims


@dataclass(frozen=True, slots=True)
class DumpSubjects:
    """The subjects of a dump with claims that matter for a window; to be gone through as often as
    needed. An object that has no English label, or is not in the dump, has ""."""

    file: Path
    scope: Scope
    origins: list[SourceRecord]
    counts: Counter[str]  # lines, items, claims
    dropped: Counter[str]  # what was left out, by reason
    broken: list[str]  # the first lines that could not be read

    def __iter__(self) -> Iterator[Subject]:
        """One subject after the other, in the order of the dump."""
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
    watch: OnProgress | None = None,
) -> Iterator[DumpSubjects]:
    """The subjects of a dump, one file, or of all shards of one, for as long as they are needed.

    A file is read into a folder of its own under `work`, from where a repeated run takes it, until
    the subjects have been used without an error.
    Shards tell what they were asked for: `scope` may be left out, or must be the same.
    Raises DataError where the dump cannot be used or shards do not belong together, FkiError where
    the disk refuses.
    """
    require_module("msgspec")
    own: list[Path] = []
    if away := [str(place) for place in places if not place.exists()]:
        raise DataError(
            f"There is nothing at {away[0]}.", hint="Give a dump, or all of its shards."
        )
    if all(place.is_dir() for place in places):
        shards = order_shards([open_shard(place) for place in places], scope)
    elif len(places) > 1 or scope is None:
        raise DataError(
            "A dump is one file, or the folders of all of its shards.",
            hint="Run: fki download wiki FILE --from dump",
        )
    else:
        own = [work / _work_name(dump_fingerprint(places[0]), scope)]
        shards = [write_shard(places[0], own[0], scope, workers=workers, watch=watch)]
    key = _work_name(shards[0].dump["identity"], shards[0].scope)
    with scratch_folder(work / f"{key}-joined") as room:
        yield merge_shards(shards, room)
    for folder in own:
        shutil.rmtree(folder, ignore_errors=True)


def _work_name(identity: str, scope: Scope) -> str:
    """The name of the folder for a dump and what is asked of it."""
    asked = [identity, *map(str, scope.window), *sorted(scope.holds.items())]
    return "dump-" + hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]


def order_shards(shards: Sequence[Shard], scope: Scope | None = None) -> list[Shard]:
    """All shards of one dump, in order. Raises DataError where they are not that."""
    first = shards[0]
    for shard in shards:
        if what := describe_mismatch(shard, first.dump, scope or first.scope):
            raise DataError(
                f"{shard.folder} is {what}.",
                hint="Give the shards of one dump, read for the same window and relations.",
            )
        if shard.part.n != first.part.n:
            raise DataError(
                f"{shard.folder} is shard {shard.part}, and {first.folder} is {first.part}: "
                "they come of another number of shards.",
                hint="Give shards of one cut, 1/n to n/n.",
            )
    by_part = {shard.part.i: shard for shard in shards}
    n = first.part.n
    if missing := [f"{i}/{n}" for i in range(1, n + 1) if i not in by_part]:
        raise DataError(
            f"{len(missing)} of {n} shards are missing: {', '.join(missing[:10])}.",
            hint=f"Run: fki download wiki FILE --from dump --shard {missing[0]} --output FOLDER",
        )
    if len(by_part) < len(shards):
        twice = next(shard for shard in shards if by_part[shard.part.i] is not shard)
        raise DataError(f"{twice.folder} is shard {twice.part}, which is given twice.")
    return [by_part[i] for i in range(1, n + 1)]


def merge_shards(shards: Sequence[Shard], room: Path) -> DumpSubjects:
    """The shards' claims in a file in `room`, labels filled in, in the order of the dump.

    Raises DataError where together they are no whole dump.
    """
    from fki.sources.wikidata.dump_workers import encode_record, iter_records

    counts = sum((shard.counts for shard in shards), Counter[str]())
    dropped = sum((shard.dropped for shard in shards), Counter[str]())
    check_complete(shards[0].dump["name"], counts, dropped)
    files = [shard.folder / CLAIMS for shard in shards]
    named = IdSet()
    for file in files:
        for _, _, _, claims in iter_records(file):
            for claim in claims:
                named.add(int(claim.object[1:]))
    whole = room / "subjects.jsonl"
    with whole.open("wb") as out, closing(sqlite3.connect(room / "labels.sqlite")) as table:
        _fill_labels(table, (label for shard in shards for label in _iter_labels(shard, named)))
        label_of = _make_lookup(table)
        for piece, subject, label, claims in merge(*map(iter_records, files), key=itemgetter(0)):
            full = [replace(claim, object_label=label_of(claim.object)) for claim in claims]
            out.write(encode_record((piece, subject, label, full)))
    dump = shards[0].dump
    origin = SourceRecord(
        dump["name"], LICENSE, f"{dump['bytes']} bytes, sampled {dump['identity']}"
    )
    broken = [line for shard in shards for line in shard.broken]
    return DumpSubjects(whole, shards[0].scope, [origin], counts, dropped, broken)


class IdSet:
    """A set of numbers, a bit each, where there are many near one another."""

    def __init__(self) -> None:
        self.chunks: dict[int, bytearray] = {}

    def add(self, number: int) -> None:
        """One more."""
        chunk, bit = divmod(number, CHUNK_IDS)
        bits = self.chunks.get(chunk)
        if bits is None:
            bits = self.chunks[chunk] = bytearray(CHUNK_IDS // 8)
        bits[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, number: int) -> bool:
        chunk, bit = divmod(number, CHUNK_IDS)
        bits = self.chunks.get(chunk)
        return bits is not None and bool(bits[bit >> 3] & 1 << (bit & 7))


def _iter_labels(shard: Shard, named: IdSet) -> Iterator[tuple[int, str]]:
    """The labels of a shard that claims name."""
    with (shard.folder / LABELS).open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            item, _, label = line.partition("\t")
            if (number := int(item[1:])) in named:
                yield number, label.rstrip("\n")


def _fill_labels(table: sqlite3.Connection, labels: Iterable[tuple[int, str]]) -> None:
    """A table that nobody needs after this process."""
    table.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE_KIB};"
        "CREATE TABLE labels (id INTEGER PRIMARY KEY, label TEXT NOT NULL)"
    )
    table.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?)", labels)


def _make_lookup(table: sqlite3.Connection) -> Any:
    """From an item's id to its label, "" where it has none."""

    @lru_cache(maxsize=CACHED_LABELS)
    def label_of(item: str) -> str:
        found = table.execute("SELECT label FROM labels WHERE id = ?", (int(item[1:]),)).fetchone()
        return found[0] if found else ""

    return label_of
