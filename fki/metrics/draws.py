"""Arrays of draws: the last axis is draws of a bootstrap, and a plain number is one draw.

An undefined value is NaN inside arrays and None outside. Sums over a single draw are exactly
rounded, so that a run's scores are the same numbers on every machine; sums over many draws are
numpy's.
"""

from collections.abc import Sequence
from math import fsum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Draws: TypeAlias = NDArray[np.float64]  # [..., draws]


def to_draws(rows: Sequence[Sequence[float | None]]) -> Draws:
    """The matrix R as an array [P + 1, P, 1], NaN where a cell is None.

    Raises ValueError where R is not P + 1 rows of P columns.
    """
    columns = max(0, len(rows) - 1)
    if any(len(row) != columns for row in rows):
        raise ValueError(f"{len(rows)} rows (t = 0..P) need {columns} columns each.")
    return np.array(rows, np.float64).reshape(len(rows), columns, 1)


def to_scalar(draws: Draws) -> float | None:
    """The value of a single draw, None where it is NaN."""
    value = float(draws.item())
    return None if np.isnan(value) else value


def total(values: Sequence[Draws]) -> Draws:
    """The sum of arrays [draws]; NaN where one of them is NaN."""
    stacked = np.stack(values)
    return np.array([fsum(stacked[:, 0])]) if stacked.shape[1] == 1 else stacked.sum(0)


def mean(values: Sequence[Draws], draws: int) -> Draws:
    """The mean of arrays [draws]; NaN where one of them is NaN, or where there are none."""
    return total(values) / len(values) if len(values) else np.full(draws, np.nan)
