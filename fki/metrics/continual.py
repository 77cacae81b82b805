"""What a stream of training gained and lost, from the matrix of its scores.

R[t][i] is the score, in percent, on period i's probes after training on period t. Row 0 is the
model before any training, so R has P + 1 rows (t = 0..P) of P columns (i = 1..P). A cell is None
where it was not scored; all other cells are finite. In Python's indices R[t][i] is
`matrix[t][i - 1]`.

A metric is None, never inf or NaN, where it is undefined: too few periods, or a cell that it needs
was not scored. A period whose whole column is None has no probes and is left out of the means.
Unless said otherwise, results are in percent and higher is better.
"""

from collections.abc import Iterable, Sequence
from math import fsum
from typing import TypeAlias

Matrix: TypeAlias = Sequence[Sequence[float | None]]
Then: TypeAlias = tuple[float, float]  # a score after phase i, and after the last phase n


def acc(matrix: Matrix) -> float | None:
    """Average accuracy at the end: 1/P sum_i R[P][i]. Lopez-Paz & Ranzato (2017), eq. 2."""
    grid = _Grid(matrix)
    return _mean(grid.at(grid.last, i) for i in grid.probed)


def learning_accuracy(matrix: Matrix) -> float | None:
    """Average accuracy on each period right after it was learned: 1/P sum_t R[t][t].

    Riemer et al. (2019), LA; CFInjectBench's `EM`.
    """
    grid = _Grid(matrix)
    return _mean(grid.at(t, t) for t in grid.probed)


def bwt(matrix: Matrix) -> float | None:
    """Backward transfer: 1/(P-1) sum_{i<P} (R[P][i] - R[i][i]); negative is forgetting.

    Lopez-Paz & Ranzato (2017), eq. 3. None for one period.
    """
    grid = _Grid(matrix)
    return _mean(grid.change(i, i, grid.last) for i in grid.probed if i < grid.last)


def fwt(matrix: Matrix) -> float | None:
    """Forward transfer: 1/(P-1) sum_{i=2..P} (R[i-1][i] - R[0][i]).

    What earlier periods taught of one not yet seen. Lopez-Paz & Ranzato (2017), eq. 4; row 0 is
    the baseline. None for one period. CFInjectBench's `FWT` is our `learning_gain`.
    """
    grid = _Grid(matrix)
    return _mean(grid.change(i, 0, i - 1) for i in grid.probed if i > 1)


def forgetting(matrix: Matrix) -> float | None:
    """Forgetting: 1/(P-1) sum_{i<P} (max_{i<=t<P} R[t][i] - R[P][i]); lower is better.

    From the best that a period ever was since it was learned. Negative where the end is better.
    Chaudhry et al. (2018), section 3 (there over all t < P). None for one period.
    """
    grid = _Grid(matrix)
    return _mean(_fall_from_best(grid, i) for i in grid.probed if i < grid.last)


def gain_per_period(matrix: Matrix) -> list[float | None]:
    """[P]: gain_t = R[t][t] - R[t-1][t], what training on period t taught of period t.

    CFInjectBench's `FWT_t`. None for a period without probes.
    """
    grid = _Grid(matrix)
    return [grid.change(t, t - 1, t) for t in grid.periods]


def forget_per_period(matrix: Matrix) -> list[float | None]:
    """[P]: forget_t = mean_{j<t} (R[t-1][j] - R[t][j]), what training on period t cost the earlier.

    Positive is forgetting; not clamped. 0 where no earlier period has probes, as for t = 1.
    CFInjectBench's `BWT_t` in compute_metric.py:172.
    """
    grid = _Grid(matrix)
    return [_fall(grid, t) for t in grid.periods]


def learning_gain(matrix: Matrix) -> float | None:
    """Mean over periods of `gain_per_period`: 1/P sum_t (R[t][t] - R[t-1][t])."""
    grid = _Grid(matrix)
    return _mean(grid.change(t, t - 1, t) for t in grid.probed)


def kar(matrix: Matrix, tokens: float, seconds: float) -> float | None:
    """Knowledge acquisition rate: (mean gain - mean forget) / 100 * tokens / seconds.

    Net acquired tokens per second (CFInjectBench, compute_metric.py:186). The mean gain is over
    the periods with probes, the mean of `forget_per_period` over all P, the first counting as 0.

    Args:
        matrix: R, [P + 1, P].
        tokens: trained on, over all periods.
        seconds: of the optimizer loop alone: no evaluation, tokenisation or validation.
    Returns:
        Tokens per second; None also for zero tokens or seconds.
    """
    gain, forget = learning_gain(matrix), _mean(forget_per_period(matrix))
    if gain is None or forget is None or not (tokens > 0 and seconds > 0):
        return None
    return (gain - forget) / 100 * tokens / seconds


