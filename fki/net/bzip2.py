"""Reads the blocks of a bzip2 file independently, so that many processes can share a file.

Each block is compressed on its own and starts with a 48-bit magic number, at any bit of a byte. So
does the end of a stream; a file may contain many streams. A block, with a header before it and an
end of stream after it, is a valid bzip2 file. The format is described at
https://github.com/dsnet/compress/blob/master/doc/bzip2-format.pdf
"""

import bz2
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from fki.core.errors import DataError

READ_SIZE = 2**20  # bytes
BLOCK_MAGIC, END_MAGIC = (
    0x314159265359,
    0x177245385090,
)  # what marks a block, and the end of a stream
MAX_BLOCK_BITS = 8 * 2**20  # a block has at most 900,000 bytes


class Mark(NamedTuple):
    """The start of a block, or the end of a stream."""

    bit: int  # of the file, from 0
    is_block: bool


def iter_blocks(file: Path, first: int) -> Iterator[tuple[int, bytes]]:
    """(first bit, decompressed text) of each block that starts at byte `first` or later.

    Raises DataError if a block is damaged or the file ends within a stream. A magic number may
    occur in a block by chance (once in 2 ** 48 bits); the parts are then no valid blocks.
    """
    with file.open("rb") as content:
        packed, begun = _CompressedBytes(content, first), None
        for mark in packed.marks():
            if begun is not None:
                text = packed.block(begun, mark.bit)
                if text is None and mark.bit - begun <= MAX_BLOCK_BITS:
                    continue
                if text is None:
                    raise damaged_error(
                        file, f"the block at byte {begun // 8:,} is not what it was"
                    )
                yield begun, text
            begun = mark.bit if mark.is_block else None
            packed.forget(mark.bit)
        if begun is not None:
            raise damaged_error(file, "it ends within a block")


class _CompressedBytes:
    """The bytes of a bzip2 file from an offset on; bytes that are done are discarded."""

    def __init__(self, content: IO[bytes], first: int) -> None:
        content.seek(first)
        self.content, self.first, self.data = content, first, b""

    def marks(self) -> Iterator[Mark]:
        """All marks up to the end of the file, in order."""
        while part := self.content.read(READ_SIZE):
            seen = max(
                0, len(self.data) - 6
            )  # a mark needs seven bytes, and may reach over a joint
            self.data += part
            base = 8 * (self.first + seen)
            for bit, is_block in find_marks(self.data[seen:]):
                yield Mark(base + bit, is_block)

    def block(self, begin: int, end: int) -> bytes | None:
        """The text of the bits between two marks; None if they are not a block."""
        size = end - begin
        if size < 80:  # its mark and its checksum
            return None
        first, last = begin // 8 - self.first, (end + 7) // 8 - self.first
        bits = int.from_bytes(self.data[first:last], "big") >> (-end % 8) & ((1 << size) - 1)
        checksum = bits >> (size - 80) & 0xFFFFFFFF  # of its text, and so of a stream of it alone
        padding = -size % 8
        stream = ((bits << 48 | END_MAGIC) << 32 | checksum) << padding
        try:
            return bz2.decompress(b"BZh9" + stream.to_bytes((size + 80 + padding) // 8, "big"))
        except (OSError, ValueError):
            return None

    def forget(self, bit: int) -> None:
        """Discard the bytes before a bit."""
        whole = bit // 8
        self.data, self.first = self.data[whole - self.first :], whole


def find_marks(data: bytes) -> list[Mark]:
    """The marks in `data`, at any bit, in order."""
    found = []
    for magic in (BLOCK_MAGIC, END_MAGIC):
        for shift in range(8):
            whole = (magic << 8 >> shift).to_bytes(7, "big")
            needle = whole[1:6]  # what no neighbour shares
            at = data.find(needle)
            while at >= 0:
                bits = int.from_bytes(data[max(0, at - 1) : at + 6], "big")
                if at and len(data) >= at + 6 and bits >> (8 - shift) & (1 << 48) - 1 == magic:
                    found.append(Mark(8 * (at - 1) + shift, magic == BLOCK_MAGIC))
                at = data.find(needle, at + 1)
    return sorted(found)


def damaged_error(file: Path, what: str) -> DataError:
    """The error of a damaged file."""
    return DataError(
        f"{file} is damaged or truncated: {what}.",
        hint="Download it again, and compare its checksum with the published one.",
    )
