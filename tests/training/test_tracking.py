"""Trackers see each step and row once, in order, and never decide how a run goes."""

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking as theirs
from accelerate.tracking import GeneralTracker, register_tracker_class

from fki.config.resolve import ResolvedConfig
from fki.core.errors import ConfigError, FkiError
from fki.core.types import Score, Step
from fki.runs.resume import LogExtent, read_log_extent
from fki.training import session, tracking
from fki.training.runner import Runner
from fki.training.signals import handle_signals
from fki.training.trainer import Trainer

Make = Callable[..., Runner]


class Recorder(GeneralTracker):
    """Keeps what it is told, over all that bear its name, as a server would."""

    name = "recorder"
    requires_logging_directory = True
    configs: list[dict[str, Any]]
    rows: list[tuple[int, dict[str, float]]]
    places: list[Path]
    finished: int
    fails_at: int

    def __init__(self, project: str, place: str, **named: Any) -> None:
        super().__init__()
        self.places.append(Path(place) / project)

    @property
    def tracker(self) -> Any:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.configs.append(values)

    def log(self, values: dict[str, float], step: int | None = None, **named: Any) -> None:
        print("as chatty as trackers are")
        if step == self.fails_at:
            raise ConnectionError("no route to the server")
        self.rows.append((step or 0, values))

    def finish(self) -> None:
        type(self).finished += 1


@pytest.fixture(autouse=True)
def recorder() -> Iterator[type[Recorder]]:
    """Registered, with nothing kept yet."""
    Recorder.configs, Recorder.rows, Recorder.places = [], [], []
    Recorder.finished, Recorder.fails_at = 0, -1
    register_tracker_class(Recorder)
    yield Recorder
    del theirs.LOGGER_TYPE_TO_CLASS["recorder"]


@pytest.fixture
def make(resolved: Callable[..., ResolvedConfig], tmp_path: Path) -> Make:
    """A function of settings: a runner that begins or goes on in one folder."""

    def make(**settings: Any) -> Runner:
        small = {"num_train_epochs": 2, "train_batch_size": 1, "save_every_steps": 2, **settings}
        found = resolved(output_dir=str(tmp_path / "run"), **small)
        return Runner.start(session.build_session(found.config), found)

    return make


def follow(runner: Runner, *names: str, stop: int = 0) -> list[str]:
    """Run to the end, or until this many steps have been taken and none of it could be saved."""
    notes = []
    with tracking.track_run(runner, names) as trackers, closing(runner.events()) as events:
        for event in events:
            notes += trackers.log(event)
            if isinstance(event, Step) and runner.totals.steps == stop:
                break
    return notes


def steps(rows: list[tuple[int, dict[str, float]]]) -> list[int]:
    return [step for step, values in rows if "train/loss" in values]


def test_steps_and_rows_are_tracked_with_the_numbers_of_the_log(
    make: Make, recorder: type[Recorder]
) -> None:
    runner = make()
    follow(runner, "recorder")
    log = list(runner.run.read_lines("metrics.jsonl"))
    taken = [row for row in log if "step" in row]
    tracked = [(step, values) for step, values in recorder.rows if "train/loss" in values]
    assert [step for step, _ in tracked] == [row["step"] for row in taken] == [*range(1, 11)]
    for (_, values), row in zip(tracked, taken, strict=True):
        assert values["train/loss"] == row["train/loss"]
        assert values["train/learning_rate"] == row["learning_rate"]
        assert values["train/grad_norm"] == row["grad_norm"]
        rate = row["examples"] / row["seconds"]
        assert values["train/examples_per_second"] == pytest.approx(rate)
    scored = [(step, values) for step, values in recorder.rows if "train/loss" not in values]
    assert [step for step, _ in scored] == [0, 6, 10]
    assert {name.partition("/")[0] for name in scored[0][1]} >= {"invariant", "updated", "new"}
    assert recorder.finished == 1
    assert recorder.places == [runner.run.folder / "tracking" / "fki"]


def test_a_rows_scores_are_means_over_the_probes_of_a_set() -> None:
    one = Score("new", "2024-Q1", 1, 100.0, 50.0, 0.0, -2.0)
    three = Score("new", "2024-Q2", 3, 0.0, 10.0, 0.0, -6.0)
    found = tracking.row_values([one, three, Score("initial", "base", 2, 50.0, 50.0, 50.0, -1.0)])
    assert found["new/em"] == 25.0 and found["new/f1"] == 20.0
    assert found["new/log_likelihood"] == -5.0
    assert found["initial/accuracy"] == 50.0


def test_what_is_no_finite_number_is_left_out() -> None:
    step = Step("2024-Q1", 0, 1, 1, float("nan"), 0.1, float("inf"), 4, 9, 2.0)
    assert tracking.step_values(step) == {
        "train/learning_rate": 0.1,
        "train/examples_per_second": 2.0,
    }


@pytest.mark.parametrize("stop", [1, 2, 5, 6, 7, 9])
def test_a_run_that_goes_on_tracks_no_step_and_no_row_twice_and_none_backwards(
    stop: int, make: Make, recorder: type[Recorder]
) -> None:
    follow(make(), "recorder", stop=stop)
    first = len(recorder.rows)
    again = make()
    assert again.logged.steps == stop
    follow(again, "recorder")
    assert len(recorder.rows) > first
    assert steps(recorder.rows) == [*range(1, 11)]
    numbers = [step for step, _ in recorder.rows]
    assert numbers == sorted(numbers)
    assert len(numbers) == 10 + 3
    assert len(recorder.configs) == 1  # the settings are told once


