"""Confidence intervals and p-values by a clustered Bayesian bootstrap over probes and seeds.

Probes of one subject are not independent, so subjects are drawn, not probes. All runs share the
draws, since they were evaluated on the same probes: what two runs have in common cancels in their
difference. Each draw weighs each subject by the exponential distribution (the Bayesian bootstrap,
Rubin, 1981), so that no period is ever without a probe. Percentages, and the cells of R, also get
Jeffreys' prior, so that 0 of 5 correct answers are no certainty. Seeds are few: the error of a mean
over seeds follows Student's t, with the variance that the probes do not explain.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import erfc, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
MIN_DEFINED = 0.9  # the share of draws that must be defined for an interval

Floats = NDArray[np.float64]


def draw_weights(clusters: int, *, draws: int = DRAWS, seed: int = 0) -> NDArray[np.float32]:
    """[1 + draws, clusters]: a row of ones, which is the data itself, and then the draws."""
    drawn = np.random.default_rng(seed).standard_exponential((draws, clusters), np.float32)
    return np.concatenate([np.ones((1, clusters), np.float32), drawn])


def effective_clusters(sizes: NDArray[Any]) -> float:
    """The number of equal clusters with the same variance of a mean (Kish, 1965).

    Args:
        sizes: the number of probes of each cluster; those without probes do not count.
    """
    squares = float(np.square(sizes, dtype=np.float64).sum())
    return float(sizes.sum()) ** 2 / squares if squares else 0.0


def add_prior(percentages: Floats, clusters: float, *seed: int) -> Floats:
    """The draws of a percentage, with Jeffreys' prior for a share; row 0, the data, stays.

    The Bayesian bootstrap of k correct answers of n independent probes is Beta(k, n - k), which has
    no width at k = 0 and k = n. The prior adds half a cluster of correct and half a cluster of
    wrong answers: Beta(k + 1/2, n - k + 1/2) (Brown, Cai & DasGupta, 2001).

    Args:
        percentages: [1 + draws].
        clusters: the effective number of clusters.
        seed: the same for the runs of an arm, which were evaluated on the same probes; another one
            for each arm, and for each moment of a difference: true values may differ where all
            answers are equal.
    """
    right, wrong, data = _prior_weights(clusters, len(percentages) - 1, seed)
    drawn = (percentages[1:] * data + 100 * right) / (data + right + wrong)
    return np.concatenate([percentages[:1], drawn])


@lru_cache(maxsize=256)
def _prior_weights(
    clusters: float, draws: int, seed: tuple[int, ...]
) -> tuple[Floats, Floats, Floats]:
    """The weights of the prior's correct and wrong answers, and of the data, [draws] each."""
    rng = np.random.default_rng([*seed, 1])
    right, wrong = rng.standard_gamma(0.5, (2, draws))
    return right, wrong, rng.standard_gamma(clusters, draws)


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """A mean over seeds and the distribution of its error.

    The error is one of `errors`, plus `scale` times Student's t with `degrees_of_freedom`.
    """

    value: float
    errors: Floats  # [draws], around zero; NaN where a draw is undefined
    scale: float = 0.0
    degrees_of_freedom: float = 0.0

    @property
    def defined_errors(self) -> Floats | None:
        """The errors that are defined; None where too many are not."""
        defined = self.errors[np.isfinite(self.errors)]
        return defined if len(defined) >= max(1.0, MIN_DEFINED * len(self.errors)) else None

    def combined_errors(self) -> Floats:
        """[draws]: both kinds of error together; each has an equal share of Student's t."""
        if self.scale == 0:
            return self.errors
        from scipy.special import stdtrit

        n = len(self.errors)
        shares = (np.random.default_rng(0).permutation(n) + 0.5) / n
        combined: Floats = self.errors + self.scale * stdtrit(self.degrees_of_freedom, shares)
        return combined

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """The low and the high end, around the value; None where too many draws are undefined."""
        if self.defined_errors is None:
            return None
        ends = np.nanquantile(self.combined_errors(), [(1 - level) / 2, (1 + level) / 2])
        return self.value + min(0.0, float(ends[0])), self.value + max(0.0, float(ends[1]))

    def p_value(self) -> float | None:
        """Two-sided, for a value of zero: the mean of Student's two tails over the errors.

        Without variance between seeds, the tails are those of the normal distribution with the
        errors' standard deviation: a share of draws would never be small enough for many tests.
        """
        defined, distance = self.defined_errors, abs(self.value)
        if defined is None:
            return None
        if self.scale == 0:
            if not defined.any():
                return float(distance == 0)
            return erfc(distance / float(defined.std()) / sqrt(2))
        from scipy.special import stdtr

        both = np.stack([defined, -defined])
        tails = stdtr(self.degrees_of_freedom, (both - distance) / self.scale).sum(0)
        return float(min(1.0, tails.mean()))


