"""Read a dump, or one of n shares of it, into a shard: a folder that describes itself.

claims.jsonl   one subject a line, with the claims that affect the window
labels.tsv     the English label of every item, looked up when all shards are merged
shard.json     the dump, window, relations, share, counts, and the digest of each file

The folder appears under its name when it is complete; until then, a folder beside it has the files
and `bytes_read`, from which other processes show the progress. A dump is identified by its size and
a sample of its bytes, since reading all of them takes as long as the work itself.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from fki import __version__
from fki.core.atomic_io import file_digest, sync, write_json
from fki.core.decompress import detect_compression
from fki.core.errors import ConfigError, DataError, FkiError
from fki.core.optional import require_module
from fki.net.downloads import FileProgress, OnProgress
from fki.sources.wikidata.dump_pieces import iter_pieces
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.statements import (
    DEPRECATED,
    MALFORMED,
    MISSING_OR_REDIRECT,
    NO_LABEL,
    NO_VALUE,
    NOT_AN_ENTITY,
    NOT_AN_ITEM,
    OUTSIDE_WINDOW,
    VALUE_NOT_AN_ITEM,
    Window,
)

MANIFEST, CLAIMS, LABELS = "shard.json", "claims.jsonl", "labels.tsv"
BYTES_READ = "bytes_read"
FORMAT = 2  # of a shard
SAMPLE_COUNT, SAMPLE_BYTES = 16, 64 * 2**10  # of a dump's fingerprint
RENAMED_REASONS = {  # in shards of fki 0.1
    "a line that is no entity": NOT_AN_ENTITY,
    "an entity that is no item": NOT_AN_ITEM,
    "an entity that is missing or was merged into another": MISSING_OR_REDIRECT,
    "an item without an English label": NO_LABEL,
    "a deprecated statement": DEPRECATED,
    "a statement whose value is unknown, or that there is none": NO_VALUE,
    "a statement whose value is no item": VALUE_NOT_AN_ITEM,
    "a statement that is not in Wikidata's form": MALFORMED,
    "a statement that does not matter for the window": OUTSIDE_WINDOW,
}


class ShardIndex(NamedTuple):
    """Share `number` of `total` of a dump, from 1: every total-th piece is part of it."""

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> "ShardIndex":
        """Parse "2/8". Raises ConfigError for anything else."""
        i, _, n = text.partition("/")
        if i.isascii() and n.isascii() and i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n):
            return cls(int(i), int(n))
        raise ConfigError(
            f"'{text}' is not a shard number.", hint="Give one of --shard 1/8 to --shard 8/8"
        )

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


WHOLE_DUMP = ShardIndex()


@dataclass(frozen=True, slots=True)
class Shard:
    """A complete shard, as described by its manifest."""

    folder: Path
    dump: dict[str, Any]  # name, bytes, identity
    scope: Scope
    index: ShardIndex
    counts: Counter[str]
    dropped: Counter[str]
    broken: list[str]


def write_shard(
    dump: Path,
    folder: Path,
    scope: Scope,
    index: ShardIndex = WHOLE_DUMP,
    *,
    workers: int = 1,
    on_progress: OnProgress | None = None,
) -> Shard:
    """Read a share of a dump into a new folder; an existing shard is only verified.

    The files are the same for any number of workers. `on_progress` receives compressed bytes.
    Raises DataError if the dump is damaged or missing, or the folder has other content; FkiError
    if the folder cannot be written.
    """
    require_module("msgspec")
    fingerprint = dump_fingerprint(dump)
    identity = {"name": dump.name, "identity": fingerprint, "bytes": dump.stat().st_size}
    with scratch_folder(folder) as scratch:
        if folder.exists():
            return _reuse_shard(folder, identity, scope, index)
        fresh = scratch / "shard"
        fresh.mkdir()

        def report(progress: FileProgress) -> None:
            (scratch / BYTES_READ).write_text(str(progress.done), encoding="ascii")
            if on_progress:
                on_progress(progress)

        contents = _write_files(fresh, dump, scope, index, workers, report)
        write_json(fresh / MANIFEST, _describe_shard(identity, scope, index) | contents)
        os.replace(fresh, folder)
    return open_shard(folder, is_checked=False)


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """An empty folder next to this one, exclusive to one process, and removed on exit.

    Leftovers of a killed process are removed too. Raises FkiError if it cannot be written.
    """
    scratch = _scratch_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{scratch}.lock"):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, sqlite3.Error) as error:
        raise FkiError(
            f"Cannot write {folder}: {getattr(error, 'strerror', None) or error}.",
            hint="Free disk space or give another folder, then run the same command again.",
        ) from None


def _scratch_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.fki")


def count_bytes_read(folder: Path) -> int:
    """The compressed bytes before the place in the dump that an unfinished shard has reached."""
    with suppress(OSError, ValueError):  # not begun; read while it is written
        return int((_scratch_of(folder) / BYTES_READ).read_text(encoding="ascii"))
    return 0


def dump_fingerprint(dump: Path) -> str:
    """A digest of a dump's size and sampled bytes. Raises DataError if the file is unreadable."""
    detect_compression(dump)
    size = dump.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with dump.open("rb") as content:
        for number in range(SAMPLE_COUNT):
            content.seek(max(0, size - SAMPLE_BYTES) * number // (SAMPLE_COUNT - 1))
            digest.update(content.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _write_files(
    fresh: Path,
    dump: Path,
    scope: Scope,
    index: ShardIndex,
    workers: int,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Write the files of a shard. Returns the manifest's entries about them."""
    from fki.sources.wikidata.dump_workers import MAX_BROKEN_LINES, read_pieces

    size, counts, dropped, broken = dump.stat().st_size, Counter[str](), Counter[str](), list[str]()
    pieces = (p for p in iter_pieces(dump) if p.number % index.total == index.number - 1)
    reading = closing(read_pieces(pieces, scope, workers))  # workers exit before the files close
    with (
        (fresh / CLAIMS).open("wb") as claims,
        (fresh / LABELS).open("wb") as labels,
        reading as results,
    ):
        for result in results:
            claims.write(result.claims)
            labels.write(result.labels)
            counts.update(result.counts)
            dropped.update(result.dropped)
            broken = [*broken, *result.broken][:MAX_BROKEN_LINES]
            on_progress(FileProgress(dump.name, result.end_byte, size, None))
    if index.total == 1:
        check_complete(dump.name, counts, dropped)
    for name in (CLAIMS, LABELS):
        sync(fresh / name)
    files = {name: {"sha256": file_digest(fresh / name)} for name in (CLAIMS, LABELS)}
    return {"counts": counts, "dropped": dropped, "broken": broken, "files": files}


def check_complete(name: str, counts: Counter[str], dropped: Counter[str]) -> None:
    """Raises DataError if the lines are not those of a dump, or the list of entities is cut off."""
    if counts["lines"] == dropped[NOT_AN_ENTITY]:
        raise DataError(
            f"{name} is not a JSON dump of Wikidata: none of {counts['lines']:,} lines is an "
            "entity.",
            hint="fki reads latest-all.json.bz2, .gz, .xz or .zst, with one entity a line.",
        )
    if counts["["] and not counts["]"]:
        raise DataError(
            f"{name} is truncated: its list of entities has no end.",
            hint="Download it again from its source.",
        )


def _describe_shard(dump: dict[str, Any], scope: Scope, index: ShardIndex) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "fki": __version__,
        "dump": dump,
        "window": [day.isoformat() for day in scope.window],
        "relations": dict(sorted(scope.update_rules.items())),
        "shard": list(index),
    }


def open_shard(folder: Path, is_checked: bool = True) -> Shard:
    """Open a complete shard. Raises DataError if the folder is not a shard or was changed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise DataError(
                f"{folder} was written by fki {manifest['fki']} in an unsupported format.",
                hint="Read the dump again, with the same fki on all machines.",
            )
        files = {name: manifest["files"][name]["sha256"] for name in (CLAIMS, LABELS)}
        since, until = (date.fromisoformat(day) for day in manifest["window"])
        shard = Shard(
            folder,
            manifest["dump"],
            Scope(Window(since, until), dict(manifest["relations"])),
            ShardIndex(*manifest["shard"]),
            Counter(manifest["counts"]),
            _read_reasons(manifest["dropped"]),
            manifest["broken"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder} is not a shard of a dump: cannot read its {MANIFEST} ({error!r}).",
            hint="Create a shard with: fki download wiki FILE --from dump --shard 1/8 --output ...",
        ) from None
    for name, expected in files.items() if is_checked else ():
        actual = file_digest(folder / name) if (folder / name).is_file() else "missing"
        if actual != expected:
            raise DataError(
                f"{folder / name} was changed: its SHA-256 is {actual}, not {expected}.",
                hint=f"Move {folder} away and read shard {shard.index} again.",
            )
    return shard


def _read_reasons(dropped: Mapping[str, int]) -> Counter[str]:
    return Counter({RENAMED_REASONS.get(why, why): count for why, count in dropped.items()})


def describe_mismatch(shard: Shard, dump: dict[str, Any], scope: Scope) -> str:
    """How a shard's dump, window or relations differ from these; "" if they are the same."""
    keys = ("bytes", "identity")  # the name may differ between machines
    if [shard.dump[key] for key in keys] != [dump[key] for key in keys]:
        return f"of another dump ({shard.dump['name']}, {shard.dump['bytes']:,} bytes)"
    if shard.scope.window != scope.window:
        return "of another window ({} to {})".format(*shard.scope.window)
    if shard.scope.update_rules != scope.update_rules:
        own, others = {*shard.scope.update_rules.items()}, {*scope.update_rules.items()}
        return f"of other relations ({len(own - others)} more, {len(others - own)} fewer)"
    return ""


def _reuse_shard(folder: Path, dump: dict[str, Any], scope: Scope, index: ShardIndex) -> Shard:
    """Open an existing shard, which must be the same as the one to be written."""
    shard = open_shard(folder)
    mismatch = describe_mismatch(shard, dump, scope)
    if shard.index != index:
        mismatch = mismatch or f"shard {shard.index}"
    if mismatch:
        raise DataError(
            f"{folder} already exists and is {mismatch}.", hint="Give another output folder."
        )
    return shard
