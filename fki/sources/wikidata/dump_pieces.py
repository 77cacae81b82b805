"""Split a dump into pieces of whole lines that any process can read, in any order.

A bzip2 file is split by compressed bytes: a piece owns the blocks that start in its byte range.
Plain text is split by bytes. gzip and Zstandard have no entry points: one process decompresses the
file and splits the text.

A piece has the lines that start after its first newline, up to the line that starts where the next
piece does. The first piece has the first line too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fki.core.decompress import Compression, detect_compression, open_stream, read_errors
from fki.net.bzip2 import READ_SIZE, damaged_error, iter_blocks

BZIP2_PIECE_BYTES = 2 * 2**20  # compressed; some 30 MiB of a dump
PLAIN_PIECE_BYTES = 16 * 2**20
TEXT_PIECE_BYTES = 4 * 2**20  # decompressed text of a file without entry points

Chunks = Iterable[tuple[bool, bytes]]  # (is in the piece and not after it, text)


@dataclass(frozen=True, slots=True)
class DumpPiece:
    """Some of the dump's lines."""

    number: int
    end_byte: int  # of the piece in the file

    def iter_lines(self) -> Iterator[bytes]:
        """Yield the lines without newlines. Raises DataError if the file is damaged."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class TextPiece(DumpPiece):
    """Lines that are already decompressed."""

    text: bytes

    def iter_lines(self) -> Iterator[bytes]:
        """Yield the lines without newlines."""
        yield from self.text.split(b"\n")


@dataclass(frozen=True, slots=True)
class PlainPiece(DumpPiece):
    """A byte range of a plain text file."""

    file: Path
    first: int  # byte
    last: int  # exclusive

    def iter_lines(self) -> Iterator[bytes]:
        """Yield the lines that start in the range."""
        return iter_whole_lines(self._iter_chunks(), is_first=self.first == 0)

    def _iter_chunks(self) -> Chunks:
        with self.file.open("rb") as content:
            content.seek(at := self.first)
            while text := content.read(
                min(READ_SIZE, self.last - at) if at < self.last else READ_SIZE
            ):
                yield at < self.last, text
                at += len(text)


@dataclass(frozen=True, slots=True)
class Bzip2Piece(PlainPiece):
    """A byte range of a bzip2 file."""

    def _iter_chunks(self) -> Chunks:
        for bit, text in iter_blocks(self.file, self.first):
            yield bit < 8 * self.last, text


def iter_whole_lines(chunks: Chunks, is_first: bool) -> Iterator[bytes]:
    """Yield the lines that start in the piece; the last one may end after the piece."""
    parts, is_in_line = [], is_first  # of the current line; whether it started in this piece
    for is_own, text in chunks:
        if not is_own and not is_in_line:
            return
        head, *more = text.split(b"\n") if is_own else text.split(b"\n", 1)
        parts.append(head)
        if not more:
            continue
        if is_in_line:
            yield b"".join(parts)
        if not is_own:
            return
        yield from more[:-1]
        parts, is_in_line = more[-1:], True
    if is_in_line and parts[-1:] != [b""]:
        yield b"".join(parts)


def iter_pieces(file: Path) -> Iterator[DumpPiece]:
    """Split a dump into pieces, in order. Raises DataError if the file is damaged or missing."""
    compression, size = detect_compression(file), file.stat().st_size
    if compression == "bzip2":
        step = BZIP2_PIECE_BYTES
    elif compression == "plain":
        step = PLAIN_PIECE_BYTES
    else:
        yield from _iter_text_pieces(file, compression)
        return
    piece = Bzip2Piece if compression == "bzip2" else PlainPiece
    for number, first in enumerate(range(0, size, step)):
        last = min(first + step, size)
        yield piece(number, last, file, first, last)


def _iter_text_pieces(file: Path, compression: Compression) -> Iterator[TextPiece]:
    """Decompress a file from its start and split the text after newlines."""
    rest, number = b"", 0
    with file.open("rb") as raw, open_stream(file, raw, compression) as content:
        try:
            while part := content.read(TEXT_PIECE_BYTES):
                text, newline, rest = (rest + part).rpartition(b"\n")
                if newline:
                    yield TextPiece(number, raw.tell(), text)
                    number += 1
        except read_errors(compression) as error:
            raise damaged_error(file, str(error)) from None
        if rest:
            yield TextPiece(number, raw.tell(), rest)
