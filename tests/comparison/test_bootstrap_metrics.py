"""Metrics in every draw are those of the plain definitions, worked out draw by draw."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fki.comparison.bootstrap_metrics import BootstrapSample, ResampledRun
from fki.metrics import continual as f
from fki.runs import outcomes
from fki.runs.run_dir import Run
from fki.testing.toy_runs import PERIODS, write_run
from fki.training.runner import Runner

DRAWS = 4
TOKENS, SECONDS = 5000, 10.0


@pytest.fixture
def one(tmp_path: Path) -> outcomes.Outcomes:
    return outcomes.read_outcomes(Run(write_run(tmp_path / "run")))


def by_hand(one: outcomes.Outcomes, weight: dict[str, float]) -> dict[str, Any]:
    """Every metric where each subject's probes count so much, by `metrics/continual.py`."""

    def em(t: int, **wanted: Any) -> float | None:
        right = total = 0.0
        for number, answers in one.right[t].items():
            cell = one.asked[number]
            if any(getattr(cell, key) not in values for key, values in wanted.items()):
                continue
            for subject, answer in zip(cell.subjects, answers, strict=True):
                right += weight[subject] * float(answer)
                total += weight[subject]
        return 100 * right / total if total else None

    facts = ("updated", "new")
    grid = [
        [em(t, probe_set=facts, period=(column,), lasts=(True,)) for column in PERIODS]
        for t in range(len(PERIODS) + 1)
    ]
    last = len(PERIODS)
    ends: dict[str, Any] = {
        name: (em(0, probe_set=(name,), lasts=(True,)), em(last, probe_set=(name,)))
        for name in ("invariant", "updated", "new")
    }
    asked = {c.period: 0.0 for c in one.asked}
    for cell in one.asked:
        if cell.probe_set in facts and cell.lasts:
            asked[cell.period] += sum(weight[s] for s in cell.subjects)
    return {
        "learning_gain": f.learning_gain(grid),
        "forgetting": f.forgetting(grid),
        "bwt": f.bwt(grid),
        "kar": f.kar(grid, TOKENS, SECONDS),
        "kg": float(
            np.mean(
                [
                    1
                    - sum(grid[t][i] / 100 * asked[PERIODS[i]] for i in range(t))  # type: ignore[operator]
                    / sum(asked[PERIODS[i]] for i in range(t))
                    for t in range(1, last + 1)
                ]
            )
        ),
        "fuar": f.fuar([ends["invariant"]], [ends["updated"]], [ends["new"]]),
    }


@pytest.mark.parametrize("draw", range(DRAWS + 1))
def test_a_draw_is_the_metric_of_probes_that_weigh_so_much(
    one: outcomes.Outcomes, draw: int
) -> None:
    sample = BootstrapSample([one], DRAWS)
    weight = {name: float(sample.weights[draw, i]) for name, i in sample.numbers.items()}
    found = ResampledRun(one, sample).stream(TOKENS, SECONDS)
    for key, value in by_hand(one, weight).items():
        assert found[key][draw] == pytest.approx(value, rel=1e-5), key


def test_with_every_probe_once_all_numbers_are_those_of_the_runs_own_scores(
    finished: Runner,
) -> None:
    one = outcomes.read_outcomes(finished.run)
    run = ResampledRun(one, BootstrapSample([one], 2))
    summary, clock = finished.scores()["summary"], finished.clock
    found = run.stream(clock.stream_tokens, clock.train_seconds)
    for key, draws in found.items():
        expected = np.nan if summary[key] is None else summary[key]
        assert draws[0] == pytest.approx(expected, nan_ok=True, abs=1e-4), key
    for name, scores in summary["probe_sets"].items():
        assert run.asked_of(name) == scores["n"]
        for moment, value in run.of_set(name)._asdict().items():
            expected = scores["em"][moment]
            expected = np.nan if expected is None else expected
            assert value[0] == pytest.approx(expected, nan_ok=True, abs=1e-4)


def test_runs_that_were_asked_the_same_have_the_same_draws(tmp_path: Path) -> None:
    both = [outcomes.read_outcomes(Run(write_run(tmp_path / str(s), seed=s))) for s in (0, 1)]
    sample = BootstrapSample(both, 3)
    first, second = (sample.of(one) for one in both)
    assert first[1] is second[1]


def test_fuar_is_undefined_where_nothing_was_gained(tmp_path: Path) -> None:
    shares = {"updated": (0.9, 0.5, 0.4, 0.0), "new": (0.9, 0.5, 0.4, 0.0)}
    one = outcomes.read_outcomes(Run(write_run(tmp_path / "run", shares=shares)))
    assert np.isnan(ResampledRun(one, BootstrapSample([one], 5)).fuar()).all()
