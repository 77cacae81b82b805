"""Metrics in every draw are those of the plain definitions, computed draw by draw."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fki.comparison.bootstrap_metrics import BootstrapSample, ResampledRun, compute_metrics
from fki.metrics.bootstrap import difference_of_means, mean_over_seeds
from fki.metrics.pooling import percentage
from fki.metrics.registry import ANSWER_METRICS, BY_FIELD, STREAM_METRICS
from fki.runs.outcomes import Outcomes, read_outcomes
from fki.runs.run_dir import SAMPLES, Run
from fki.testing.toy_runs import PERIODS, write_run
from fki.training.runner import Runner
from tests.support import scalar_metrics

DRAWS = 4
TOKENS, SECONDS = 5000, 10.0


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(write_run(tmp_path / "run"))


@pytest.fixture
def one(run: Run) -> Outcomes:
    return read_outcomes(run)


def metrics_of_grid(grid: scalar_metrics.Matrix) -> dict[str, Any]:
    """The metrics that follow from R alone, by the scalar reference."""
    return {
        "acc": scalar_metrics.acc(grid),
        "learning_gain": scalar_metrics.learning_gain(grid),
        "forgetting": scalar_metrics.forgetting(grid),
        "bwt": scalar_metrics.bwt(grid),
        "fwt": scalar_metrics.fwt(grid),
        "kar": scalar_metrics.kar(grid, TOKENS, SECONDS),
    }


def by_hand(one: Outcomes, weight: dict[str, float]) -> dict[str, Any]:
    """Every stream metric where each subject's probes count so much, by the plain definitions."""

    def em(t: int, **wanted: Any) -> float | None:
        right = total = 0.0
        for number, answers in one.em[t].items():
            cell = one.cells[number]
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
    asked = {c.period: 0.0 for c in one.cells}
    for cell in one.cells:
        if cell.probe_set in facts and cell.lasts:
            asked[cell.period] += sum(weight[s] for s in cell.subjects)
    return {
        **metrics_of_grid(grid),
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
        "fuar": scalar_metrics.fuar([ends["invariant"]], [ends["updated"]], [ends["new"]]),
    }


def weights_of(sample: BootstrapSample, draw: int) -> dict[str, float]:
    return {name: float(sample.weights[draw, i]) for name, i in sample.numbers.items()}


@pytest.mark.parametrize("draw", range(DRAWS + 1))
def test_a_draw_is_the_metric_of_probes_that_weigh_so_much(one: Outcomes, draw: int) -> None:
    sample = BootstrapSample([one], DRAWS)
    found = ResampledRun(one, sample).stream(TOKENS, SECONDS)
    expected = by_hand(one, weights_of(sample, draw))
    assert {m.key for m in STREAM_METRICS} - expected.keys() == {"edit_score", "edit_score_by_case"}
    for key, value in expected.items():
        assert found[key][draw] == pytest.approx(value, rel=1e-5), key


ARM = 5


def smoothed(value: float | None, draw: int, clusters: float, *seed: int) -> float | None:
    """A percentage with half a subject of correct and of wrong answers."""
    if value is None or draw == 0:
        return value
    rng = np.random.default_rng([ARM, *seed, 1])
    right, wrong = rng.gamma(0.5, size=(2, DRAWS))[:, draw - 1]
    data = rng.gamma(clusters, size=DRAWS)[draw - 1]
    return float((value * data + 100 * right) / (data + right + wrong))


def clusters_by_hand(weights: dict[str, float]) -> float:
    return sum(weights.values()) ** 2 / sum(w * w for w in weights.values())


@pytest.mark.parametrize("draw", range(DRAWS + 1))
def test_a_draw_with_a_prior_has_pseudo_answers_in_each_moment(one: Outcomes, draw: int) -> None:
    sample = BootstrapSample([one], DRAWS)
    run = ResampledRun(one, sample)
    found = run.stream(TOKENS, SECONDS, arm=ARM)
    # R: of the first period 12 updated and 15 new probes of "land 0" to "land 7"; so in each period
    shares = {f"land {n}": 4 / 27 for n in range(6)} | {"land 6": 2 / 27, "land 7": 1 / 27}
    clusters = clusters_by_hand(shares)
    size = len(PERIODS)
    grid = [
        [
            smoothed(
                None if np.isnan(cell[draw]) else float(cell[draw]),
                draw,
                clusters,
                *((0,) if t == 0 else (1,) if t == size else (2, size + t - i)),
            )
            for i, cell in enumerate(row)
        ]
        for t, row in enumerate(run.matrix)
    ]
    sizes = {"invariant": [2] * 20, "updated": [6] * 6, "new": [6] * 7 + [3]}
    pairs = {}
    for name, probes in sizes.items():
        number = ["invariant", "initial", "updated", "new"].index(name)
        subjects = clusters_by_hand({str(n): float(count) for n, count in enumerate(probes)})
        em = run.of_set(name)
        pairs[name] = [
            smoothed(float(value[draw]), draw, subjects, 3, number, row)
            for row, value in enumerate((em.before, em.after))
        ]
    kept, updated, new = ((float(a or 0), float(b or 0)) for a, b in pairs.values())
    expected = {
        **metrics_of_grid(grid),
        "fuar": scalar_metrics.fuar([kept], [updated], [new]),
    }
    for key, value in expected.items():
        assert found[key][draw] == pytest.approx(value, rel=1e-5), key


