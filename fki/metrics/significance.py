"""."""

from collections.abc import Sequence

import numpy as np


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """The p-values adjusted for their number (Holm, 1979); None stays and does not count."""
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    found: list[float | None] = [None] * len(ps)
    least = 0.0
    for rank, (p, i) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p))
        found[i] = least
    return found


def mcnemar(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The exact two-sided p of McNemar (1947): of paired 0s and 1s, do as many go either way?

    Args:
        ours: [n], each 0 or 1.
        theirs: [n], the same probes'.
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
