"""Every metric of a run in every bootstrap draw, from its single answers.

Draw 0 has each probe once: it is the run's own summary, up to rounding. NaN where a metric is
undefined.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fki.core.probe_sets import BASE, UNEDITED, Moment, matrix_probe_sets
from fki.metrics.bootstrap import add_prior, draw_weights, effective_clusters
from fki.metrics.continual import StreamScores
from fki.metrics.draws import Draws
from fki.metrics.registry import (
    BY_FIELD,
    EM,
    PERCENT,
    STREAM_METRICS,
    AnswerMetric,
    Metric,
    metric_key,
)
from fki.runs.outcomes import AnsweredCell, Outcomes

Cells: TypeAlias = Sequence[tuple[int, int]]  # (row, number of a cell of the run)
Weights: TypeAlias = NDArray[np.float32]  # [1 + draws, n]


class BootstrapSample:
    """The same draws for all runs that are compared."""

    def __init__(self, outcomes: Sequence[Outcomes], draws: int, *, seed: int = 0) -> None:
        """Draws subjects: of all probes of these runs."""
        distinct = {one.digest: one.cells for one in outcomes}.values()
        names = sorted({name for cells in distinct for cell in cells for name in cell.subjects})
        self.numbers = {name: number for number, name in enumerate(names)}
        self.weights = draw_weights(len(names), draws=draws, seed=seed)
        self._by_digest: dict[str, tuple[list[Weights], list[Draws]]] = {}
        self.matrix_clusters: dict[str, float] = {}  # by digest, see ResampledRun
        self.selected: dict[Any, list[tuple[int, int]]] = {}  # cells, by digest, row and properties

    def weights_of(self, outcomes: Outcomes) -> tuple[list[Weights], list[Draws]]:
        """For each cell of a run, the weight of each probe [1 + draws, n], and their sum."""
        if outcomes.digest not in self._by_digest:
            of_probes = [
                self.weights[:, [self.numbers[name] for name in cell.subjects]]
                for cell in outcomes.cells
            ]
            sums = [weights.sum(1, dtype=np.float64) for weights in of_probes]
            self._by_digest[outcomes.digest] = of_probes, sums
        return self._by_digest[outcomes.digest]


class Moments(NamedTuple):
    """A metric of a probe set at three moments, each [1 + draws]."""

    before: Draws
    learned: Draws
    after: Draws


class ResampledRun:
    """One run in every draw."""

    def __init__(self, outcomes: Outcomes, sample: BootstrapSample) -> None:
        self.outcomes, self.sample = outcomes, sample
        self._weights, self._probes = sample.weights_of(outcomes)
        self._sums: dict[str, dict[tuple[int, int], Draws]] = {}
        self._moments: dict[tuple[str, str], Moments] = {}
        self.last = len(outcomes.rows) - 1
        self.columns = outcomes.columns if self.last else ()
        self.draws = sample.weights.shape[0]  # the data included
        self.undefined = np.full(self.draws, np.nan)

    @property
    def sets(self) -> list[str]:
        """The probe sets, in the order of evaluation."""
        cells = self.outcomes.cells
        return list(dict.fromkeys(cells[number].probe_set for number in self.outcomes.em[0]))

    @property
    def answer_count(self) -> int:
        """The number of answers in all rows."""
        return sum(len(answers) for row in self.outcomes.em for answers in row.values())

    def select(self, t: int, **properties: object) -> Cells:
        """The cells of row t with these properties; a tuple of values stands for any of them."""
        key = self.outcomes.digest, t, tuple(properties.items())
        if key not in self.sample.selected:
            cells = self.outcomes.cells
            numbers = (n for n in self.outcomes.em[t] if _has(cells[n], properties))
            self.sample.selected[key] = [(t, number) for number in numbers]
        return self.sample.selected[key]

    def pool(self, metric: AnswerMetric, cells: Cells) -> Draws:
        """An answer metric over all probes of some cells, [1 + draws]."""
        if not cells:
            return self.undefined
        if metric.within:
            parts = [self._sum_means(metric, t, number) for t, number in cells]
            return metric.pool(_sum(total for total, _ in parts), _sum(size for _, size in parts))
        sums = self._sums_of(metric.total)
        total = _sum(sums[cell] for cell in cells)
        if not metric.per:
            return metric.pool(total, _sum(self._probes[number] for _, number in cells))
        counts = self._sums_of(metric.per)
        return metric.pool(total, _sum(counts[cell] for cell in cells))

    def _sum_means(self, metric: AnswerMetric, t: int, number: int) -> tuple[Draws, Draws]:
        """The sum of the means of a cell's edits, or of its relations, and their number.

        An edit is drawn with all of its probes, so its mean has the weight of each of them. A
        relation is never drawn: its probes are.
        """
        names, weights = self.outcomes.cells[number].groups(metric.within or ""), self._weights
        values = self.outcomes.answers(metric.total)[t][number].astype(np.float64)
        has = self.outcomes.answers(metric.has_score)[t][number] if metric.has_score else None
        members: dict[str, list[int]] = defaultdict(list)
        for i, name in enumerate(names):
            if name and (has is None or has[i]):
                members[name].append(i)
        total, size = np.zeros(self.draws), np.zeros(self.draws)
        for rows in members.values():
            own = weights[number][:, rows].astype(np.float64)
            mean = own @ values[rows] / own.sum(1)
            weight = own[:, 0] if metric.within == "case" else np.ones(self.draws)
            total, size = total + weight * mean, size + weight
        return total, size

    def _sums_of(self, field: str) -> dict[tuple[int, int], Draws]:
        """By row and cell, the weighted sum of a field of the answers; computed at first use."""
        if field not in self._sums:
            rows = self.outcomes.answers(field)
            self._sums[field] = {}
            for number, weights in enumerate(self._weights):
                present = [t for t, row in enumerate(rows) if number in row]
                answers = np.stack([rows[t][number] for t in present])
                sums = (answers.astype(np.float32) @ weights.T).astype(np.float64)
                sums[:, 0] = answers.sum(1, dtype=np.float64)
                self._sums[field] |= {(t, number): s for t, s in zip(present, sums, strict=True)}
        return self._sums[field]

    def of_set(self, name: str, metric: AnswerMetric = EM) -> Moments:
        """A probe set before the stream, right after each phase was learned, and at its end."""
        key = name, metric.key
        if key not in self._moments:
            self._moments[key] = self._pool_moments(name, metric)
        return self._moments[key]

    def _pool_moments(self, name: str, metric: AnswerMetric) -> Moments:
        last = self._last_cells(name)
        first = [(0, number) for _, number in last if number in self.outcomes.em[0]]
        learned = [
            cell
            for t, column in enumerate(self.columns, 1)
            for cell in self.select(t, probe_set=name, period=column)
        ]
        return Moments(*(self.pool(metric, cells) for cells in (first, learned, last)))

    def _last_cells(self, name: str) -> Cells:
        return self.select(self.last, probe_set=name, period=(BASE, *self.columns))

    def answers_at_the_end(self, name: str, field: str = EM.key) -> list[float]:
        """[n], the score of each probe of a set in the last row."""
        answers = self.outcomes.answers(field)[self.last]
        return [float(value) for _, number in self._last_cells(name) for value in answers[number]]

    def probe_count(self, name: str) -> int:
        """The number of probes of a set in the last row."""
        return sum(len(self.outcomes.cells[number].ids) for _, number in self._last_cells(name))

    def clusters(self, name: str, metric: AnswerMetric = EM) -> float:
        """The effective number of subjects of a set in the last row."""
        per = metric.has_score if metric.within else metric.per
        counts = self.outcomes.answers(per)[self.last] if per else {}
        sizes: dict[str, float] = defaultdict(float)
        for _, number in self._last_cells(name):
            cell = self.outcomes.cells[number]
            shares = [float(count) for count in counts.get(number, [1] * len(cell.ids))]
            if metric.within:
                shares = _share_groups(shares, cell.groups(metric.within))
            for subject, share in zip(cell.subjects, shares, strict=True):
                sizes[subject] += share
        return effective_clusters(np.array([*sizes.values()]))

    @cached_property
    def matrix(self) -> Draws:
        """R, [P + 1, P, 1 + draws], of the probes that last; NaN where a cell was not scored."""
        names = matrix_probe_sets(self.sets)
        size = len(self.columns)
        r = np.full((size + 1, size, self.draws), np.nan)
        for t in range(size + 1):
            for i, column in enumerate(self.columns):
                r[t, i] = self.pool(EM, self.select(t, probe_set=names, period=column, lasts=True))
        return r

    def counts(self) -> Draws:
        """[P, 1 + draws], the weight of each period's probes in R."""
        names = matrix_probe_sets(self.sets)
        cells = [self.select(0, probe_set=names, period=c, lasts=True) for c in self.columns]
        weights = [_sum(self._probes[n] for _, n in column) for column in cells]
        return np.array([np.broadcast_to(w, self.draws) for w in weights]).reshape(-1, self.draws)

    def stream(self, tokens: float, seconds: float, *, arm: int | None = None) -> dict[str, Draws]:
        """The stream metrics, by key.

        Args:
            tokens: of the stream, for KAR.
            seconds: of training, for KAR.
            arm: its number, for its prior; None for no prior.
        """
        ends = {name: self.of_set(name) for name in self.sets}
        pairs = {name: np.stack([em.before, em.after]) for name, em in ends.items()}
        matrix = self.matrix
        if arm is not None:
            matrix = self._matrix_with_prior(arm)
            pairs = {name: self._pair_with_prior(name, pair, arm) for name, pair in pairs.items()}
        keys = ("success", "success_by_case") if set(UNEDITED) & set(self.sets) else ()
        successes = [self._at_the_end(key) for key in keys]
        scores = StreamScores(matrix, self.counts(), pairs, tokens, seconds, *successes)
        return {m.key: m.compute(scores) for m in STREAM_METRICS if m.compute}

    def _at_the_end(self, key: str) -> dict[str, Draws]:
        """An answer metric at the end, of each probe set that has it."""
        values = {name: self.of_set(name, BY_FIELD[key]).after for name in self.sets}
        return {name: drawn for name, drawn in values.items() if np.isfinite(drawn[0])}

    def _matrix_with_prior(self, arm: int) -> Draws:
        """R, whose cells have Jeffreys' prior for a mean over periods.

        The cells of row 0, those of the last row, and those that are equally many phases after
        their training share a prior each: a stream metric is a difference of such means.
        """
        known, digest = self.sample.matrix_clusters, self.outcomes.digest
        if digest not in known:
            known[digest] = self._matrix_clusters()
        clusters, r = known[digest], self.matrix.copy()
        for t, i in np.ndindex(r.shape[:2]):
            moment = (0,) if t == 0 else (1,) if t == self.last else (2, self.last + t - i)
            r[t, i] = add_prior(r[t, i], clusters, arm, *moment)
        return r

    def _matrix_clusters(self) -> float:
        """The effective number of subjects of a mean over periods.

        The fewest of all periods, those but the first and those but the last, since some stream
        metrics leave one of these out.
        """
        names = matrix_probe_sets(self.sets)
        columns: list[Counter[str]] = []
        for column in self.columns:
            cells = self.select(0, probe_set=names, period=column, lasts=True)
            columns.append(Counter(s for _, n in cells for s in self.outcomes.cells[n].subjects))
        parts = filter(any, (columns, columns[1:], columns[:-1]))
        return min(map(_clusters_of_mean, parts), default=0.0)

    def _pair_with_prior(self, name: str, pair: Draws, arm: int) -> Draws:
        """Exact match on a probe set before and after the stream, [2, 1 + draws]."""
        clusters = self.clusters(name)
        seed = arm, 3, self.sets.index(name)
        return np.stack([add_prior(em, clusters, *seed, row) for row, em in enumerate(pair)])