EVERYTHING = {
    "invariant": (1.0, 1.0, 1.0, 1.0),
    "updated": (0.0, 1.0, 1.0, 1.0),
    "new": (0.0, 1.0, 1.0, 1.0),
}


def test_stream_metrics_at_their_extremes_have_an_interval_with_a_width(tmp_path: Path) -> None:
    one = read_outcomes(Run(write_run(tmp_path / "run", shares=EVERYTHING)))
    run = ResampledRun(one, BootstrapSample([one], 2000))
    ours, theirs = (run.stream(TOKENS, SECONDS, arm=arm) for arm in (0, 1))
    assert ours["acc"][0] == 100 and ours["forgetting"][0] == ours["fuar"][0] == 0
    for key in ("edit_score", "edit_score_by_case"):
        assert np.isnan(ours.pop(key)).all()  # toy runs have no neighbors
    for key, drawn in ours.items():
        arm = mean_over_seeds(drawn[None]).interval() or (0, 0)
        off = difference_of_means(drawn[None], theirs[key][None], is_paired=True)
        low, high = off.interval() or (0, 0)
        assert arm[0] <= drawn[0] <= arm[1] and arm[0] < arm[1], key
        assert off.value == 0 and low < 0 < high and off.p_value() == 1, key


def test_the_interval_of_acc_at_100_percent_is_that_of_jeffreys(tmp_path: Path) -> None:
    one = read_outcomes(Run(write_run(tmp_path / "run", shares=EVERYTHING)))
    run = ResampledRun(one, BootstrapSample([one], 20_000))
    drawn = run.stream(TOKENS, SECONDS, arm=0)["acc"]
    low, high = mean_over_seeds(drawn[None]).interval() or (0, 0)
    clusters = 27**2 / (6 * 4**2 + 2**2 + 1**2)  # two of 12 and two of 15 probes are of a subject
    expected = 100 * stats.beta(clusters + 0.5, 0.5).ppf(0.025)
    assert low == pytest.approx(expected, abs=1.5) and high == 100


def answers_by_hand(run: Run, weight: dict[str, float], name: str, after: str) -> dict[str, float]:
    """Every answer metric of a probe set in a row, from the lines of samples.jsonl."""
    probes = run.read_lines("probes.jsonl")
    subjects = {p["id"]: p.get("case") or p["subject"] for p in probes}
    rows = [
        (weight[subjects[row["id"]]], row)
        for row in run.read_lines(SAMPLES)
        if row["after"] == after and row["probe_set"] == name and " for now" not in row["id"]
    ]
    size = sum(w for w, _ in rows)
    nats = sum(w * row["log_likelihood"] for w, row in rows)

    def percent(key: str) -> float:
        values = [(w, row[key]) for w, row in rows if row[key] is not None]
        total = sum(w for w, _ in values)
        return 100 * sum(w * value for w, value in values) / total if values else math.nan

    def percent_of_means(key: str, groups: Mapping[str, str], *, drawn: bool) -> float:
        """The mean over the groups of a period, each with its mean; a drawn group has a weight."""
        found: dict[str, list[tuple[float, float]]] = {}
        needed = "precision_at_1" if key == "em" else key  # of ranked probes alone
        for w, row in rows:
            if row[needed] is not None and groups[row["id"]]:
                found.setdefault(groups[row["id"]], []).append((w, row[key]))
        means = [sum(w * v for w, v in own) / sum(w for w, _ in own) for own in found.values()]
        weights = [own[0][0] if drawn else 1.0 for own in found.values()]
        pairs = zip(weights, means, strict=True)
        return 100 * sum(w * m for w, m in pairs) / sum(weights) if means else math.nan

    percentages = [m for m in ANSWER_METRICS if m.pool is percentage]
    assert len(percentages) == len(ANSWER_METRICS) - 2
    asked = [*run.read_lines("probes.jsonl")]
    names = {
        within: {p["id"]: p.get(within) and f"{p['id'].split('|')[0]} {p[within]}" for p in asked}
        for within in ("case", "relation")
    }
    return {
        **{m.key: percent(m.key) for m in percentages if not m.within},
        **{
            m.key: percent_of_means(m.total, names[m.within], drawn=m.within == "case")
            for m in percentages
            if m.within
        },
        "log_likelihood": nats / size,
        "perplexity": math.exp(-nats / sum(w * row["tokens"] for w, row in rows)),
    }