def kg(matrix: Matrix, counts: Sequence[int]) -> float | None:
    """Knowledge gap: 1/P sum_t (W_t - M_t) / W_t; 0 is everything known, 1 is nothing.

    W_t = sum_{i<=t} n_i probes are known of by period t, and M_t = sum_{i<=t} R[t][i]/100 n_i of
    them are answered (CFInjectBench, compute_metric.py:177-182). A t with W_t = 0 is left out.
    The gap of the untrained model is `kg([matrix[0]] * len(matrix), counts)`.

    Args:
        matrix: R, [P + 1, P].
        counts: [P], the n_i; the cells of a period with n_i = 0 are not needed.
    Returns:
        A share from 0 to 1; lower is better.
    """
    grid = _Grid(matrix)
    if len(counts) != grid.last:
        raise ValueError(f"One count a period is needed: {grid.last}, not {len(counts)}.")
    return _mean(_unknown_share(grid, counts, t) for t in grid.periods if any(counts[:t]))


def fuar(
    forget: Sequence[Then | None],
    updated: Sequence[Then | None] = (),
    new: Sequence[Then | None] = (),
) -> float | None:
    """Forgotten / (updated + acquired) ratio of n phases of training; lower is better.

        sum_i max(0, F_i(LM_i) - F_i(LM_n))
        / sum_i [max(0, U(LM_n) - U(LM_i)) + max(0, A(LM_n) - A(LM_i))]     over i = 0..n-1

    LM_i is the model after phase i, LM_0 the one before training. 1 is one kept fact lost for each
    gained. Jang et al. (2022), "Towards Continual Knowledge Learning of Language Models". One
    phase is `fuar([(il_0, il_1)], [(ul_0, ul_1)], [(nl_0, nl_1)])`.

    Args:
        forget: for each i < n, scores of the time-invariant task F_i under (LM_i, LM_n).
        updated: for each i < n, scores of the last phase's update task U under (LM_i, LM_n).
        new: the same for the last phase's task of new knowledge A.
            In all three, None or nothing stands for a task that is not defined.
    Returns:
        None where no F task is defined, or where nothing was gained: print "no gain".
    """
    if all(pair is None for pair in forget):
        return None
    lost = fsum(max(0.0, pair[0] - pair[1]) for pair in forget if pair)
    gained = fsum(max(0.0, pair[1] - pair[0]) for pair in (*updated, *new) if pair)
    return lost / gained if gained > 0 else None


class _Grid:
    """The matrix read by the indices of the formulas: t = 0..P, i = 1..P."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.last = max(0, len(matrix) - 1)
        self.periods = range(1, self.last + 1)
        if any(len(row) != self.last for row in matrix):
            raise ValueError(f"{len(matrix)} rows (t = 0..P) need {self.last} columns each.")
        self.probed = [i for i in self.periods if any(row[i - 1] is not None for row in matrix)]

    def at(self, t: int, i: int) -> float | None:
        return self.matrix[t][i - 1]

    def change(self, i: int, before: int, after: int) -> float | None:
        """R[after][i] - R[before][i]."""
        start, end = self.at(before, i), self.at(after, i)
        return None if start is None or end is None else end - start


def _mean(values: Iterable[float | None]) -> float | None:
    """None where a value is missing, or all are."""
    cells = list(values)
    known = [cell for cell in cells if cell is not None]
    return fsum(known) / len(known) if known and len(known) == len(cells) else None


def _fall(grid: _Grid, t: int) -> float | None:
    earlier = [grid.change(j, t, t - 1) for j in grid.probed if j < t]
    return _mean(earlier) if earlier else 0.0


def _fall_from_best(grid: _Grid, i: int) -> float | None:
    falls = [grid.change(i, grid.last, t) for t in range(i, grid.last)]
    known = [fall for fall in falls if fall is not None]
    return max(known) if len(known) == len(falls) else None


def _unknown_share(grid: _Grid, counts: Sequence[int], t: int) -> float | None:
    probes = sum(counts[:t])
    cells = [(grid.at(t, i), counts[i - 1]) for i in range(1, t + 1) if counts[i - 1]]
    known = [score / 100 * count for score, count in cells if score is not None]
    return (probes - fsum(known)) / probes if len(known) == len(cells) else None
