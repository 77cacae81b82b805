"""A file has its old content or its new content, and never a part of it."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fki.core.atomic_io import (
    append_lines,
    file_digest,
    remove_stale_scratch,
    scratch_path,
    write_json,
    write_lines,
    write_text,
)
from fki.core.errors import FkiError


def test_each_writer_replaces_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_text(file, "old")
    write_lines(file, iter([{"a": 1}, {"b": "é"}]))
    assert file.read_text(encoding="utf-8") == '{"a": 1}\n{"b": "é"}\n'
    write_json(file, {"a": [1]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": [1]}
    assert [*tmp_path.iterdir()] == [file]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    write_text(file, "old")

    def rows() -> Iterator[dict[str, Any]]:
        yield {"a": 1}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_lines(file, rows())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FkiError, match="No space left"):
        write_text(file, "new")
    assert file.read_text(encoding="utf-8") == "old" and [*tmp_path.iterdir()] == [file]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    file = tmp_path / "a"
    mine = scratch_path(file).name
    left = mine.replace(str(os.getpid()), str(ended.pid))
    elsewhere = re.sub("fki-.{8}", "fki-00000000", left)  # of another host
    kept = [
        mine.replace(str(os.getpid()), str(os.getppid())),  # of a process that runs
        elsewhere,
        f".a.{ended.pid}",
        left + ".txt",
        left.replace(".a.", ".b."),
    ]
    for name in [left, *kept]:
        (tmp_path / name).write_text("x")
    write_text(file, "new")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a", *kept}
    (tmp_path / left).mkdir()
    (tmp_path / left / "model").touch()
    remove_stale_scratch(file)
    (tmp_path / left).symlink_to(tmp_path / "a")
    remove_stale_scratch(file)
    assert (tmp_path / left).is_symlink()


def test_only_a_full_disk_asks_for_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FkiError, match="No such file") as missing:
        write_text(tmp_path / "nowhere" / "a", "x")
    assert missing.value.hint is None

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FkiError) as caught:
        write_text(tmp_path / "a", "x")
    assert caught.value.hint == "Free some space, then try again."


def test_lines_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "a"
    append_lines(file, [{"a": 1}])
    append_lines(file, [{"b": 2}])
    assert file.read_text(encoding="utf-8") == '{"a": 1}\n{"b": 2}\n'
    with pytest.raises(FkiError, match="Cannot write"):
        append_lines(tmp_path, [{"a": 1}])


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    file = tmp_path / "a"
    content = os.urandom(2**20 + 7)
    file.write_bytes(content)
    assert file_digest(file) == hashlib.sha256(content).hexdigest()


def test_a_json_file_keeps_names_that_are_not_utf8(tmp_path: Path) -> None:
    value = {"caf\udce9": "\ud800 東京"}
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == value
