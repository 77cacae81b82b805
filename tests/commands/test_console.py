"""Output: data on stdout, words on stderr, from the main process only."""

import ast
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

import fki.commands
from fki.commands._console import Show, is_main_process, keep_words_whole, make_table, style_text


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


HOSTILE = ":x: [bold]b[/] [/y] :smile: ü \\[z]"


def test_text_of_a_user_is_shown_verbatim(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show()
    show.note(HOSTILE)
    show.error(HOSTILE, HOSTILE)
    show.next_commands(HOSTILE)
    table = make_table(HOSTILE, "n", title=HOSTILE, numbers=("n",))
    table.add_row(HOSTILE, style_text(HOSTILE, "bold"))
    show.table(table)
    out, err = capsys.readouterr()
    assert re.sub(r"\s+", "", out).count(re.sub(r"\s+", "", HOSTILE)) == 4
    assert err.count(HOSTILE) == 4


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show()
    table = make_table("a\x1b[2Jb")
    table.add_row("c\x00d\x9b", end_section=True)
    show.note("e\x07f\tg")
    show.error("h\x1b", "i\x1b")
    show.next_commands("j\x1b")
    show.table(table)
    out, err = capsys.readouterr()
    assert out.split() == ["a\\x1b[2Jb", "c\\x00d\\x9b"]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", out + err)
    assert "h\\x1b" in err and "i\\x1b" in err and "j\\x1b" in err


def test_no_command_uses_markup() -> None:
    """No string has a tag, consoles are made in one place, progress columns interpret nothing."""
    tag = re.compile(r"\[(/|bold|dim|red|green|cyan|yellow)[\w ]*\]")
    for file in Path(fki.commands.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not names & {"Text.from_markup", "rich.print", "Console", "render"}, file.name
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.module != "rich.markup", file.name
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not tag.search(node.value), f"{file.name}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "TextColumn":
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert options.get("markup") == "False", f"{file.name}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".status"):
                assert "style_text" in ast.unparse(node.args[0]), f"{file.name}:{node.lineno}"


@pytest.mark.parametrize(("width", "gap"), [(30, 2), (27, 1)])
def test_a_table_breaks_lines_at_spaces_where_its_words_fit(width: int, gap: int) -> None:
    table = make_table("probe set", "same answer", "same tokens")
    table.add_row("neighborhood", "34.5", "47.6")
    keep_words_whole(table, width)
    assert table.padding == (0, gap, 0, 0)
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    words = console.file.getvalue().split()  # type: ignore[attr-defined]
    assert words.count("neighborhood") == 1 and {"answer", "tokens", "34.5"} <= {*words}


def test_a_table_whose_words_do_not_fit_is_a_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    table = make_table("arm", "exact match", "", "perplexity", title="Scores")
    table.add_row("kadapter_2", "99.5", "--", "1.01")
    table.add_row("", "12.5", "--", "")
    Show().table(table)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "Scores",
        "kadapter_2",
        "  exact match 99.5,",
        "  perplexity 1.01",
        "  exact match 12.5",
    ]


def test_a_path_folds_in_its_column() -> None:
    table = make_table("setting", "value")
    table.add_row("dataset", "/a/" + "b" * 60)
    assert keep_words_whole(table, 40)
    console = Console(width=40, file=io.StringIO())
    console.print(table)
    assert console.file.getvalue().count("b") == 60  # type: ignore[attr-defined]


def test_a_table_that_fits_keeps_its_widths() -> None:
    table = make_table("a", "b")
    table.add_row("one two", "three")
    keep_words_whole(table, 80)
    assert [column.width for column in table.columns] == [None, None]
