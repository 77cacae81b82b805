"""A dump as pieces of whole lines that can be read by themselves, in any order, by any process.

A bzip2 file is cut by its compressed bytes: to a piece belong the blocks that begin in its part of
the file. Plain text is cut by its bytes. gzip and Zstandard cannot be entered midway: one process
decompresses them, and what it finds is cut into texts.

A piece's lines are those that begin after the first end of a line in it, up to the one that begins
where the next piece does; the first piece has the first line too.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fki.core.errors import DataError
from fki.net.bzip2 import READ_SIZE, damaged_error, iter_blocks
from fki.net.optional import import_zstd

BZIP2_PIECE_BYTES = 2 * 2**20  # bytes of a bzip2 file in a piece: some 30 MiB of a dump
PLAIN_PIECE_BYTES = 16 * 2**20  # bytes of plain text in a piece
TEXT_PIECE_BYTES = 4 * 2**20  # bytes of text in a piece of a file that is decompressed as a whole
KINDS = {b"BZh": "bzip2", b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # by first bytes

Chunks = Iterable[tuple[bool, bytes]]  # is it of the piece, or behind it?


@dataclass(frozen=True, slots=True)
class DumpPiece:
    """Some of the dump's lines."""

    number: int
    done: int  # bytes of the file, up to the piece's end

    def lines(self) -> Iterator[bytes]:
        """Without their ends. Raises DataError where the file is damaged."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class TextPiece(DumpPiece):
    """Lines that are decompressed already."""

    text: bytes

    def lines(self) -> Iterator[bytes]:
        """Raises nothing."""
        yield from self.text.split(b"\n")


@dataclass(frozen=True, slots=True)
class PlainPiece(DumpPiece):
    """A part of a file of plain text."""

    file: Path
    first: int  # byte
    last: int  # the first byte that is no longer of it

    def lines(self) -> Iterator[bytes]:
        """The lines that begin in it."""
        return iter_whole_lines(self._texts(), is_first=self.first == 0)

    def _texts(self) -> Chunks:
        with self.file.open("rb") as content:
            content.seek(at := self.first)
            while text := content.read(
                min(READ_SIZE, self.last - at) if at < self.last else READ_SIZE
            ):
                yield at < self.last, text
                at += len(text)


@dataclass(frozen=True, slots=True)
class Bzip2Piece(PlainPiece):
    """A part of a bzip2 file."""

    def _texts(self) -> Chunks:
        for bit, text in iter_blocks(self.file, self.first):
            yield bit < 8 * self.last, text


def iter_whole_lines(texts: Chunks, is_first: bool) -> Iterator[bytes]:
    """The lines that begin in the piece's texts, the last one with its end from behind it."""
    begun, is_ours = [], is_first
    for is_own, text in texts:
        if not is_own and not is_ours:
            return
        head, *more = text.split(b"\n") if is_own else text.split(b"\n", 1)
        begun.append(head)
        if not more:
            continue
        if is_ours:
            yield b"".join(begun)
        if not is_own:
            return
        yield from more[:-1]
        begun, is_ours = more[-1:], True
    if is_ours and begun[-1:] != [b""]:
        yield b"".join(begun)


def kind_of(file: Path) -> str:
    """Is it "bzip2", "gzip", "zstd" or "plain"? Raises DataError where it cannot be read."""
    try:
        with file.open("rb") as content:
            first = content.read(4)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from None
    if not first:
        raise DataError(f"{file} is empty.", hint="Get it again from its source.")
    return next((kind for sign, kind in KINDS.items() if first.startswith(sign)), "plain")


def iter_pieces(file: Path) -> Iterator[DumpPiece]:
    """The pieces of a dump, in order. Raises DataError where it is damaged or no file."""
    kind, size = kind_of(file), file.stat().st_size
    if kind in ("gzip", "zstd"):
        yield from _iter_text_pieces(file, kind)
        return
    made, step = (
        (Bzip2Piece, BZIP2_PIECE_BYTES) if kind == "bzip2" else (PlainPiece, PLAIN_PIECE_BYTES)
    )
    for number, first in enumerate(range(0, size, step)):
        last = min(first + step, size)
        yield made(number, last, file, first, last)


def _iter_text_pieces(file: Path, kind: str) -> Iterator[TextPiece]:
    """What is decompressed from the beginning on, cut at ends of lines."""
    rest, number = b"", 0
    faults = (EOFError, OSError, zlib.error, *([import_zstd().ZstdError] if kind == "zstd" else ()))
    with file.open("rb") as packed, _opened(packed, kind) as content:
        try:
            while part := content.read(TEXT_PIECE_BYTES):
                text, found, rest = (rest + part).rpartition(b"\n")
                if found:
                    yield TextPiece(number, packed.tell(), text)
                    number += 1
        except faults as error:
            raise damaged_error(file, str(error)) from None
        if rest:
            yield TextPiece(number, packed.tell(), rest)


def _opened(packed: IO[bytes], kind: str) -> Any:
    return gzip.GzipFile(fileobj=packed) if kind == "gzip" else import_zstd().ZstdFile(packed)
