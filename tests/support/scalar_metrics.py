"""The continual metrics over plain numbers, with None where undefined: an independent reference.

Each follows its formula cell by cell and sums exactly. R[t][i] is `matrix[t][i - 1]`.
"""

from collections.abc import Iterable, Sequence
from math import fsum
from typing import TypeAlias

Matrix: TypeAlias = Sequence[Sequence[float | None]]
Pair: TypeAlias = tuple[float, float]  # a score after phase i, and after the last phase


def acc(matrix: Matrix) -> float | None:
    """Average accuracy at the end."""
    last = len(matrix) - 1
    return _mean(matrix[last][i - 1] for i in _probed(matrix))


def bwt(matrix: Matrix) -> float | None:
    """Backward transfer."""
    last = len(matrix) - 1
    return _mean(_change(matrix, i, i, last) for i in _probed(matrix) if i < last)


def fwt(matrix: Matrix) -> float | None:
    """Forward transfer."""
    return _mean(_change(matrix, i, 0, i - 1) for i in _probed(matrix) if i > 1)


def forgetting(matrix: Matrix) -> float | None:
    """Forgetting from the best row."""
    last = len(matrix) - 1
    return _mean(_fall_from_best(matrix, i) for i in _probed(matrix) if i < last)


def learning_gain(matrix: Matrix) -> float | None:
    """Mean gain over the periods with probes."""
    return _mean(_change(matrix, t, t - 1, t) for t in _probed(matrix))


def kar(matrix: Matrix, tokens: float, seconds: float) -> float | None:
    """Knowledge acquisition rate."""
    gain = learning_gain(matrix)
    forget = _mean(_fall(matrix, t) for t in range(1, len(matrix)))
    if gain is None or forget is None or not (tokens > 0 and seconds > 0):
        return None
    return (gain - forget) / 100 * tokens / seconds


def kg(matrix: Matrix, counts: Sequence[int]) -> float | None:
    """Knowledge gap."""
    return _mean(
        _unknown_share(matrix, counts, t) for t in range(1, len(matrix)) if any(counts[:t])
    )


def fuar(
    forget: Sequence[Pair | None], updated: Sequence[Pair | None], new: Sequence[Pair | None]
) -> float | None:
    """Forgotten / (updated + acquired) ratio."""
    if all(pair is None for pair in forget):
        return None
    lost = fsum(max(0.0, pair[0] - pair[1]) for pair in forget if pair)
    gained = fsum(max(0.0, pair[1] - pair[0]) for pair in (*updated, *new) if pair)
    return lost / gained if gained > 0 else None


def _probed(matrix: Matrix) -> list[int]:
    last = max(0, len(matrix) - 1)
    return [i for i in range(1, last + 1) if any(row[i - 1] is not None for row in matrix)]


def _change(matrix: Matrix, i: int, before: int, after: int) -> float | None:
    start, end = matrix[before][i - 1], matrix[after][i - 1]
    return None if start is None or end is None else end - start


def _mean(values: Iterable[float | None]) -> float | None:
    """None where a value is missing, or all are."""
    cells = list(values)
    known = [cell for cell in cells if cell is not None]
    return fsum(known) / len(known) if known and len(known) == len(cells) else None


def _fall(matrix: Matrix, t: int) -> float | None:
    earlier = [_change(matrix, j, t, t - 1) for j in _probed(matrix) if j < t]
    return _mean(earlier) if earlier else 0.0


def _fall_from_best(matrix: Matrix, i: int) -> float | None:
    last = len(matrix) - 1
    falls = [_change(matrix, i, last, t) for t in range(i, last)]
    known = [fall for fall in falls if fall is not None]
    return max(known) if len(known) == len(falls) else None


def _unknown_share(matrix: Matrix, counts: Sequence[int], t: int) -> float | None:
    probes = sum(counts[:t])
    cells = [(matrix[t][i - 1], counts[i - 1]) for i in range(1, t + 1) if counts[i - 1]]
    known = [score / 100 * count for score, count in cells if score is not None]
    return (probes - fsum(known)) / probes if len(known) == len(cells) else None
