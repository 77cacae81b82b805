"""A run that resets its weights has the answers of each period right after it, in one column."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fki.comparison.bootstrap_metrics import BootstrapSample, ResampledRun
from fki.comparison.compare import compare
from fki.core.probe_sets import ALONE
from fki.metrics.registry import ANSWER_METRICS
from fki.runs.outcomes import read_outcomes
from fki.runs.reset_outcomes import join_outcomes
from fki.training.runner import Runner
from tests.data.test_edit_stream import edit, write


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "edits"
    write(folder, "stream", [edit(n, subject=f"town {n % 2}") for n in range(4)])
    kept = [
        {"prompt": f"neighbor {n % 3} of {n} is in", "answers": ["there"], "case_id": str(n)}
        for n in range(4)
    ]
    write(folder, "probes/neighborhood", [row | {"distractors": ["new"]} for row in kept])
    return folder


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, make_runner: Any, edits: Path) -> Runner:
    made: Runner = make_runner(
        tmp_path_factory.mktemp("runs") / "alone",
        dataset=str(edits),
        dataset_version="edits:1",
        reset="base",
        learning_rate=1e-2,
        num_train_epochs=2,
    )
    list(made.events())
    return made


def test_the_summary_of_a_joined_run_is_that_of_its_scores(runner: Runner) -> None:
    joined = join_outcomes(read_outcomes(runner.run))
    run = ResampledRun(joined, BootstrapSample([joined], 3))
    summary = json.loads((runner.run.folder / "scores.json").read_text())["summary"]
    assert summary["columns"] == [ALONE] and len(summary["matrix"]) == 2
    for key, draws in run.stream(1, 1).items():
        if key == "kar":
            continue  # the run's own tokens and seconds
        expected = np.nan if summary[key] is None else summary[key]
        assert draws[0] == pytest.approx(expected, nan_ok=True, abs=1e-4), key
    for name, scores in summary["probe_sets"].items():
        assert run.probe_count(name) == scores["n"] == 4
        for metric in ANSWER_METRICS:
            for moment, value in run.of_set(name, metric)._asdict().items():
                expected = scores[metric.key][moment]
                expected = np.nan if expected is None else expected
                assert value[0] == pytest.approx(expected, nan_ok=True, rel=1e-4, abs=1e-4)


def test_each_row_evaluates_its_own_edit_alone(runner: Runner) -> None:
    samples = [*runner.run.read_lines("samples.jsonl")]
    cases = {p["id"]: p["case"] for p in runner.run.read_lines("probes.jsonl")}
    for number in range(4):
        own = [s for s in samples if s["after"] == f"edit-{number + 1}"]
        assert {cases[s["id"]] for s in own} == {str(number)} and len(own) == 2
    assert all(s["same_answer"] == 1 for s in samples if s["after"] == "base" and s["likeliest"])


def test_probes_are_resampled_by_edit(runner: Runner) -> None:
    cells = read_outcomes(runner.run).cells
    assert {subject for cell in cells for subject in cell.subjects} == {"0", "1", "2", "3"}


def test_such_runs_are_compared(runner: Runner) -> None:
    comparison = compare([runner.run.folder])
    [group] = comparison.groups
    assert group.rows == ("base", ALONE)
    assert group.arms[0].estimate("new").n == 4
