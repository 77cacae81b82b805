"""Whoever follows a run receives its events in order, and each note once."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import Interrupted
from fki.core.types import RowScored, Step
from fki.training.follow import follow_run
from fki.training.runner import Runner

Make = Callable[..., Runner]


def test_events_arrive_in_order_and_the_run_is_done(make_runner: Make, tmp_path: Path) -> None:
    events: list[Step | RowScored] = []
    runner = make_runner(tmp_path / "run", max_periods=1)
    follow_run(runner, (), events.append, pytest.fail)
    assert isinstance(events[0], RowScored) and isinstance(events[1], Step)
    assert [e.after for e in events if isinstance(e, RowScored)] == ["base", "2024-Q1"]
    assert runner.run.info["status"] == "done"


def test_the_note_of_a_step_is_passed_on(
    make_runner: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, notes = make_runner(tmp_path / "run", max_periods=1), list[str]()
    plain = runner.session.trainer.train_period

    def with_notes(*arguments: Any, **options: Any) -> Any:
        return (replace(step, note=f"step {step.step}") for step in plain(*arguments, **options))

    monkeypatch.setattr(runner.session.trainer, "train_period", with_notes)
    follow_run(runner, (), lambda event: None, notes.append)
    assert notes == [f"step {n}" for n in range(1, runner.totals.steps + 1)]


def test_a_signal_saves_the_run_and_handlers_are_put_back(
    make_runner: Make, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def stop(event: Step | RowScored) -> None:
        if isinstance(event, Step):
            signal.raise_signal(signal.SIGTERM)

    runner = make_runner(tmp_path / "run", max_periods=1, num_train_epochs=3)
    with pytest.raises(Interrupted):
        follow_run(runner, (), stop, pytest.fail)
    assert signal.getsignal(signal.SIGTERM) is before
    assert runner.run.info["status"] == "interrupted"
    assert [*(runner.run.folder / "checkpoints").glob("*-step1")]


def test_ctrl_c_while_an_event_is_shown_interrupts_the_run_which_can_be_resumed(
    make_runner: Make, tmp_path: Path
) -> None:
    def press(event: Step | RowScored) -> None:
        raise KeyboardInterrupt

    runner = make_runner(tmp_path / "run", max_periods=1)
    with pytest.raises(Interrupted) as caught:
        follow_run(runner, (), press, pytest.fail)
    assert caught.value.exit_code == 75 and caught.value.hint
    assert runner.run.info["status"] != "done"
