"""Files written whole or not at all: a temporary file, synced, then renamed; and file digests."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fki.core.errors import FkiError


def write_text(file: Path, text: str) -> None:
    """Write a whole file, or leave what was there: a temporary file, synced, then renamed.

    Raises FkiError where the disk refuses.
    """
    _write(file, [text])


def write_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line in the same way, as they come."""
    _write(file, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(file: Path, parts: Iterable[str]) -> None:
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as out:
            out.writelines(parts)
            out.flush()
            os.fsync(out.fileno())
        os.replace(scratch, file)
    except OSError as error:
        raise FkiError(
            f"{file} cannot be written: {error.strerror}.", hint="Free some space, then try again."
        ) from None
    finally:
        scratch.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the disk hold a file or a folder, not only the memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(file: Path, value: Any) -> None:
    """Write a JSON file in the same way."""
    write_text(file, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def append_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Add one JSON object a line. Raises FkiError where the disk refuses."""
    try:
        with file.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise FkiError(
            f"{file} cannot be written: {error.strerror}.",
            hint="Free some space, then run the same command with --resume.",
        ) from None


def file_digest(file: Path) -> str:
    """SHA-256 of a file, read a mebibyte at a time."""
    total = hashlib.sha256()
    with file.open("rb") as content:
        while part := content.read(2**20):
            total.update(part)
    return total.hexdigest()
