"""Every metric of a run in every draw: `evaluation/summary.py`, but of arrays [1 + draws].

Element 0 has each probe once and is what the run's scores.json says; NaN where a metric is
undefined.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fki.core.probe_sets import BASE, CLOZE, matrix_probe_sets
from fki.metrics.bootstrap import draw_weights
from fki.metrics.registry import metric_key
from fki.runs.outcomes import Outcomes, ProbeCell

Draws: TypeAlias = NDArray[np.float64]  # [1 + draws]
Cells: TypeAlias = Iterable[tuple[int, int]]  # (row, number in `asked`)
MOMENTS = ("before", "learned", "after")


class BootstrapSample:
    """The same draws for all runs that are compared."""

    def __init__(self, outcomes: Sequence[Outcomes], draws: int) -> None:
        """Subjects of all that these runs were asked are what is drawn."""
        distinct = {one.digest: one.asked for one in outcomes}.values()
        names = sorted({name for asked in distinct for cell in asked for name in cell.subjects})
        self.numbers = {name: number for number, name in enumerate(names)}
        self.weights = draw_weights(len(names), draws=draws)
        self._of: dict[str, tuple[list[NDArray[np.float32]], list[Draws]]] = {}
        self.chosen: dict[Any, list[tuple[int, int]]] = {}  # cells, by what was wanted of them

    def of(self, one: Outcomes) -> tuple[list[NDArray[np.float32]], list[Draws]]:
        """For each cell of `asked` how much each of its probes weighs [1 + draws, n], and all."""
        if one.digest not in self._of:
            of_probes = [
                self.weights[:, [self.numbers[name] for name in cell.subjects]]
                for cell in one.asked
            ]
            self._of[one.digest] = of_probes, [w.sum(1, dtype=np.float64) for w in of_probes]
        return self._of[one.digest]


class Kept(NamedTuple):
    """A probe set in the order of moments."""

    before: Draws
    learned: Draws
    after: Draws


class ResampledRun:
    """One run in every draw."""

    def __init__(self, one: Outcomes, sample: BootstrapSample) -> None:
        self.one, self.sample = one, sample
        probes, self.asked = sample.of(one)
        self.right: dict[tuple[int, int], Draws] = {}
        for number, of_probe in enumerate(probes):
            rows = [t for t, row in enumerate(one.right) if number in row]
            answers = np.stack([one.right[t][number] for t in rows]).astype(np.float32)
            found = (answers @ of_probe.T).astype(np.float64)
            self.right |= {(t, number): draws for t, draws in zip(rows, found, strict=True)}
        self.last = len(one.rows) - 1
        self.columns = one.columns if self.last else ()
        self.nothing = np.full(sample.weights.shape[0], np.nan)

    def em(self, cells: Cells) -> Draws:
        """Exact match over all probes of some cells, %."""
        chosen = list(cells)
        if not chosen:
            return self.nothing
        right, asked = self.right[chosen[0]].copy(), self.asked[chosen[0][1]].copy()
        for cell in chosen[1:]:
            right += self.right[cell]
            asked += self.asked[cell[1]]
        return 100 * right / asked

    def cells(self, t: int, **wanted: object) -> list[tuple[int, int]]:
        """Those of row t with these properties; a tuple of values stands for any of them."""
        key = self.one.digest, t, tuple(wanted.items())
        if key not in self.sample.chosen:
            asked = self.one.asked
            numbers = (n for n in self.one.right[t] if _fits(asked[n], wanted))
            self.sample.chosen[key] = [(t, number) for number in numbers]
        return self.sample.chosen[key]

    @property
    def sets(self) -> list[str]:
        """The probe sets, in the order in which they are asked."""
        return list(dict.fromkeys(self.one.asked[number].probe_set for number in self.one.right[0]))

    def of_set(self, name: str) -> Kept:
        """A probe set before the stream, right after each phase was learned, and at its end."""
        last = self.cells(self.last, probe_set=name, period=(BASE, *self.columns))
        first = [(0, number) for _, number in last if number in self.one.right[0]]
        fresh = [
            cell
            for t, column in enumerate(self.columns, 1)
            for cell in self.cells(t, probe_set=name, period=column)
        ]
        return Kept(self.em(first), self.em(fresh), self.em(last))

    def right_at_the_end(self, name: str) -> list[int]:
        """[n], 1 where a probe of a set is answered right at the end."""
        last = self.cells(self.last, probe_set=name, period=(BASE, *self.columns))
        return [int(right) for _, n in last for right in self.one.right[self.last][n]]

    def asked_of(self, name: str) -> int:
        """How many probes of a set are asked at the end."""
        last = self.cells(self.last, probe_set=name, period=(BASE, *self.columns))
        return sum(len(self.one.asked[number].ids) for _, number in last)

    def matrix(self) -> NDArray[np.float64]:
        """R, [P + 1, P, 1 + draws], of what lasts; NaN where it was not asked."""
        taught = matrix_probe_sets(self.sets)
        size = len(self.columns)
        found = np.full((size + 1, size, len(self.nothing)), np.nan)
        for t in range(size + 1):
            for i, column in enumerate(self.columns):
                found[t, i] = self.em(self.cells(t, probe_set=taught, period=column, lasts=True))
        return found

    def stream(self, tokens: float, seconds: float) -> dict[str, Draws]:
        """The metrics of the matrix R, and FUAR, by their names in scores.json."""
        grid = self.matrix()
        probed = [i for i in range(len(self.columns)) if np.isfinite(grid[:, i, 0]).any()]
        if not probed:
            names = ("learning_gain", "forgetting", "bwt", "fuar", "kar", "kg")
            return dict.fromkeys(names, self.nothing)
        end, earlier = grid[-1], [i for i in probed if i < len(self.columns) - 1]
        gain = _mean([grid[i + 1, i] - grid[i, i] for i in probed], self.nothing)
        lost = [_mean([*_falls(grid, probed, t)], 0 * gain) for t in range(len(self.columns))]
        rate = tokens / seconds / 100 if tokens > 0 and seconds > 0 else np.nan
        return {
            "learning_gain": gain,
            "forgetting": _mean(
                [grid[i + 1 : -1, i].max(0) - end[i] for i in earlier], self.nothing
            ),
            "bwt": _mean([end[i] - grid[i + 1, i] for i in earlier], self.nothing),
            "fuar": self.fuar(),
            "kar": (gain - np.mean(lost, 0)) * rate,
            "kg": self.kg(),
        }

    def kg(self) -> Draws:
        """The knowledge gap: the share of what is known of by then that is not answered."""
        taught = matrix_probe_sets(self.sets)
        gaps = []
        for t in range(1, len(self.columns) + 1):
            cells = self.cells(t, probe_set=taught, period=self.columns[:t], lasts=True)
            if cells:
                gaps.append(1 - self.em(cells) / 100)
        return _mean(gaps, self.nothing)

    def fuar(self) -> Draws:
        """Kept facts lost for each fact gained over the run; NaN where nothing was gained."""
        keep = "invariant" if "invariant" in self.sets else "initial"
        added = CLOZE if matrix_probe_sets(self.sets) == (CLOZE,) else "new"
        kept = self.of_set(keep) if keep in self.sets else None
        gains = [self.of_set(name) for name in ("updated", added) if name in self.sets]
        if kept is None or not gains:
            return self.nothing
        gained = np.sum([np.nan_to_num(np.maximum(0, g.after - g.before)) for g in gains], 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.maximum(0, kept.before - kept.after) / gained
        return np.where(gained > 0, found, np.nan)


def _fits(cell: ProbeCell, wanted: Mapping[str, object]) -> bool:
    pairs = ((getattr(cell, name), value) for name, value in wanted.items())
    return all(has in v if isinstance(v, tuple) else has == v for has, v in pairs)


def _falls(grid: NDArray[np.float64], probed: Sequence[int], t: int) -> Iterable[Draws]:
    """How much training on phase t + 1 cost each earlier phase."""
    return (grid[t, j] - grid[t + 1, j] for j in probed if j < t)


def _mean(values: Sequence[Draws], nothing: Draws) -> Draws:
    """Over the phases; `nothing` where there is none."""
    return np.mean(values, 0) if values else nothing


def compute_metrics(run: ResampledRun, spent: Mapping[str, Any]) -> dict[str, Draws]:
    """Every metric of a run [1 + draws], by its key.

    Args:
        spent: of its run.json, for KAR.
    """
    found = {}
    for name in run.sets:
        for when, value in zip(MOMENTS, run.of_set(name), strict=True):
            found[metric_key(name, when)] = value
    tokens, seconds = spent.get("stream_tokens", 0), spent.get("train_seconds", 0.0)
    return found | run.stream(tokens, seconds)
