"""Tests between two arms: McNemar's exact test, Cohen's effect size, Holm's adjustment."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values adjusted for their number (Holm, 1979); None stays None and does not count."""
    ordered = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p))
        adjusted[place] = largest
    return adjusted


def mcnemar(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The exact two-sided p-value of McNemar (1947) for paired zeros and ones.

    Args:
        ours: [n], each 0 or 1.
        theirs: [n], of the same probes.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(ours) > 0.5, np.asarray(theirs) > 0.5
    gained, lost = int((a & ~b).sum()), int((~a & b).sum())
    if gained + lost == 0:
        return 1.0
    return float(binomtest(gained, gained + lost, 0.5).pvalue)


def cohens_h(ours: float, theirs: float) -> float:
    """The effect size of two proportions, 2 asin sqrt p - 2 asin sqrt q (Cohen, 1988, 6.2.1)."""
    first, second = (2 * np.arcsin(np.sqrt(min(1.0, max(0.0, p)))) for p in (ours, theirs))
    return float(first - second)
