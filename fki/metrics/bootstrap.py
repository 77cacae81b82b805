"""How sure a number is: intervals and tests by resampling what was asked.

Probes of one subject are not independent, so subjects are what is drawn. Runs were asked the same
probes, so that every run gets the same draws: what two runs have in common cancels in their
difference. The draws are those of the Bayesian bootstrap (Rubin, 1981): each subject has a weight
from the exponential distribution, so that no period is ever left without a probe. Seeds are few;
what their mean may be off by follows Student's t, of the variance that the probes do not explain.
"""

from dataclasses import dataclass
from math import erfc, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
LEAST = 0.9  # of the draws must be defined, or there is no interval

Floats = NDArray[np.float64]


def draw_weights(clusters: int, *, draws: int = DRAWS, seed: int = 0) -> NDArray[np.float32]:
    """[1 + draws, clusters]: ones, which are the data as they are, and then the draws."""
    drawn = np.random.default_rng(seed).standard_exponential((draws, clusters), np.float32)
    return np.concatenate([np.ones((1, clusters), np.float32), drawn])


@dataclass(frozen=True, slots=True)
class BootstrapResult:
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


def mean_over_seeds(values: Floats) -> BootstrapResult:
    """Of one metric.

    Args:
        values: [seeds, 1 + draws], the metric of each seed's run for each row of `weights`.
    """
    one = _Runs.of(values)
    return BootstrapResult(
        one.mean, _shared(one.errors, one.chance), one.variance**0.5, one.freedom
    )


def difference_of_means(ours: Floats, theirs: Floats, *, is_paired: bool) -> BootstrapResult:
    """Of one metric between two arms that were asked the same, and have the same weights.

    Where they are not paired, degrees of freedom are those of Welch (1947).

    Args:
        ours: [seeds, 1 + draws], as for `spread`.
        theirs: the same of the other arm.
        is_paired: row i of both is of the same seed.
    """
    if is_paired:
        return mean_over_seeds(ours - theirs)
    first, second = _Runs.of(ours), _Runs.of(theirs)
    errors = _shared(first.errors - second.errors, first.chance + second.chance)
    varying = [one for one in (first, second) if one.variance]
    whole = sum(one.variance for one in varying)
    freedom = whole**2 / sum(one.variance**2 / one.freedom for one in varying) if whole else 0.0
    return BootstrapResult(first.mean - second.mean, errors, whole**0.5, freedom)


class _Runs(NamedTuple):
    """What the runs of an arm say of their mean."""

    mean: float
    errors: Floats  # [draws], of the mean
    chance: float  # the part of the errors' variance that no two runs share
    variance: float  # of the mean, by what runs differ in
    freedom: int

    @classmethod
    def of(cls, values: Floats) -> "_Runs":
        """values [seeds, 1 + draws]. With one seed nothing is known of what runs differ in."""
        found, deviations = values[:, 0], values[:, 1:] - values[:, :1]
        errors, runs = deviations.mean(0), len(found)
        if runs < 2:
            return cls(float(found[0]), errors, 0.0, 0.0, 0)
        by_chance = np.var(deviations, axis=0, ddof=1)[np.isfinite(errors)]
        chance = float(by_chance.mean()) / runs if len(by_chance) else 0.0
        return cls(float(found.mean()), errors, chance, float(found.var(ddof=1)) / runs, runs - 1)


def _shared(errors: Floats, chance: float) -> Floats:
    """The errors without the variance that is chance.

    Runs differ by their seeds, and because each answers single probes by chance. The variance
    between runs has both, and Student's t of it says how little few runs tell of that; so what
    draws tell of chance is taken off the draws, and what all runs share remains of them.
    """
    known = errors[np.isfinite(errors)]
    whole = float(known.var()) if len(known) else 0.0
    return errors * max(0.0, 1 - chance / whole) ** 0.5 if whole else errors
