"""The live view of a run on a terminal, wide or narrow."""

import io

import pytest
from rich.console import Console

from fki.commands import _progress
from fki.commands._progress import RunProgress, ScoringProgress
from fki.core.types import Score, Step


def step(number: int) -> Step:
    return Step("2023-Q1", 0, number, 10, 1.0, 1e-3, 0.5, 32, 400, 0.1)


def test_the_bar_grows_where_a_method_mixes_in_more_steps_than_planned() -> None:
    progress = RunProgress(Console(file=io.StringIO(), width=80), steps={"2023-Q1": 8})
    progress.show_step(step(1))
    task, _ = progress.progress.tasks
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


def test_a_log_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(clock)))
    log = io.StringIO()
    with RunProgress(Console(file=log, width=80), steps={"2023-Q1": 8}) as progress:
        progress.show_scoring(10, 40)  # 20 s: not yet
        progress.show_step(step(1))
        progress.show_step(step(2))
        progress.show_scores("2023-Q1", [Score("new", "2023-Q1", 4, 75.0, 75.0, 75.0, -1.0)])
    assert log.getvalue().splitlines() == [
        "40 s  2023-Q1 epoch 1, step 1 of 10, loss 1.000, 320 examples/s",
        "1:20  EM after 2023-Q1: new 75.0",
    ]


def test_scoring_has_a_bar_on_a_terminal_and_none_in_a_log() -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, width=80, force_terminal=True)
    with RunProgress(console, steps={"2023-Q1": 8}) as progress:
        progress.show_scoring(10, 40)
        bar = progress.progress.tasks[1]
        assert (bar.completed, bar.total, bar.visible) == (10, 40, True)
        progress.show_step(step(1))
        assert not bar.visible
    for screen, is_shown in ((terminal, True), (io.StringIO(), False)):
        console = Console(file=screen, width=80, force_terminal=is_shown)
        with ScoringProgress(console, "loading t5-mini") as scoring:
            scoring.show(3, 4)
        assert ("3/4" in screen.getvalue()) is is_shown
