"""Output: data on stdout, words on stderr, from the main process only."""

import json

import pytest

from fki.commands._console import Show, is_main_process, make_table


def test_words_go_to_stderr_and_tables_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show()
    show.note("see [bold]x[/]")
    show.notes(["a", "b"])
    show.error("failed")
    show.next_commands("fki plan", "fki train")
    table = make_table("name", "n", numbers=("n",))
    table.add_row("x", "1")
    show.table(table)
    show.data(n=1)
    out, err = capsys.readouterr()
    lines = [line.strip() for line in err.splitlines()]
    assert lines[:4] == ["see [bold]x[/]", "Note: a", "Note: b", "Error: failed"]
    assert lines[4:] == ["Next: fki plan", "fki train"]
    assert [line.split() for line in out.splitlines()] == [["name", "n"], ["x", "1"]]


def test_with_json_stdout_has_data_only(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show(as_json=True)
    show.table(make_table("name"))
    show.next_commands("fki plan")
    show.data(n=1, name="é")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"n": 1, "name": "é"} and err == ""


def test_only_the_main_process_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    show = Show(as_json=True)
    show.note("a")
    show.data(n=1)
    show.text("b")
    assert not is_main_process() and capsys.readouterr() == ("", "")
