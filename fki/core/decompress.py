"""Decompression of plain, .bz2, .gz, .xz and .zst files, detected by their first bytes.

`open_stream` decompresses a binary file as it is read. `open_decompressed` does the same in a
thread that reads ahead: bzip2 takes nine tenths of the time of reading a dump, so two snapshots
are decompressed at the same time. `fki.net.bzip2` reads the blocks of a bzip2 file in parallel.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import IO, Literal, NamedTuple

from fki.core.errors import DataError
from fki.core.git_lfs import refuse_pointer
from fki.core.optional import import_zstd

Compression = Literal["plain", "bzip2", "gzip", "xz", "zstd", "7z"]

MAGIC: dict[bytes, Compression] = {
    **{b"BZh%d" % level: "bzip2" for level in range(1, 10)},
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
}
MAGIC_SIZE = max(map(len, MAGIC))
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
CHUNK_SIZE = 2**18  # decompressed bytes
CHUNKS_AHEAD = 8


class DecompressionError(Exception):
    """A compressed file is truncated or altered."""


class DecompressedFile(NamedTuple):
    """The content of a file, and the file itself, whose position is the progress."""

    chunks: Iterator[bytes]  # the last one is empty
    raw: IO[bytes]


def detect_compression(file: Path) -> Compression:
    """The compression of a file.

    Raises DataError if the file is unreadable or empty, or is a pointer of Git LFS.
    """
    refuse_pointer(file)
    try:
        with file.open("rb") as raw:
            head = raw.read(MAGIC_SIZE)
    except OSError as error:
        raise DataError(f"Cannot read {file}: {error.strerror or error}.") from None
    if not head:
        raise DataError(f"{file} is empty.", hint="Download it again from its source.")
    return identify_compression(head)


def identify_compression(head: bytes) -> Compression:
    """The compression of a file that begins with these bytes, of which MAGIC_SIZE suffice."""
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "plain")


def open_stream(file: Path, raw: IO[bytes], compression: Compression) -> IO[bytes]:
    """The decompressed content of `raw`, which is `file` opened.

    A read raises one of `read_errors(compression)` if the content is damaged. Raises DataError for
    an unsupported compression, or a library that is not installed.
    """
    match compression:
        case "bzip2":
            return bz2.open(raw)
        case "gzip":
            return gzip.open(raw)  # type: ignore[return-value]
        case "xz":
            return lzma.open(raw)
        case "zstd":
            return import_zstd().ZstdFile(raw)
        case "7z":
            raise DataError(
                f"{file} is a 7-Zip archive, which is not supported.",
                hint="Decompress it, or download another format, such as .bz2.",
            )
    return raw


def read_errors(compression: Compression) -> tuple[type[Exception], ...]:
    """The errors that a read of damaged content raises."""
    zstd_errors = (import_zstd().ZstdError,) if compression == "zstd" else ()
    return (EOFError, OSError, zlib.error, lzma.LZMAError, *zstd_errors)


@contextmanager
def open_decompressed(file: Path) -> Iterator[DecompressedFile]:
    """A file that a thread decompresses ahead of the reader.

    Raises DataError if the file cannot be opened; its chunks raise DecompressionError if it is
    damaged.
    """
    compression = detect_compression(file)
    with file.open("rb") as raw:
        content = open_stream(file, raw, compression)
        with closing(_read_ahead(content, read_errors(compression))) as chunks:
            yield DecompressedFile(chunks, raw)


def _read_ahead(
    content: IO[bytes], errors: tuple[type[Exception], ...]
) -> Generator[bytes, None, None]:
    """The chunks of the content, read in a thread."""
    queue: Queue[bytes | Exception] = Queue(CHUNKS_AHEAD)
    stop = Event()

    def read() -> None:
        try:
            while not stop.is_set():
                chunk = content.read(CHUNK_SIZE)
                queue.put(chunk)
                if not chunk:
                    break
        except Exception as error:
            queue.put(error)

    thread = Thread(target=read, daemon=True)
    thread.start()
    try:
        while not isinstance(chunk := queue.get(), Exception):
            yield chunk
            if not chunk:
                return
        if isinstance(chunk, errors):
            raise DecompressionError(str(chunk) or type(chunk).__name__)
        raise chunk
    finally:
        stop.set()
        while thread.is_alive():  # it may be waiting for room in the queue
            with suppress(Empty):
                queue.get(timeout=0.01)
