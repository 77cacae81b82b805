"""Files are decompressed by their first bytes, whatever their name, and damage is an error."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from fki.core.decompress import (
    CHUNK_SIZE,
    DecompressionError,
    detect_compression,
    open_decompressed,
)
from fki.core.errors import DataError
from fki.core.optional import import_zstd

TEXT = b"a line of text\n" * (CHUNK_SIZE // 10)


def zstd(content: bytes) -> bytes:
    return bytes(import_zstd().compress(content))


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "bzip2": bz2.compress,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_file_is_decompressed_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "dump"
    file.write_bytes(COMPRESSED[kind](TEXT))
    assert detect_compression(file) == kind
    with open_decompressed(file) as (chunks, raw):
        *content, last = chunks
        assert b"".join(content) == TEXT and last == b""
        assert raw.tell() == file.stat().st_size


@pytest.mark.parametrize("kind", ["bzip2", "gzip", "xz", "zstd"])
def test_a_truncated_file_is_an_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "dump"
    file.write_bytes(COMPRESSED[kind](TEXT)[:-9])
    with pytest.raises(DecompressionError), open_decompressed(file) as (chunks, _):
        list(chunks)


@pytest.mark.parametrize(
    ("content", "fact"), [(b"", "empty"), (b"7z\xbc\xaf\x27\x1c", "7-Zip"), (None, "none")]
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, fact: str
) -> None:
    file = tmp_path / ("none" if content is None else "dump")
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=fact), open_decompressed(file):
        pass


def test_text_that_looks_like_the_start_of_bzip2_is_plain(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("BZhang,mayor\n", encoding="utf-8")
    assert detect_compression(tmp_path / "x.csv") == "plain"
