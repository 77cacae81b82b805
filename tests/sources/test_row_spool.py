"""Rows on their way to a file lie on disk, and go with whoever held them."""

import gc
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from fki.core.errors import DataError
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


def test_another_thread_may_collect_it() -> None:
    faults: list[object] = []
    holder = [SeenDigests()]
    holder[0].is_new(b"a")
    thread = threading.Thread(target=holder.clear)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", faults.append)
        thread.start()
        thread.join()
        gc.collect()
    assert faults == []
