"""The live view of a run on a terminal, wide or narrow."""

import io

import pytest
from rich.console import Console

from fki.commands._progress import RunProgress
from fki.core.types import Step


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
