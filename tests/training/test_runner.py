"""A run's folder tells all of it, however the run ends; the same seed gives the same run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fki.config.presets import read_layers
from fki.config.resolve import resolve
from fki.core import registry
from fki.core.errors import FkiError, Interrupted
from fki.core.types import RowScored, Step
from fki.runs import checkpoint
from fki.testing import toy_tokenizer
from fki.training.runner import Runner
from tests.support import scalar_metrics

MakeRunner = Callable[..., Runner]


def weights(runner: Runner) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.choose(runner.run.folder) / checkpoint.WEIGHTS)


def lines(runner: Runner, name: str) -> list[dict[str, Any]]:
    return list(runner.run.read_lines(name))


def test_the_folder_explains_the_run_before_it_starts(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path / "run", seed=3)
    info = runner.run.info
    assert info["status"] == "running"
    assert info["config"]["seed"] == 3
    assert info["dataset"]["periods"] == ["2024-Q1", "2024-Q2"]
    assert len(info["dataset"]["digest"]) == len(info["model"]["digest"]) == 64
    assert info["parameters"]["added"] == 0
    assert info["protocol"] == {
        "prompt_format": "sentinel",
        "start_token": "auto",
        "shots": 0,
        "input_length": 64,
        "output_length": 10,
        "eval_every": 0,
        "max_probes_per_set": 500,
        "known_only": False,
        "num_beams": 1,
        "precision": "fp32",
        "superseded": "not asked",
        "normalization": "2",
        "probes": "",
        "ranked_sets": "lama",
        "ranked_among": "",
    }
    assert {"torch", "transformers"} <= info["environment"]["packages"].keys()
    asked = {p.id for cell in runner.session.schedule.cells for p in cell.probes}
    assert {p["id"] for p in lines(runner, "probes.jsonl")} == asked


def test_the_config_of_the_folder_makes_the_same_run_again(finished: Runner) -> None:
    found = read_layers([str(finished.run.folder / "config.toml")], {}, [], {})
    again = resolve(found, options_of=registry.options_of).config
    assert again == finished.session.config


def test_a_run_is_a_scored_row_then_steps_and_a_row_for_each_phase(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    events = list(make_runner(tmp_path / "run").events())
    kinds = [e.after if isinstance(e, RowScored) else e.period for e in events]
    assert kinds == ["base", "2024-Q1", "2024-Q1", "2024-Q2", "2024-Q2"]
    assert [isinstance(e, Step) for e in events] == [False, True, False, True, False]
    assert [(e.row, e.rows) for e in events if isinstance(e, RowScored)] == [(0, 3), (1, 3), (2, 3)]


def test_stopping_at_the_first_event_leaves_a_whole_folder(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path / "run")
    events = runner.events()
    next(events)
    events.close()
    assert runner.run.info["status"] == "interrupted"
    assert len(runner.run.read("scores.json")["rows"]) == 1
    assert lines(runner, "samples.jsonl")
    assert not checkpoint.list_checkpoints(runner.run.folder)


def test_the_matrix_has_a_row_before_and_after_each_phase_and_a_column_per_phase(
    finished: Runner,
) -> None:
    found = finished.run.read("scores.json")["summary"]
    assert found["columns"] == ["2024-Q1", "2024-Q2"]
    assert [len(row) for row in found["matrix"]] == [2, 2, 2]
    assert found["counts"] == [2, 2]  # of the three of Q1, Gondor's changes again in Q2
    assert found["probe_sets"].keys() == {"invariant", "initial", "updated", "new", "paraphrase"}


def test_every_prediction_is_kept(finished: Runner) -> None:
    samples = lines(finished, "samples.jsonl")
    questions = finished.session.schedule
    expected = [
        (questions.row_name(t), cell.probe_set, p.id)
        for t in range(3)
        for cell in questions.row(t)
        for p in cell.probes
    ]
    assert [(s["after"], s["probe_set"], s["id"]) for s in samples] == expected
    assert {"text", "em", "f1", "accuracy", "log_likelihood"} <= samples[0].keys()


def test_the_scores_are_the_means_of_the_kept_predictions(finished: Runner) -> None:
    samples = lines(finished, "samples.jsonl")
    for row in finished.run.read("scores.json")["rows"]:
        for score in row["scores"]:
            if score["period"] == "base":
                mine = [
                    s["em"]
                    for s in samples
                    if (s["after"], s["probe_set"]) == (row["after"], score["probe_set"])
                ]
                assert score["em"] == pytest.approx(100 * sum(mine) / len(mine))
                assert score["n"] == len(mine)


def test_every_step_is_logged(finished: Runner) -> None:
    steps = [m for m in lines(finished, "metrics.jsonl") if "train/loss" in m]
    assert [s["step"] for s in steps] == [1, 2]
    spent = finished.run.info["spent"]
    assert (spent["steps"], spent["examples"]) == (2, 5)
    assert spent["tokens"] == sum(s["tokens"] for s in steps)


def test_kar_counts_the_seconds_of_the_optimizer_loop_alone(finished: Runner) -> None:
    seconds = sum(row["seconds"] for row in lines(finished, "metrics.jsonl") if "step" in row)
    found = finished.scores()["summary"]
    periods = [p for phase in finished.session.phases for p in phase.periods]
    tokens = sum(finished.session.tokenizer.count_tokens(p.examples) for p in periods)
    assert finished.totals.eval_seconds > 0
    assert found["kar"] == pytest.approx(scalar_metrics.kar(found["matrix"], tokens, seconds))


def test_a_finished_run_is_done_with_its_newest_checkpoints(finished: Runner) -> None:
    assert finished.run.info["status"] == "done"
    assert [f.name for f in checkpoint.list_checkpoints(finished.run.folder)] == [
        "2024-Q1",
        "2024-Q2",
    ]


def test_ctrl_c_in_a_step_marks_the_run_interrupted_with_its_own_exit_code(
    make_runner: MakeRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(tmp_path / "run")

    def pressed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.session.trainer, "backward", pressed)
    with pytest.raises(Interrupted) as caught:
        list(runner.events())
    assert caught.value.exit_code == 75
    assert str(runner.run.folder) in str(caught.value)
    assert runner.run.info["status"] == "interrupted"
    assert len(runner.run.read("scores.json")["rows"]) == 1


def test_ctrl_c_while_an_event_is_drawn_marks_the_run_too(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path / "run")
    events = runner.events()
    next(events)
    with pytest.raises(Interrupted):
        events.throw(KeyboardInterrupt())
    assert runner.run.info["status"] == "interrupted"


def test_a_crash_marks_the_run_failed_and_keeps_its_traceback(
    make_runner: MakeRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(tmp_path / "run")

    def broken(*_: Any) -> Any:
        raise RuntimeError("the disk caught fire")

    monkeypatch.setattr(runner.session.evaluator, "predict", broken)
    with pytest.raises(RuntimeError, match="caught fire"):
        list(runner.events())
    assert runner.run.info["status"] == "failed"
    assert runner.run.info["error"] == "RuntimeError: the disk caught fire"


def test_a_loss_that_is_not_finite_marks_the_run_failed(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path / "run")
    events = runner.events()
    next(events)
    with torch.no_grad():
        next(iter(runner.session.model.parameters())).fill_(float("nan"))
    with pytest.raises(FkiError, match=r"The loss is nan .* 2024-Q1, epoch 1, step 1"):
        list(events)
    assert runner.run.info["status"] == "failed"


def test_weights_that_the_last_step_spoiled_mark_the_run_failed(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path / "run", learning_rate=1e300, max_periods=1)
    with pytest.raises(FkiError, match="NaN or infinite logits"):
        list(runner.events())
    assert runner.run.info["status"] == "failed"
    assert len(runner.run.read("scores.json")["rows"]) == 1


@pytest.mark.parametrize("method", registry.method_names())
def test_two_runs_with_one_seed_are_bitwise_equal(
    method: str, make_runner: MakeRunner, tmp_path: Path
) -> None:
    first, second = (
        make_runner(tmp_path / name, method=method, freeze_level=1, num_train_epochs=2, seed=7)
        for name in "ab"
    )
    for disturb, runner in enumerate((first, second)):
        torch.manual_seed(disturb)
        list(runner.events())
    a, b = weights(first), weights(second)
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert first.run.read("scores.json")["rows"] == second.run.read("scores.json")["rows"]
    samples = [(r.run.folder / "samples.jsonl").read_text() for r in (first, second)]
    assert samples[0] == samples[1]


def test_another_seed_gives_other_weights(
    make_runner: MakeRunner, tmp_path: Path, finished: Runner
) -> None:
    other = make_runner(tmp_path / "run", seed=6)
    list(other.events())
    a, b = weights(finished), weights(other)
    assert any(not torch.equal(a[n], b[n]) for n in a)


def test_scoring_between_phases_changes_no_weight(
    make_runner: MakeRunner, tmp_path: Path, finished: Runner
) -> None:
    unscored = make_runner(tmp_path / "run", seed=5, eval_every=2)
    list(unscored.events())
    a, b = weights(finished), weights(unscored)
    assert all(torch.equal(a[n], b[n]) for n in a)


def test_check_validation_scores_once_and_trains_nothing(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path / "run", check_validation=True)
    (only,) = runner.events()
    assert isinstance(only, RowScored)
    assert runner.run.info["status"] == "done"
    assert runner.run.read("scores.json")["summary"]["learning_gain"] is None
    assert not checkpoint.list_checkpoints(runner.run.folder)


def test_the_embedded_model_runs_a_period(make_runner: MakeRunner, tmp_path: Path) -> None:
    runner = make_runner(tmp_path / "run", model="t5-mini", method="lora", max_periods=1)
    losses = [e.loss for e in runner.events() if isinstance(e, Step)]
    assert len(losses) == 1
    assert runner.run.info["parameters"]["added"] > 0


def test_json_files_hold_no_nan(finished: Runner) -> None:
    def refuse(name: str) -> Any:
        raise AssertionError(name)

    for name in ("run.json", "scores.json"):
        json.loads((finished.run.folder / name).read_text(), parse_constant=refuse)


def test_the_next_method_and_a_resumed_run_tokenise_nothing(
    make_runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    kind = type(toy_tokenizer().tokenizer)
    plain = kind.__call__

    def counting(self: Any, texts: Any, *arguments: Any, **named: Any) -> Any:
        asked.extend([texts] if isinstance(texts, str) else texts)
        return plain(self, texts, *arguments, **named)

    monkeypatch.setattr(kind, "__call__", counting)
    first = make_runner(tmp_path / "first")
    list(first.events())
    assert asked and len(asked) == len(set(asked))
    asked.clear()
    for name, settings in (("second", {"method": "recadam"}), ("third", {"method": "mixreview"})):
        list(make_runner(tmp_path / name, **settings).events())
    assert asked == []
