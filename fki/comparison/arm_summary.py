"""One arm: the metrics of its runs together, their cost, and exact match over the stream."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from fki.comparison.arm_difference import Values
from fki.comparison.arms import FinishedRun
from fki.comparison.bootstrap_metrics import ResampledRun
from fki.comparison.types import Arm, Cost, Estimate
from fki.core.probe_sets import BASE, kept_probe_set, matrix_probe_sets
from fki.metrics.bootstrap import mean_over_seeds
from fki.metrics.continual import explain_undefined
from fki.metrics.registry import EM, Metric


def summarize_arm(
    name: str,
    runs: Sequence[FinishedRun],
    resampled: Sequence[ResampledRun],
    values: Mapping[str, Values],
    metrics: Mapping[str, Metric],
) -> Arm:
    """The arm of these runs.

    Args:
        values: its metrics in every draw, by key.
        metrics: by key, at least those of `values`.
    """
    matrices = [run.matrix[..., 0] for run in resampled if len(run.columns)]
    alike = [m for m in matrices if m.shape == matrices[0].shape]
    return Arm(
        name=name,
        method=runs[0].method,
        runs=tuple(str(run.run.folder) for run in runs),
        seeds=tuple(run.seed for run in runs),
        settings=runs[0].settings,
        cost=_mean_cost([run.info for run in runs], resampled),
        estimates={
            key: estimate_metric(
                metrics[key],
                drawn,
                _probe_count(resampled[0], metrics[key]),
                _explain_undefined(resampled[0], key),
            )
            for key, drawn in values.items()
        },
        matrix=_to_lists(np.mean(alike, 0)) if alike else [],
        curves=_curves(resampled),
    )


def _probe_count(run: ResampledRun, metric: Metric) -> int:
    """The number of probes that a metric is a mean over."""
    if metric.probe_set:
        return run.probe_count(metric.probe_set)
    learned = [name for name in matrix_probe_sets(run.sets) if name in run.sets]
    kept = [kept_probe_set(run.sets)] if metric.key == "fuar" else []
    return sum(map(run.probe_count, [*kept, *learned]))


def _explain_undefined(run: ResampledRun, key: str) -> str:
    kept = kept_probe_set(run.sets)
    before = float(run.of_set(kept).before[0]) if kept in run.sets else None
    return explain_undefined(key, before, len(run.columns))


def estimate_metric(metric: Metric, values: Values, n: int, reason: str = "") -> Estimate:
    """A metric's mean over seeds with its interval; undefined where it is undefined in a seed.

    Args:
        values: [runs, 1 + draws].
        n: the number of probes.
        reason: the note of a metric that is undefined in all runs.
    """
    missing = int((~np.isfinite(values[:, 0])).sum())
    if missing:
        note = f"undefined in {missing} of {len(values)} runs" if missing < len(values) else reason
        return Estimate(None, n=n, note=note)
    result = mean_over_seeds(values)
    interval = result.interval()
    if interval is None:
        return Estimate(result.value, n=n, note="no interval: undefined in too many draws")
    return Estimate(result.value, metric.clip(interval[0]), metric.clip(interval[1]), n)


def _mean_cost(infos: Sequence[Mapping[str, Any]], resampled: Sequence[ResampledRun]) -> Cost:
    spent = [info.get("spent", {}) for info in infos]

    def mean(key: str) -> float:
        return fmean(float(table.get(key, 0)) for table in spent)

    def per_question(key: str) -> float | None:
        pairs = zip(spent, resampled, strict=True)
        shares = [table[key] / count for table, run in pairs if (count := run.answer_count)]
        return fmean(shares) if len(shares) == len(spent) else None

    is_counted = all(table.get("question_tokens") for table in spent)
    is_timed = all("eval_seconds" in table for table in spent)
    peaks = [info["peak_mib"] for info in infos if info.get("peak_mib")]
    return Cost(
        trainable=infos[0]["parameters"]["trainable"],
        steps=mean("steps"),
        tokens=mean("tokens"),
        seconds=mean("train_seconds"),
        flops=mean("flops"),
        peak_mib=fmean(peaks) if len(peaks) == len(infos) else None,
        periods=len(infos[0]["dataset"]["periods"]) if resampled[0].columns else 0,
        eval_seconds_per_question=per_question("eval_seconds") if is_timed else None,
        input_tokens_per_question=per_question("question_tokens") if is_counted else None,
    )


def _curves(runs: Sequence[ResampledRun]) -> dict[str, list[float | None]]:
    """By probe set, exact match in each row on the probes of all phases learned by then; for kept
    probes, on all of them."""
    first = runs[0]
    curves = {}
    for name in first.sets:
        values = []
        for t in range(len(first.outcomes.rows)):
            periods = (BASE, *first.columns[:t])
            ems = [
                run.pool(EM, run.select(t, probe_set=name, period=periods, lasts=True))[0]
                for run in runs
                if t < len(run.outcomes.rows)
            ]
            values.append(float(np.mean(ems)))
        curves[name] = [None if np.isnan(value) else value for value in values]
    return curves


def _to_lists(matrix: Values) -> list[list[float | None]]:
    return [[None if np.isnan(x) else float(x) for x in row] for row in matrix]