def mean_over_seeds(values: Floats) -> BootstrapResult:
    """The mean of a metric.

    Args:
        values: [seeds, 1 + draws], the metric of each seed's run for each row of weights.
    """
    seeds = _SeedStatistics.of(values)
    errors = _remove_chance(seeds.errors, seeds.chance)
    return BootstrapResult(seeds.mean, errors, seeds.variance**0.5, seeds.degrees_of_freedom)


def difference_of_means(ours: Floats, theirs: Floats, *, is_paired: bool) -> BootstrapResult:
    """The difference of a metric between two arms with the same probes and the same weights.

    Unpaired seeds have the degrees of freedom of Welch (1947).

    Args:
        ours: [seeds, 1 + draws], as for `mean_over_seeds`.
        theirs: the same of the other arm.
        is_paired: row i of both has the same seed.
    """
    if is_paired:
        return mean_over_seeds(ours - theirs)
    first, second = _SeedStatistics.of(ours), _SeedStatistics.of(theirs)
    errors = _remove_chance(first.errors - second.errors, first.chance + second.chance)
    varying = [arm for arm in (first, second) if arm.variance]
    variance = sum(arm.variance for arm in varying)
    welch = sum(arm.variance**2 / arm.degrees_of_freedom for arm in varying)
    degrees_of_freedom = variance**2 / welch if variance else 0.0
    return BootstrapResult(first.mean - second.mean, errors, variance**0.5, degrees_of_freedom)


class _SeedStatistics(NamedTuple):
    """The mean over an arm's runs, and its sources of error."""

    mean: float
    errors: Floats  # [draws], of the mean
    chance: float  # the part of the errors' variance that no two runs share
    variance: float  # of the mean, between runs
    degrees_of_freedom: int

    @classmethod
    def of(cls, values: Floats) -> "_SeedStatistics":
        """values [seeds, 1 + draws]. One seed has no variance between runs."""
        means, deviations = values[:, 0], values[:, 1:] - values[:, :1]
        errors, runs = deviations.mean(0), len(means)
        if runs < 2:
            return cls(float(means[0]), errors, 0.0, 0.0, 0)
        by_chance = np.var(deviations, axis=0, ddof=1)[np.isfinite(errors)]
        chance = float(by_chance.mean()) / runs if len(by_chance) else 0.0
        variance = float(means.var(ddof=1)) / runs
        return cls(float(means.mean()), errors, chance, variance, runs - 1)


def _remove_chance(errors: Floats, chance: float) -> Floats:
    """The errors without the variance that is chance.

    Runs differ by their seeds, and by chance in their answers to single probes. The variance
    between runs contains both, and Student's t accounts for how few runs it is estimated from. So
    the part of the draws that is chance is removed here; what all runs share remains.
    """
    defined = errors[np.isfinite(errors)]
    variance = float(defined.var()) if len(defined) else 0.0
    return errors * max(0.0, 1 - chance / variance) ** 0.5 if variance else errors
