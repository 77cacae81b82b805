"""Continual-learning metrics: what a stream of training gained and lost, from the matrix R.

R[t][i] is the score, in percent, on period i's probes after training on period t. Row 0 is the
model before any training, so R has P + 1 rows (t = 0..P) of P columns (i = 1..P). Here R is an
array [P + 1, P, draws] whose column of period i has the index i - 1; a cell is NaN where it was not
scored. Each metric is an array [draws].

A metric is NaN, never infinite, where it is undefined: too few periods, or a cell that it needs was
not scored. A period whose whole column is NaN has no probes and is left out of the means. Unless
stated otherwise, results are in percent and higher is better.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fki.core.probe_sets import CLOZE, EDITED, UNEDITED, kept_probe_set, matrix_probe_sets
from fki.metrics.draws import Draws, mean, total


class StreamScores(NamedTuple):
    """Everything that the metrics of a run are computed from."""

    matrix: Draws  # R, [P + 1, P, draws]
    counts: Draws  # [P, draws], the probes of each period, or their weights
    ends: Mapping[str, Draws]  # by probe set: exact match (%) before and after, [2, draws]
    tokens: float = 0.0  # of the stream, each period's counted once
    seconds: float = 0.0  # of the optimizer loop alone
    success: Mapping[str, Draws] = {}  # by probe set with distractors: success (%) at the end
    success_by_case: Mapping[str, Draws] = {}  # the same, as a mean over edits


def edit_score(success: Mapping[str, Draws], draws: int) -> Draws:
    """The score S of edits: the harmonic mean of efficacy, paraphrase and neighborhood success.

    Meng et al. (2022), section 3.2. 0 where one of them is 0.

    Args:
        success: by probe set, [draws] in percent.
        draws: the number of draws of the result.
    Returns:
        [draws], in percent; NaN where one of the three has no probes.
    """
    names = (EDITED, ("paraphrase",), UNEDITED)
    parts = [next((success[n] for n in group if n in success), None) for group in names]
    defined = [part for part in parts if part is not None]
    if len(defined) < len(parts):
        return np.full(draws, np.nan)
    with np.errstate(divide="ignore"):
        inverse = mean([1 / part for part in defined], draws)
    score: Draws = 1 / inverse
    return score


def acc(r: Draws) -> Draws:
    """Average accuracy at the end: 1/P sum_i R[P][i]. Lopez-Paz & Ranzato (2017), eq. 2."""
    grid = _Grid(r)
    return grid.mean([grid.at(grid.last, i) for i in grid.probed])


def bwt(r: Draws) -> Draws:
    """Backward transfer: 1/(P-1) sum_{i<P} (R[P][i] - R[i][i]); negative is forgetting.

    Lopez-Paz & Ranzato (2017), eq. 3. NaN for one period.
    """
    grid = _Grid(r)
    return grid.mean([grid.change(i, i, grid.last) for i in grid.probed if i < grid.last])


def fwt(r: Draws) -> Draws:
    """Forward transfer: 1/(P-1) sum_{i=2..P} (R[i-1][i] - R[0][i]).

    The effect of earlier periods on a later one before its training. Lopez-Paz & Ranzato (2017),
    eq. 4; row 0 is the baseline. NaN for one period. CFInjectBench's `FWT` is our `learning_gain`.
    """
    grid = _Grid(r)
    return grid.mean([grid.change(i, 0, i - 1) for i in grid.probed if i > 1])


def forgetting(r: Draws) -> Draws:
    """Forgetting: 1/(P-1) sum_{i<P} (max_{i<=t<P} R[t][i] - R[P][i]); lower is better.

    From the best score of a period since its training. Negative where the end is better. Chaudhry
    et al. (2018), section 3 (there over all t < P). NaN for one period, and where each of these
    scores is 0: a model that never knew anything has nothing to forget.
    """
    grid = _Grid(r)
    earlier = [i for i in grid.probed if i < grid.last]
    best = [np.max([grid.at(t, i) for t in range(i, grid.last)], axis=0) for i in earlier]
    falls = [top - grid.at(grid.last, i) for top, i in zip(best, earlier, strict=True)]
    is_known = np.any([(r[i:, i - 1] > 0).any(axis=0) for i in earlier], axis=0)
    return np.where(is_known, grid.mean(falls), np.nan)


def gain_per_period(r: Draws) -> Draws:
    """[P, draws]: gain_t = R[t][t] - R[t-1][t], the effect of training on period t on its probes.

    CFInjectBench's `FWT_t`. NaN for a period without probes.
    """
    grid = _Grid(r)
    gains = [grid.change(t, t - 1, t) for t in grid.periods]
    return np.array(gains, np.float64).reshape(grid.last, grid.draws)


def forget_per_period(r: Draws) -> Draws:
    """[P, draws]: forget_t = mean_{j<t} (R[t-1][j] - R[t][j]), the cost of training on period t for
    the earlier periods.

    Positive is forgetting; not clamped. 0 where no earlier period has probes, as for t = 1.
    CFInjectBench's `BWT_t` in compute_metric.py:172.
    """
    grid = _Grid(r)
    return np.array([_fall(grid, t) for t in grid.periods]).reshape(grid.last, grid.draws)


def learning_gain(r: Draws) -> Draws:
    """Mean over periods of `gain_per_period`: 1/P sum_t (R[t][t] - R[t-1][t])."""
    grid = _Grid(r)
    return grid.mean([grid.change(t, t - 1, t) for t in grid.probed])


def kar(r: Draws, tokens: float, seconds: float) -> Draws:
    """Knowledge acquisition rate: (mean gain - mean forget) / 100 * tokens / seconds.

    Net acquired tokens per second (CFInjectBench, compute_metric.py:186). The mean gain is over
    the periods with probes, the mean of `forget_per_period` over all P, the first counting as 0.

    Args:
        r: R, [P + 1, P, draws].
        tokens: trained on, over all periods.
        seconds: of the optimizer loop alone: no evaluation, tokenization or validation.
    Returns:
        Tokens per second; NaN also for zero tokens or seconds.
    """
    grid = _Grid(r)
    if not (tokens > 0 and seconds > 0):
        return grid.mean([])
    net: Draws = learning_gain(r) - grid.mean([*forget_per_period(r)])
    return net / 100 * tokens / seconds


def kg(r: Draws, counts: Draws) -> Draws:
    """Knowledge gap: 1/P sum_t (W_t - M_t) / W_t; 0 is everything known, 1 is nothing.

    W_t = sum_{i<=t} n_i probes belong to the periods up to t, and M_t = sum_{i<=t} R[t][i]/100 n_i
    of them are answered (CFInjectBench, compute_metric.py:177-182). A t with W_t = 0 is left out.
    The gap of the untrained model is that of an R whose rows all are row 0.

    Args:
        r: R, [P + 1, P, draws].
        counts: [P, draws], the n_i; the cells of a period with n_i = 0 are not needed.
    Returns:
        A share from 0 to 1; lower is better.
    Raises:
        ValueError: `counts` has another number of periods than R.
    """
    grid = _Grid(r)
    if len(counts) != grid.last:
        raise ValueError(f"One count a period is needed: {grid.last}, not {len(counts)}.")
    return grid.mean([_gap(grid, counts, t) for t in grid.periods if counts[:t].any()])


def fuar(forget: Draws, updated: Draws, new: Draws) -> Draws:
    """Forgotten / (updated + acquired) ratio of n phases of training; lower is better.

        sum_i max(0, F_i(LM_i) - F_i(LM_n))
        / sum_i [max(0, U(LM_n) - U(LM_i)) + max(0, A(LM_n) - A(LM_i))]     over i = 0..n-1

    LM_i is the model after phase i, LM_0 the one before training. 1 is one kept fact lost for each
    fact gained. Jang et al. (2022), "Towards Continual Knowledge Learning of Language Models".

    Args:
        forget: [n, 2, draws], scores of the time-invariant task F_i under (LM_i, LM_n).
        updated: [n, 2, draws], scores of the last phase's update task U under (LM_i, LM_n).
        new: the same for the last phase's task of new knowledge A.
            In all three, a pair with a NaN, or n = 0, is a task that is not defined.
    Returns:
        [draws]; NaN where no F task is defined, where the scores before are all 0 (nothing could
        be lost), or where nothing was gained.
    """
    is_defined = (np.isfinite(forget).all(axis=1) & (forget[:, 0] > 0)).any(axis=0)
    lost = _positive_sum([before - after for before, after in forget], forget.shape[-1])
    gains = [after - before for before, after in (*updated, *new)]
    gained = _positive_sum(gains, forget.shape[-1])
    undefined = np.full(gained.shape, np.nan)
    return np.divide(lost, gained, out=undefined, where=is_defined & (gained > 0))


def fuar_of_stream(scores: StreamScores) -> Draws:
    """FUAR of a run as one phase: F invariant (or initial) facts, U updated facts, A new ones (or
    cloze probes)."""
    names = scores.ends
    added = CLOZE if matrix_probe_sets(names) == (CLOZE,) else "new"
    nothing = np.zeros((0, 2, scores.matrix.shape[-1]))
    forget, updated, new = (
        names[name][None] if name in names else nothing
        for name in (kept_probe_set(names), "updated", added)
    )
    return fuar(forget, updated, new)


def explain_undefined(key: str, known_before: float | None, periods: int) -> str:
    """Why forgetting or FUAR is undefined although its probes exist; "" for any other reason.

    Args:
        known_before: exact match on kept probes before the stream; None without such probes.
        periods: the number of periods so far.
    """
    if key == "forgetting" and periods > 1:
        return "nothing to forget"
    if key == "fuar" and known_before is not None and periods:
        return "no gain" if known_before else "nothing known before"
    return ""


class _Grid:
    """R read by the indices of the formulas: t = 0..P, i = 1..P."""

    def __init__(self, r: Draws) -> None:
        self.r, self.draws = r, r.shape[-1]
        self.last = max(0, len(r) - 1)
        if r.shape[1] != self.last:
            raise ValueError(f"{len(r)} rows (t = 0..P) need {self.last} columns each.")
        self.periods = range(1, self.last + 1)
        self.probed = [i for i in self.periods if np.isfinite(r[:, i - 1]).any()]

    def at(self, t: int, i: int) -> Draws:
        return self.r[t, i - 1]

    def change(self, i: int, before: int, after: int) -> Draws:
        """R[after][i] - R[before][i]."""
        return self.at(after, i) - self.at(before, i)

    def mean(self, values: Sequence[Draws]) -> Draws:
        return mean(values, self.draws)


def _fall(grid: _Grid, t: int) -> Draws:
    earlier = [grid.change(j, t, t - 1) for j in grid.probed if j < t]
    return grid.mean(earlier) if earlier else np.zeros(grid.draws)


def _gap(grid: _Grid, counts: Draws, t: int) -> Draws:
    """The share of the probes up to period t that is not answered after it."""
    probes = counts[:t].sum(0)
    probed = [i for i in range(1, t + 1) if counts[i - 1].any()]
    answered = total([grid.at(t, i) / 100 * counts[i - 1] for i in probed])
    return (probes - answered) / probes


def _positive_sum(values: Sequence[Draws], draws: int) -> Draws:
    """The sum of what is above zero; NaN counts as zero."""
    above = [np.maximum(0.0, np.nan_to_num(value, nan=0.0)) for value in values]
    return total(above) if above else np.zeros(draws)
