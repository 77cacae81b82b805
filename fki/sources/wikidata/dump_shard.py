"""A dump, or one of n shares of it, read into a folder that says what it holds: a shard.

claims.jsonl   a subject a line, with its claims that may matter for the window
labels.tsv     the English label of every item, to be looked up when all shards are together
shard.json     the dump, what was asked, which share it is, counts, and the digest of each file

The folder gets its name when it is whole. A dump is told from another by its size and some of its
bytes, since reading all of them takes as long as the work itself.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from fki import __version__
from fki.core.atomic_io import file_digest, sync, write_json
from fki.core.errors import ConfigError, DataError, FkiError
from fki.net.downloads import FileProgress, OnProgress
from fki.net.optional import require_module
from fki.sources.wikidata.dump_pieces import iter_pieces, kind_of
from fki.sources.wikidata.entities import NOT_AN_ENTITY, Scope
from fki.sources.wikidata.statements import Window

MANIFEST, CLAIMS, LABELS = "shard.json", "claims.jsonl", "labels.tsv"
FORMAT = 1  # of a shard
SAMPLE_COUNT, SAMPLE_BYTES = 16, 64 * 2**10  # of a dump that are looked at, and bytes of each
MAX_BROKEN_LINES = 10


class ShardIndex(NamedTuple):
    """The share of a dump that one machine reads: every piece whose number leaves i - 1 by n."""

    i: int = 1
    n: int = 1

    @classmethod
    def parse(cls, text: str) -> "ShardIndex":
        """Reads "2/8". Raises ConfigError for anything else."""
        i, _, n = text.partition("/")
        if i.isascii() and n.isascii() and i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n):
            return cls(int(i), int(n))
        raise ConfigError(f"'{text}' is no shard.", hint="Write --shard 1/8 to --shard 8/8")

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"


WHOLE_DUMP = ShardIndex()


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard that is whole, as its manifest tells it."""

    folder: Path
    dump: dict[str, Any]  # name, bytes, identity
    scope: Scope
    part: ShardIndex
    counts: Counter[str]
    dropped: Counter[str]
    broken: list[str]


def write_shard(
    dump: Path,
    folder: Path,
    scope: Scope,
    part: ShardIndex = WHOLE_DUMP,
    *,
    workers: int = 1,
    watch: OnProgress | None = None,
) -> Shard:
    """A share of a dump, read into a new folder; one that is there already is only checked.

    The same files are written whatever the number of workers. `watch` is told of compressed bytes.
    Raises DataError where the dump is damaged or none, or the folder holds something else; FkiError
    where the disk refuses.
    """
    require_module("msgspec")
    identity = {"name": dump.name, "identity": dump_fingerprint(dump), "bytes": dump.stat().st_size}
    with scratch_folder(folder) as room:
        if folder.exists():
            return _reuse_shard(folder, identity, scope, part)
        fresh = room / "shard"
        fresh.mkdir()
        told = _write_files(fresh, dump, scope, part, workers, watch)
        write_json(fresh / MANIFEST, _describe_shard(identity, scope, part) | told)
        os.replace(fresh, folder)
    return open_shard(folder, is_checked=False)


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside this one, for one process at a time, and gone afterwards.

    What a process left there that was killed goes too. Raises FkiError where the disk refuses.
    """
    room = folder.with_name(f".{folder.name}.fki")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{room}.lock"):
            shutil.rmtree(room, ignore_errors=True)
            room.mkdir()
            try:
                yield room
            finally:
                shutil.rmtree(room, ignore_errors=True)
    except (OSError, sqlite3.Error) as error:
        raise FkiError(
            f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}.",
            hint="Free some space, or give another folder; then run the same command again.",
        ) from None


def dump_fingerprint(dump: Path) -> str:
    """A digest of a dump's size and of some of its bytes. Raises DataError where it is no file."""
    kind_of(dump)
    size = dump.stat().st_size
    told = hashlib.sha256(str(size).encode())
    with dump.open("rb") as content:
        for number in range(SAMPLE_COUNT):
            content.seek(max(0, size - SAMPLE_BYTES) * number // (SAMPLE_COUNT - 1))
            told.update(content.read(SAMPLE_BYTES))
    return told.hexdigest()


def _write_files(
    fresh: Path, dump: Path, scope: Scope, part: ShardIndex, workers: int, watch: OnProgress | None
) -> dict[str, Any]:
    """Write the files of a shard. Returns what the manifest says of them."""
    from fki.sources.wikidata.dump_workers import read_pieces

    size, counts, dropped, broken = dump.stat().st_size, Counter[str](), Counter[str](), list[str]()
    pieces = (piece for piece in iter_pieces(dump) if piece.number % part.n == part.i - 1)
    reads = closing(read_pieces(pieces, scope, workers))  # workers end before the files close
    with (
        (fresh / CLAIMS).open("wb") as claims,
        (fresh / LABELS).open("wb") as labels,
        reads as going,
    ):
        for read in going:
            claims.write(read.claims)
            labels.write(read.labels)
            counts.update(read.counts)
            dropped.update(read.dropped)
            broken = [*broken, *read.broken][:MAX_BROKEN_LINES]
            if watch:
                watch(FileProgress(dump.name, read.done, size, None))
    if part.n == 1:
        check_complete(dump.name, counts, dropped)
    for name in (CLAIMS, LABELS):
        sync(fresh / name)
    files = {name: {"sha256": file_digest(fresh / name)} for name in (CLAIMS, LABELS)}
    return {"counts": counts, "dropped": dropped, "broken": broken, "files": files}


def check_complete(name: str, counts: Counter[str], dropped: Counter[str]) -> None:
    """Raises DataError where what was read is no dump, or its list has no end."""
    if counts["lines"] == dropped[NOT_AN_ENTITY]:
        raise DataError(
            f"{name} is no JSON dump of Wikidata: no line of {counts['lines']:,} is an entity.",
            hint="fki reads a latest-all.json.bz2, .gz or .zst: one entity a line.",
        )
    if counts["["] and not counts["]"]:
        raise DataError(
            f"{name} was cut short: its list of entities has no end.",
            hint="Get it again from its source.",
        )


def _describe_shard(dump: dict[str, Any], scope: Scope, part: ShardIndex) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "fki": __version__,
        "dump": dump,
        "window": [day.isoformat() for day in scope.window],
        "relations": dict(sorted(scope.holds.items())),
        "shard": list(part),
    }