def add_priors(
    run: ResampledRun, values: Mapping[str, Draws], metrics: Mapping[str, Metric], *, seed: int
) -> dict[str, Draws]:
    """The metrics of a run [1 + draws], percentages of a probe set with their prior.

    Args:
        values: by key.
        metrics: by key, at least those of `values`.
        seed: of the arm, see `add_prior`.
    """

    @cache
    def clusters(name: str, answer: AnswerMetric) -> float:
        return run.clusters(name, answer)

    return {
        key: add_prior(drawn, clusters(metric.probe_set, metric.answer), seed)
        if (metric := metrics[key]).answer is not None and metric.bounds == PERCENT
        else drawn
        for key, drawn in values.items()
    }


def _share_groups(counts: Sequence[float], names: Sequence[str]) -> list[float]:
    """The share of each probe in the mean of its group; 0 for one without a group."""
    sizes: dict[str, float] = defaultdict(float)
    for count, name in zip(counts, names, strict=True):
        sizes[name] += count
    pairs = zip(counts, names, strict=True)
    return [count / sizes[name] if name and count else 0.0 for count, name in pairs]


def _clusters_of_mean(columns: Sequence[Counter[str]]) -> float:
    """The effective number of subjects of a mean over columns, whatever their sizes.

    Args:
        columns: the number of probes of each subject.
    """
    weights: dict[str, float] = defaultdict(float)
    for column in columns:
        probes = column.total()
        for subject, count in column.items():
            weights[subject] += count / probes
    return effective_clusters(np.array([*weights.values()]))