def test_a_run_that_stops_twice_before_the_point_it_had_reached_tracks_no_step_twice(
    make: Make, recorder: type[Recorder]
) -> None:
    settings = {"save_every_steps": 0}  # so that all of the first phase is taken again each time
    follow(make(**settings), "recorder", stop=5)
    follow(make(**settings), "recorder", stop=3)
    follow(make(**settings), "recorder")
    assert steps(recorder.rows) == [*range(1, 11)]


def test_a_tracker_that_comes_later_sees_what_is_left(make: Make, recorder: type[Recorder]) -> None:
    follow(make(), stop=5)
    follow(make(), "recorder")
    assert steps(recorder.rows) == [*range(5, 11)]  # from the checkpoint of step 4 on


def test_a_tracked_run_is_bitwise_the_one_that_is_not(make: Make, tmp_path: Path) -> None:
    answers = []
    for names in ((), ("recorder",)):
        runner = make()
        follow(runner, *names)
        answers.append((runner.run.folder / "samples.jsonl").read_bytes())
        runner.run.folder.rename(tmp_path / f"done{len(answers)}")
    assert answers[0] == answers[1]


def test_a_tracker_that_fails_on_the_way_is_left_out_and_the_run_goes_on(
    make: Make, recorder: type[Recorder]
) -> None:
    recorder.fails_at = 3
    runner = make()
    [note] = follow(runner, "recorder")
    assert "recorder failed" in note and "no route to the server" in note
    assert steps(recorder.rows) == [1, 2]
    assert runner.run.info["status"] == "done"
    assert [r["step"] for r in runner.run.read_lines("metrics.jsonl") if "step" in r][-1] == 10


def test_a_tracker_that_does_not_start_stops_the_run_before_its_first_step(
    make: Make, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: Recorder) -> None:
        raise PermissionError("not logged in")

    monkeypatch.setattr(recorder, "start", start)
    runner = make()
    with pytest.raises(FkiError, match=r"recorder does not start: PermissionError: not logged in"):
        follow(runner, "recorder")
    assert runner.run.info["status"] == "failed"
    assert runner.totals.steps == 0
    assert not recorder.rows


def test_what_trackers_print_does_not_get_among_the_data(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(make(), "recorder", stop=2)
    shown = capsys.readouterr()
    assert "chatty" in shown.err and "chatty" not in shown.out


def test_only_the_process_that_writes_tracks(
    make: Make, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make()
    monkeypatch.setattr(session.Session, "is_main", property(lambda self: False))
    with tracking.track_run(runner, ["recorder"]) as trackers:
        assert not trackers.trackers
    assert not recorder.places


def test_an_unknown_tracker_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"must be tensorboard, .* Did you mean 'tensorboard'"):
        tracking.check_trackers(["tensorbord"])
    tracking.check_trackers(["recorder"])
    tracking.check_trackers([])


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_tracker_without_its_package_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "get_available_trackers", list)
    with pytest.raises(ConfigError, match=f"--track {name} needs the package {name}") as caught:
        tracking.check_trackers([name])
    assert caught.value.hint == f"Run: {sys.executable} -m pip install {name}"


def test_settings_are_tracked_flat_without_secrets_and_places(
    make: Make, recorder: type[Recorder]
) -> None:
    runner = make(budget={"steps": 99}, method="lora")
    follow(runner, "recorder", stop=1)
    [config] = recorder.configs
    assert config["budget.steps"] == 99
    assert config["lora.target_modules"] == "q, v"
    assert config["learning_rate"] == runner.session.config.learning_rate
    assert config["output_dir"] == "run" and config["dataset"] == "tiny"
    assert config["micro_batch_tokens"] == 1024  # a number of tokens is no secret
    assert all(isinstance(value, bool | int | float | str) for value in config.values())


def test_what_is_nobody_elses_business_is_not_tracked() -> None:
    settings = {
        "mine.api_key": "abc",
        "mine.token": "abc",
        "mine.tokens": 3,
        "mine.url": "https://me:secret@host/path",
        "mine.corpus": "~/private/old.jsonl",
        "model": "google/flan-t5-xl",
        "mine.files": ["../private/a.csv", "b"],
    }
    assert tracking.redact_settings(settings) == {
        "mine.tokens": 3,
        "mine.url": "https://host/path",
        "mine.corpus": "old.jsonl",
        "model": "google/flan-t5-xl",
        "mine.files": "a.csv, b",
    }


def test_the_log_of_a_run_tells_how_far_it_went(make: Make) -> None:
    runner = make()
    assert read_log_extent(runner.run) == LogExtent(0, 0)
    follow(runner, stop=7)
    assert read_log_extent(runner.run) == LogExtent(7, 2)
    with (runner.run.folder / "metrics.jsonl").open("a") as log:
        log.write('{"step": 8, "peri')  # as a kill leaves it
    assert read_log_extent(runner.run) == LogExtent(7, 2)


def test_a_signal_leaves_the_tracker_closed_and_goes_on_from_there(
    make: Make, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make()
    original, calls = Trainer.backward, []

    def backward(self: Trainer, cut: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, cut)

    monkeypatch.setattr(Trainer, "backward", backward)
    with handle_signals() as runner.requests, pytest.raises(FkiError, match="Interrupted"):
        follow(runner, "recorder")
    assert recorder.finished == 1
    follow(make(), "recorder")
    assert steps(recorder.rows) == [*range(1, 11)]


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="it is not installed")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_each_step_once(make: Make) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    follow(make(), "tensorboard", stop=5)
    runner = make()
    follow(runner, "tensorboard")
    events = EventAccumulator(str(runner.run.folder / "tracking" / "fki"))
    events.Reload()
    assert [e.step for e in events.Scalars("train/loss")] == [*range(1, 11)]
    assert [e.step for e in events.Scalars("invariant/em")] == [0, 6, 10]
