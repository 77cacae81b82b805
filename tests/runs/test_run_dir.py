"""A run folder is made once, written whole, and read with care."""

import os
from pathlib import Path

import pytest

from fki.core import atomic_io
from fki.core.atomic_io import write_json, write_text
from fki.core.errors import DataError, FkiError
from fki.runs.run_dir import Run, find_runs


def test_a_folder_that_holds_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(FkiError, match="new or empty") as caught:
        Run.create(str(folder), "x")
    assert caught.value.hint
    assert [f.read_text(encoding="utf-8") for f in folder.iterdir()] == ["years of work"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    with pytest.raises(FkiError, match="cannot be created"):
        Run.create(str(tmp_path / "run"), "x")
    assert (tmp_path / "run").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_new_or_empty_folder_is_taken(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "some" / "run"
    if is_there:
        folder.mkdir(parents=True)
    assert Run.create(str(folder), "x").folder == folder and folder.is_dir()


def test_runs_made_in_one_second_have_different_folders() -> None:
    folders = [Run.create("", "label").folder for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(f.is_dir() and f.parent == Path("runs") and "label-" in f.name for f in folders)


def test_a_replacement_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.json"
    write_text(file, "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(FkiError, match=r"run\.json: No space left on device"):
        write_text(file, "new")
    assert file.read_text(encoding="utf-8") == "old"


def test_a_whole_write_leaves_one_file(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_text(tmp_path / "a.json", text)
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]


def test_a_number_that_json_has_not_is_refused_before_writing(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert "1" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_update_sets_keys_and_keeps_the_others(tmp_path: Path) -> None:
    run = Run.create(str(tmp_path / "run"), "x")
    run.update(status="running", seed=3)
    run.update(status="done")
    assert run.info == {"status": "done", "seed": 3}


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "[" * 100_000])
def test_a_broken_run_file_is_a_data_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"run\.json"):
        _ = Run.open(tmp_path).info


def test_a_part_of_a_run_file_that_is_of_another_shape_is_a_data_error(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"config": {}, "model": ["t5-mini"]})
    with pytest.raises(DataError, match="'model' must be an object"):
        _ = Run.open(tmp_path).info


def test_a_missing_file_of_a_run_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scores\.json"):
        Run(tmp_path).read("scores.json")


def test_a_folder_without_a_run_file_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a run"):
        Run.open(tmp_path)


def test_appended_lines_are_read_back_in_order(tmp_path: Path) -> None:
    rows = [{"step": 1, "text": "ü"}, {"step": 2, "text": "\u2028"}]
    for row in rows:
        atomic_io.append_lines(tmp_path / "m.jsonl", [row])
    assert list(Run(tmp_path).read_lines("m.jsonl")) == rows


def test_runs_are_found_in_a_folder_or_as_the_folder_itself(tmp_path: Path) -> None:
    for name in ("b", "a"):
        Run.create(str(tmp_path / name), "x").update(status="done")
    (tmp_path / "no run").mkdir()
    assert [run.folder.name for run in find_runs(tmp_path)] == ["a", "b"]
    assert [run.folder.name for run in find_runs(tmp_path / "a")] == ["a"]
    assert find_runs(tmp_path / "no run") == []
