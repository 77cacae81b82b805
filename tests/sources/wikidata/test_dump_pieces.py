"""Each line of a dump is in exactly one piece, wherever the splits fall."""

import gzip
import os
from pathlib import Path

import pytest

from fki.net import bzip2
from fki.sources.wikidata import dump_pieces
from tests.support.dump_files import pack_blocks, pack_streams

pytest.importorskip("msgspec")

pytestmark = pytest.mark.usefixtures("small_pieces")


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n"])
def test_every_line_is_in_one_piece_wherever_the_splits_fall(
    size: int, ending: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [b"a" * (n % 23) for n in range(60)]
    file = tmp_path / "some"
    file.write_bytes(b"[" + b"\n".join(lines) + b"end" + ending)
    for name in ("PLAIN_PIECE_BYTES", "TEXT_PIECE_BYTES"):
        monkeypatch.setattr(dump_pieces, name, size)
    expected = [b"[" + lines[0], *lines[1:-1], lines[-1] + b"end"]
    plain = [line for piece in dump_pieces.iter_pieces(file) for line in piece.iter_lines()]
    file.write_bytes(gzip.compress(file.read_bytes()))
    for lines_read in (
        plain,
        [line for piece in dump_pieces.iter_pieces(file) for line in piece.iter_lines()],
    ):
        assert lines_read[: len(expected)] == expected and not any(lines_read[len(expected) :])


@pytest.mark.parametrize("size", [40, 500, 3000])
def test_every_block_is_in_one_piece_wherever_the_splits_fall(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(120_000).hex().encode()
    content = b"\n".join(content[at : at + 997] for at in range(0, len(content), 997)) + b"\n"
    file = tmp_path / "some.bz2"
    file.write_bytes(pack_streams(pack_blocks, content, 101_000))
    monkeypatch.setattr(dump_pieces, "BZIP2_PIECE_BYTES", size)
    monkeypatch.setattr(bzip2, "READ_SIZE", 10_007)
    lines = (line for piece in dump_pieces.iter_pieces(file) for line in piece.iter_lines())
    assert b"\n".join(lines) + b"\n" == content


def test_a_block_mark_inside_a_block_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(300_000)
    file = tmp_path / "some.bz2"
    file.write_bytes(pack_blocks(content))
    true = bzip2.find_marks

    def find(data: bytes) -> list[bzip2.Mark]:
        more = [bzip2.Mark(bit, kind) for bit, kind in ((80_011, True), (80_500, False))]
        return sorted([*true(data), *more])

    assert len(true(file.read_bytes())) == 5
    monkeypatch.setattr(bzip2, "find_marks", find)
    assert b"".join(text for _, text in bzip2.iter_blocks(file, 0)) == content
