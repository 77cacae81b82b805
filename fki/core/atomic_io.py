"""Atomic writes (a temporary file, synced, then renamed), appends, and file digests."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from fki.core.errors import FkiError


def scratch_path(path: Path) -> Path:
    """The hidden name beside a path under which this process writes it; it is renamed at the end.

    The name states the host, with its namespace of processes, and the process.
    """
    return path.with_name(f".{path.name}.fki-{_host_digest()}-{os.getpid()}")


def remove_stale_scratch(path: Path) -> None:
    """Remove each `scratch_path` of this path whose process, on this host, no longer exists."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.fki-{_host_digest()}-(\d+)")
    with suppress(OSError):
        for entry in [*os.scandir(path.parent)]:
            match = pattern.fullmatch(entry.name)
            if match is None or entry.is_symlink() or _is_running(int(match[1])):
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                os.unlink(entry)


@cache
def _host_digest() -> str:
    """Eight hex digits of the host and, where the system has it, its namespace of processes."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or not a number of a process
        return True
    return True


def write_text(file: Path, text: str) -> None:
    """Write a file atomically: it has either the new content or the old.

    Raises:
        FkiError: the write failed.
    """
    _write(file, [text])


def write_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line atomically, without holding all rows in memory."""
    _write(file, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(file: Path, parts: Iterable[str]) -> None:
    remove_stale_scratch(file)
    scratch = scratch_path(file)
    try:
        with scratch.open("w", encoding="utf-8") as out:
            out.writelines(parts)
            out.flush()
            os.fsync(out.fileno())
        os.replace(scratch, file)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise FkiError(
            f"Cannot write {file}: {error.strerror}.",
            hint="Free some space, then try again." if is_full else None,
        ) from None
    finally:
        with suppress(OSError):  # a read-only disk refuses even the removal of no file
            scratch.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder to disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(file: Path, value: Any) -> None:
    """Write a JSON file atomically. A lone surrogate, as in the name of a file that is not UTF-8,
    is written as its escape, \\udcff."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(file, text.encode("utf-8", "backslashreplace").decode())


def append_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append one JSON object per line. Raises FkiError if the write failed."""
    try:
        with file.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise FkiError(
            f"Cannot write {file}: {error.strerror}.",
            hint="Free some space, then run the same command with --resume.",
        ) from None


def file_digest(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    return file_checksums(file, ["sha256"])["sha256"]


def file_checksums(file: Path, algorithms: Iterable[str], *, prefix: bytes = b"") -> dict[str, str]:
    """Checksums of a file, in hex, by algorithm; the file is read once, a mebibyte at a time.

    Args:
        prefix: bytes that are hashed before the file, such as Git's header of a blob.
    """
    hashes = {name: hashlib.new(name, prefix, usedforsecurity=False) for name in algorithms}
    with file.open("rb") as content:
        while chunk := content.read(2**20):
            for total in hashes.values():
                total.update(chunk)
    return {name: total.hexdigest() for name, total in hashes.items()}