@pytest.mark.parametrize("name", ["initial", "updated", "new"])
@pytest.mark.parametrize("draw", range(DRAWS + 1))
def test_an_answer_metric_of_a_draw_is_that_of_answers_that_weigh_so_much(
    run: Run, one: Outcomes, name: str, draw: int
) -> None:
    sample = BootstrapSample([one], DRAWS)
    resampled, weight = ResampledRun(one, sample), weights_of(sample, draw)
    for after, moment in (("base", "before"), (PERIODS[-1], "after")):
        expected = answers_by_hand(run, weight, name, after)
        assert expected.keys() == {metric.key for metric in ANSWER_METRICS}
        for key, value in expected.items():
            found = getattr(resampled.of_set(name, BY_FIELD[key]), moment)[draw]
            assert found == pytest.approx(value, rel=1e-5, abs=1e-4, nan_ok=True), key


@pytest.mark.parametrize("name", ["initial", "updated"])
@pytest.mark.parametrize("draw", range(DRAWS + 1))
def test_means_within_edits_of_unequal_size_are_those_by_hand(
    run: Run, name: str, draw: int
) -> None:
    rows = [*run.read_lines("probes.jsonl")]
    for number, row in enumerate(rows):
        row["case"] = "" if number % 7 == 0 else str(int(number**0.7))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run.folder / "probes.jsonl").write_text(text, encoding="utf-8")
    one = read_outcomes(run)
    sample = BootstrapSample([one], DRAWS)
    resampled, weight = ResampledRun(one, sample), weights_of(sample, draw)
    expected = answers_by_hand(run, weight, name, PERIODS[-1])
    key = {"initial": "same_tokens", "updated": "magnitude"}[name]
    for found in (key, f"{key}_by_case", "token_accuracy_by_case"):
        drawn = resampled.of_set(name, BY_FIELD[found]).after[draw]
        assert drawn == pytest.approx(expected[found], rel=1e-5)
    assert expected[key] != pytest.approx(expected[f"{key}_by_case"], rel=1e-3)
    sizes = Counter(c for cell in one.cells if cell.probe_set == name for c in cell.cases if c)
    assert max(sizes.values()) > min(sizes.values())


def test_with_every_probe_once_all_numbers_are_those_of_the_runs_own_scores(
    finished: Runner,
) -> None:
    one = read_outcomes(finished.run)
    run = ResampledRun(one, BootstrapSample([one], 2))
    summary, clock = finished.scores()["summary"], finished.totals
    found = run.stream(clock.stream_tokens, clock.train_seconds)
    for key, draws in found.items():
        expected = np.nan if summary[key] is None else summary[key]
        assert draws[0] == pytest.approx(expected, nan_ok=True, abs=1e-4), key
    for name, scores in summary["probe_sets"].items():
        assert run.probe_count(name) == scores["n"]
        for metric in ANSWER_METRICS:
            for moment, value in run.of_set(name, metric)._asdict().items():
                expected = scores[metric.key][moment]
                expected = np.nan if expected is None else expected
                close = pytest.approx(expected, nan_ok=True, abs=1e-4, rel=1e-5)
                assert value[0] == close, (name, metric.key, moment)


def test_runs_with_the_same_probes_have_the_same_draws(tmp_path: Path) -> None:
    both = [read_outcomes(Run(write_run(tmp_path / str(s), seed=s))) for s in (0, 1)]
    sample = BootstrapSample(both, 3)
    first, second = (sample.weights_of(one) for one in both)
    assert first[1] is second[1]


def test_fuar_is_undefined_where_nothing_was_gained(tmp_path: Path) -> None:
    shares = {"updated": (0.9, 0.5, 0.4, 0.0), "new": (0.9, 0.5, 0.4, 0.0)}
    one = read_outcomes(Run(write_run(tmp_path / "run", shares=shares)))
    fuar = ResampledRun(one, BootstrapSample([one], 5)).stream(TOKENS, SECONDS)["fuar"]
    assert np.isnan(fuar).all()


def test_only_requested_fields_are_read_and_computed(one: Outcomes) -> None:
    one.loaded.clear()
    found = compute_metrics(ResampledRun(one, BootstrapSample([one], 2)), {}, ("em",))
    assert not one.loaded and "updated" in found and "updated.f1" not in found
    found = compute_metrics(ResampledRun(one, BootstrapSample([one], 2)), {}, ("em", "f1"))
    assert {"updated.f1", "updated.f1.learned", "updated.f1.before"} <= found.keys()


def test_intervals_of_stream_metrics_contain_the_truth_where_all_is_learned() -> None:
    from benchmarks.stream_coverage import World, rates

    world = World(4, 20, 0.01, 0.99, 0.99, 0.0)
    found = rates(world, 60, 300)
    assert all(arm > 0.85 and off > 0.85 for arm, off in found.values())
    assert rates(world, 60, 300, has_prior=False)["acc"][0] < 0.7
