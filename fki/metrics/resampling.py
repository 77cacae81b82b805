"""How sure a number is: intervals and tests by resampling what was asked.

Probes of one subject are not independent, so subjects are what is drawn. Runs were asked the same
probes, so that every run gets the same draws: what two runs have in common cancels in their
difference. The draws are those of the Bayesian bootstrap (Rubin, 1981): each subject has a weight
from the exponential distribution, so that no period is ever left without a probe. Seeds are few;
what their mean may be off by follows Student's t, of the variance that the probes do not explain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
LEAST = 0.9  # of the draws must be defined, or there is no interval

Floats = NDArray[np.float64]


def weights(clusters: int, *, draws: int = DRAWS, seed: int = 0) -> NDArray[np.float32]:
    """[1 + draws, clusters]: ones, which are the data as they are, and then the draws."""
    drawn = np.random.default_rng(seed).standard_exponential((draws, clusters), np.float32)
    return np.concatenate([np.ones((1, clusters), np.float32), drawn])


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds and what it may be off by: an error of these, and `scale` times Student's
    t of `freedom` degrees."""

    value: float
    errors: Floats  # [draws], around zero; NaN where a draw has no value
    scale: float = 0.0
    freedom: float = 0.0

    @property
    def known(self) -> Floats | None:
        """The errors that have a value; None where too many have none."""
        known = self.errors[np.isfinite(self.errors)]
        return known if len(known) >= max(1.0, LEAST * len(self.errors)) else None

    def drawn(self) -> Floats:
        """[draws]: both kinds of error together; each has a like share of Student's t."""
        if self.scale == 0:
            return self.errors
        from scipy.special import stdtrit

        n = len(self.errors)
        shares = (np.random.default_rng(0).permutation(n) + 0.5) / n
        drawn: Floats = self.errors + self.scale * stdtrit(self.freedom, shares)
        return drawn

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """From low to high; None where too many draws have no value."""
        if self.known is None:
            return None
        off = np.nanquantile(self.drawn(), [(1 - level) / 2, (1 + level) / 2])
        return self.value + float(off[0]), self.value + float(off[1])

    def p(self) -> float | None:
        """Two-sided, of the value being zero: the mean over the errors of Student's two tails.

        Where seeds add nothing it is the normal distribution's tails, with the errors' standard
        deviation: a share of draws would never be small enough for many tests.
        """
        known, far = self.known, abs(self.value)
        if known is None:
            return None
        if self.scale == 0:
            return erfc(far / float(known.std()) / sqrt(2)) if known.any() else float(far == 0)
        from scipy.special import stdtr

        tails = stdtr(self.freedom, (np.stack([known, -known]) - far) / self.scale).sum(0)
        return float(min(1.0, tails.mean()))


def spread(values: Floats) -> Spread:
    """Of one metric.

    Runs differ by their seeds, and because each answers single probes by chance. The variance
    between runs has both, and Student's t of it says how little few runs tell of that; so what
    draws tell of chance is taken off the draws, and what all runs share remains of them.

    Args:
        values: [seeds, 1 + draws], the metric of each seed's run for each row of `weights`.
    """
    found, deviations = values[:, 0], values[:, 1:] - values[:, :1]
    mean, errors = float(found.mean()), deviations.mean(0)
    runs = len(found)
    if runs < 2:
        return Spread(mean, errors)
    chance = np.var(deviations, axis=0, ddof=1)
    known = np.isfinite(errors)
    whole = float(errors[known].var()) if known.any() else 0.0
    shared = max(0.0, whole - float(chance[known].mean()) / runs) if whole else 0.0
    scale = float(found.std(ddof=1) / np.sqrt(runs))
    return Spread(mean, errors * np.sqrt(shared / whole) if whole else errors, scale, runs - 1)


def difference(ours: Floats, theirs: Floats, *, is_paired: bool) -> Spread:
    """Of one metric between two arms that were asked the same, and have the same weights.

    Where they are not paired, degrees of freedom are those of Welch (1947).

    Args:
        ours: [seeds, 1 + draws], as for `spread`.
        theirs: the same of the other arm.
        is_paired: row i of both is of the same seed.
    """
    if is_paired:
        return spread(ours - theirs)
    first, second = spread(ours), spread(theirs)
    variances = [(one.scale**2, one.freedom) for one in (first, second) if one.scale]
    whole = sum(variance for variance, _ in variances)
    freedom = whole**2 / sum(variance**2 / of for variance, of in variances) if whole else 0.0
    return Spread(
        first.value - second.value, first.errors - second.errors, float(np.sqrt(whole)), freedom
    )


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
