"""What is shown is all there, however narrow the terminal."""

import pytest

from fki.commands._show import Show, new_table

NUMBERS = ("probes", "before", "learned", "after", "change", "log-likelihood", "old answer")


@pytest.mark.parametrize("width", [20, 60, 80, 160])
def test_a_table_hides_no_name_and_no_number(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    table = new_table("probe set", *NUMBERS, numbers=NUMBERS)
    cells = ["paraphrase", "12,644", "100.0", "99.9", "66.0", "-34.0", "-1.68", "15.8"]
    table.add_row(*cells)
    Show().table(table)
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == " ".join(["probe set", *NUMBERS]).split()
    assert row.split() == cells


def test_a_long_name_is_broken_before_the_table_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = new_table("run", "gain", numbers=("gain",))
    table.add_row("recadam-quarter-s0-1125-151952-and-more", "23.6")
    Show().table(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40 and "23.6" in lines[1]
    name = "".join(line.replace("23.6", "").strip() for line in lines[1:])
    assert name == "recadam-quarter-s0-1125-151952-and-more"
