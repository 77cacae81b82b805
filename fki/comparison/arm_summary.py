"""One arm: what its runs say together."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fki.comparison.arms import FinishedRun
from fki.comparison.bootstrap_metrics import ResampledRun
from fki.comparison.types import Arm, Cost, Estimate
from fki.core.probe_sets import BASE, matrix_probe_sets
from fki.metrics.bootstrap import mean_over_seeds
from fki.metrics.registry import METRICS, probe_set_metrics, probe_set_of_key

Values = NDArray[np.float64]  # [runs, 1 + draws]
BY_KEY = {metric.key: metric for metric in METRICS}


def summarize_arm(
    name: str,
    entries: Sequence[FinishedRun],
    runs: Sequence[ResampledRun],
    values: Mapping[str, Values],
) -> Arm:
    """The arm of these runs; `values` are its metrics in every draw."""
    matrices = [run.matrix()[..., 0] for run in runs if len(run.columns)]
    same = [m for m in matrices if m.shape == matrices[0].shape]
    return Arm(
        name=name,
        method=entries[0].method,
        runs=tuple(str(e.run.folder) for e in entries),
        seeds=tuple(e.seed for e in entries),
        settings=entries[0].settings,
        cost=_cost([e.info for e in entries]),
        estimates={
            key: estimate_metric(key, drawn, _asked(runs[0], key)) for key, drawn in values.items()
        },
        matrix=_plain(np.mean(same, 0)) if same else [],
        curves=_curves(runs),
    )


def _asked(run: ResampledRun, key: str) -> int:
    """Probes that a metric is a mean over."""
    if name := probe_set_of_key(key, run.sets):
        return run.asked_of(name)
    keep = "invariant" if "invariant" in run.sets else "initial"
    taught = [name for name in matrix_probe_sets(run.sets) if name in run.sets]
    return sum(map(run.asked_of, [keep, *taught] if key == "fuar" else taught))


def estimate_metric(key: str, values: Values, n: int) -> Estimate:
    """A metric's mean over seeds, with its interval; undefined where it is so in one of them."""
    metric = BY_KEY[key] if key in BY_KEY else probe_set_metrics(key.partition(".")[0])[0]
    missing = int((~np.isfinite(values[:, 0])).sum())
    if missing:
        some = f"undefined in {missing} of {len(values)} runs" if missing < len(values) else ""
        return Estimate(None, n=n, note=some)
    off = mean_over_seeds(values)
    bounds = off.interval()
    if bounds is None:
        return Estimate(off.value, n=n, note="no interval: undefined in too many draws")
    return Estimate(off.value, metric.within(bounds[0]), metric.within(bounds[1]), n)


def _cost(infos: Sequence[Mapping[str, Any]]) -> Cost:
    spent = [info.get("spent", {}) for info in infos]

    def mean(key: str) -> float:
        return fmean(float(one.get(key, 0)) for one in spent)

    peaks = [info["peak_mib"] for info in infos if info.get("peak_mib")]
    return Cost(
        trainable=infos[0]["parameters"]["trainable"],
        steps=mean("steps"),
        tokens=mean("tokens"),
        seconds=mean("train_seconds"),
        flops=mean("flops"),
        peak_mib=fmean(peaks) if len(peaks) == len(infos) else None,
    )


def _curves(runs: Sequence[ResampledRun]) -> dict[str, list[float | None]]:
    """By probe set, exact match in each row on all that the model has been taught of it by then;
    of what was known before, on all of it."""
    first = runs[0]
    found = {}
    for name in first.sets:
        values = []
        for t in range(len(first.one.rows)):
            periods = (BASE, *first.columns[:t])
            ems = [
                run.em(run.cells(t, probe_set=name, period=periods, lasts=True))[0]
                for run in runs
                if t < len(run.one.rows)
            ]
            values.append(float(np.mean(ems)))
        found[name] = [None if np.isnan(value) else value for value in values]
    return found


def _plain(matrix: Values) -> list[list[float | None]]:
    return [[None if np.isnan(x) else float(x) for x in row] for row in matrix]
