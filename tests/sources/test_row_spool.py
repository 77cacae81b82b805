"""Rows on their way to a file lie on disk, and go with whoever held them."""

import gc
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from fki.core.errors import DataError
from fki.sources.row_collector import DUPLICATE, EMPTY, RESERVED, RowCollector
from fki.sources.row_spool import RowSpool, SeenDigests


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of the test's own."""
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "room"))
    return tmp_path / "room"


def test_rows_can_be_gone_through_again_and_added_between() -> None:
    spool = RowSpool()
    assert list(spool) == [] and not spool
    spool.append({"a": "é"})
    first = iter(spool)
    assert next(first) == {"a": "é"}
    spool.append({"a": 2})
    assert [row["a"] for row in spool] == ["é", 2]
    assert len(spool) == 2 and {"a": 2} in spool and {"a": 3} not in spool


def test_the_file_goes_with_the_rows(room: Path) -> None:
    spool = RowSpool()
    spool.append({"a": 1})
    assert len(list(room.iterdir())) == 1
    del spool
    gc.collect()
    assert list(room.iterdir()) == []


def test_a_full_disk_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null/none")
    with pytest.raises(DataError, match="cannot be written") as caught:
        RowSpool()
    assert "TMPDIR" in str(caught.value.hint)


def test_a_digest_is_new_once() -> None:
    seen = SeenDigests()
    assert [seen.is_new(d) for d in (b"a", b"b", b"a", b"b", b"c")] == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_what_is_kept_is_not_in_memory() -> None:
    kept, text = RowCollector(), "word " * 200
    tracemalloc.start()
    for number in range(5000):
        kept.add_document(f"{text}{number}", "2021")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept.tables["stream"]) == 5000 and most < 5000 * len(text) / 5


def test_what_our_rows_do_not_take_is_counted_with_the_reason() -> None:
    kept = RowCollector()
    kept.add_fact("stream", "Eden", "head", "Ann", start="2021")
    kept.add_fact("stream", "Eden", "head", "Ann", start="2021")
    kept.add_fact("stream", "Eden", "", "Ann", start="2021")
    kept.add_prompt("stream", "Eden has <extra_id_0>.", ["<extra_id_1>"], date="2021")
    kept.add_document("word", "2021")
    kept.add_document("two words", "2021", title="<extra_id_3>")
    kept.add_prompt("probes/mine", "Eden has", ["Ann"], relation="half a pair: \ud800")
    kept.drop("stream", "no date")
    assert kept.dropped == {
        f"stream: {DUPLICATE}": 1,
        f"stream: {EMPTY}": 1,
        f"stream: {RESERVED}": 3,
        f"probes/mine: {RESERVED}": 1,
        "stream: no date": 1,
    }
    assert len(kept.tables["stream"]) == 1