def open_shard(folder: Path, is_checked: bool = True) -> Shard:
    """A shard that was read before. Raises DataError where it is none, or was altered."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise DataError(
                f"{folder} was made by fki {told['fki']}, in a form that this one does not read.",
                hint="Read the dump again with the same fki everywhere.",
            )
        files = {name: told["files"][name]["sha256"] for name in (CLAIMS, LABELS)}
        since, until = (date.fromisoformat(day) for day in told["window"])
        shard = Shard(
            folder,
            told["dump"],
            Scope(Window(since, until), dict(told["relations"])),
            ShardIndex(*told["shard"]),
            Counter(told["counts"]),
            Counter(told["dropped"]),
            told["broken"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} is no shard of a dump: its {MANIFEST} cannot be read ({error!r}).",
            hint="A shard is what fki download wiki --from dump FILE --shard 1/8 leaves.",
        ) from None
    for name, expected in files.items() if is_checked else ():
        found = file_digest(folder / name) if (folder / name).is_file() else "no such file"
        if found != expected:
            raise DataError(
                f"{folder / name} was altered: its SHA-256 must be {expected}, it is {found}.",
                hint=f"Move {folder} away and read that shard ({shard.part}) again.",
            )
    return shard


def describe_mismatch(shard: Shard, dump: dict[str, Any], scope: Scope) -> str:
    """Why a shard is not of this dump, window and relations; "" where it is."""
    sure = ("bytes", "identity")  # a name may differ between machines
    if [shard.dump[key] for key in sure] != [dump[key] for key in sure]:
        return f"of another dump ({shard.dump['name']}, {shard.dump['bytes']:,} bytes)"
    if shard.scope.window != scope.window:
        return "of another window ({} to {})".format(*shard.scope.window)
    if shard.scope.holds != scope.holds:
        ours, others = {*shard.scope.holds.items()}, {*scope.holds.items()}
        return f"of other relations ({len(ours - others)} more, {len(others - ours)} less)"
    return ""


def _reuse_shard(folder: Path, dump: dict[str, Any], scope: Scope, part: ShardIndex) -> Shard:
    """The shard in a folder, which must be the one that would be written there."""
    shard = open_shard(folder)
    what = describe_mismatch(shard, dump, scope) or (
        f"shard {shard.part}" if shard.part != part else ""
    )
    if what:
        raise DataError(
            f"{folder} is there already, and is {what}.", hint="Give another folder for this one."
        )
    return shard
