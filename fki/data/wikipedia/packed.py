"""Files of a dump, plain or packed (.bz2, .gz, .zst), told by their first bytes, as streams."""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

from fki.core.errors import DataError

BROKEN = (EOFError, OSError, ValueError, zlib.error)
KINDS = {b"BZh": "bz2", b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst", b"7z\xbc\xaf": "7z"}


class Opened(NamedTuple):
    """A file's content, and the file itself, whose place tells how much has been read."""

    content: IO[bytes]
    raw: IO[bytes]


@contextmanager
def opened(file: Path) -> Iterator[Opened]:
    """A file, unpacked as it is read. Raises DataError where it cannot be opened."""
    try:
        raw = file.open("rb")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from None
    with raw:
        yield Opened(_unpacking(file, raw), raw)


def _unpacking(file: Path, raw: IO[bytes]) -> IO[bytes]:
    first = raw.read(4)
    raw.seek(0)
    match next((kind for sign, kind in KINDS.items() if first.startswith(sign)), ""):
        case "bz2":
            return bz2.open(raw)
        case "gz":
            return gzip.open(raw)  # type: ignore[return-value]
        case "zst":
            return _unzstd(file, raw)
        case "7z":
            raise DataError(
                f"{file} is packed with 7-Zip, which fki does not read.",
                hint="Unpack it, or get the .bz2 of the same dump.",
            )
    return raw


def _unzstd(file: Path, raw: IO[bytes]) -> IO[bytes]:
    try:
        zstandard: Any = import_module("zstandard")
    except ImportError:
        raise DataError(
            f"{file} is packed with Zstandard, and the package for it is not installed.",
            hint="Run: pip install 'fki[dumps]'",
        ) from None
    return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
