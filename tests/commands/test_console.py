"""What is drawn on a terminal, wide or narrow."""

import io

import pytest
from rich.console import Console

from fki.commands._progress import RunProgress
from fki.commands._result_tables import near_tie_notes, probe_table
from fki.core.types import Score, Step

SETS = ("invariant", "initial", "updated", "new", "paraphrase")
FIELDS = ("em", "f1", "accuracy", "log_likelihood", "perplexity", "old_em")
ROW = {field: {"before": 100.0, "learned": 61.8, "after": 93.7} for field in FIELDS}
SUMMARY = {"probe_sets": {name: {"n": 2907, **ROW} for name in SETS}}


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(probe_table(SUMMARY, trained=True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_of_80_columns_shows_each_probe_set_on_one_line() -> None:
    lines = [line.split() for line in drawn(80).splitlines()]
    for name in SETS:
        assert [name, "2,907", "100.0", "61.8", "93.7", "-6.3", "93.70", "93.7"] in lines


def test_a_narrow_terminal_folds_names_and_cuts_no_number() -> None:
    lines = drawn(60).splitlines()
    names = "".join(line.split()[0] for line in lines if line[:1].strip())
    assert all(name in names for name in SETS)
    numbers = [line.split()[1:] for line in lines if "2,907" in line]
    assert numbers == [["2,907", "100.0", "61.8", "93.7", "-6.3", "93.70", "93.7"]] * len(SETS)


def step(number: int) -> Step:
    return Step("2023-Q1", 0, number, 10, 1.0, 1e-3, 0.5, 32, 400, 0.1)


def test_the_bar_grows_where_a_method_mixes_in_more_steps_than_planned() -> None:
    progress = RunProgress(Console(file=io.StringIO(), width=80), steps={"2023-Q1": 8})
    progress.show_step(step(1))
    (task,) = progress.progress.tasks
    assert (task.completed, task.total) == (1, 10)
    for number in range(2, 11):
        progress.show_step(step(number))
    assert (task.completed, task.total) == (10, 10)


@pytest.mark.parametrize(("width", "has_rate"), [(60, False), (80, True)])
def test_the_learning_rate_makes_room_on_a_narrow_terminal(width: int, has_rate: bool) -> None:
    progress = RunProgress(Console(file=io.StringIO(), width=width), steps={"2023-Q1": 8})
    progress.show_step(step(1))
    numbers = progress.progress.tasks[0].fields["numbers"]
    assert "loss 1.000" in numbers and "320 ex/s" in numbers
    assert ("lr 1.0e-03" in numbers) is has_rate


@pytest.mark.parametrize(
    ("ties", "begins"),
    [([0, 0], None), ([1, 0], "One answer was a near-tie"), ([2, 1200], "1,202 answers were near")],
)
def test_near_ties_are_told_where_there_are_any(ties: list[int], begins: str | None) -> None:
    scores = [Score("new", "x", 9, 0.0, 0.0, 0.0, -1.0, near_ties=n) for n in ties]
    assert [text[: len(begins or "")] for text in near_tie_notes(scores)] == (
        [begins] if begins else []
    )