def _has(cell: AnsweredCell, properties: Mapping[str, object]) -> bool:
    pairs = ((getattr(cell, name), value) for name, value in properties.items())
    return all(has in v if isinstance(v, tuple) else has == v for has, v in pairs)


def _sum(values: Iterable[Draws]) -> Draws:
    """Zero for no values."""
    remaining = iter(values)
    total: Draws = next(remaining, np.zeros(1)).copy()
    for value in remaining:
        total += value
    return total


def compute_metrics(
    run: ResampledRun,
    spent: Mapping[str, Any],
    fields: Collection[str] = (EM.key,),
    *,
    arm: int | None = None,
) -> dict[str, Draws]:
    """The metrics of a run [1 + draws], by key.

    Args:
        spent: of its run.json, for KAR.
        fields: keys of the answer metrics to compute.
        arm: its number, for the prior of the stream metrics; None for no prior.
    """
    moments: tuple[Moment, ...] = ("before", "learned", "after")
    metrics = {}
    for field in fields:
        for name in run.sets:
            values = run.of_set(name, BY_FIELD[field])
            for moment, value in zip(moments, values, strict=True):
                metrics[metric_key(name, moment, BY_FIELD[field])] = value
    tokens, seconds = spent.get("stream_tokens", 0), spent.get("train_seconds", 0.0)
    return metrics | run.stream(tokens, seconds, arm=arm)
