"""How many seeds would show a difference, if it stays as it is: the power of the bootstrap's test.

The error of a difference has a part that all runs share, since their probes are the same, and a
part that shrinks with the number of seeds. The critical difference for k seeds is that of Student's
t with the degrees of freedom of Satterthwaite (1946) for both parts; the power is that of the
noncentral t distribution (Cohen, 1988, chapter 2).
"""

from math import sqrt

from fki.metrics.bootstrap import BootstrapResult

POWER = 0.8
MOST_SEEDS = 50
ALPHA = 0.05


def seeds_needed(
    result: BootstrapResult, seeds: float, *, is_paired: bool, alpha: float = ALPHA
) -> int | None:
    """The seeds of each arm for which a difference as large as this one has p < alpha in 80 %.

    Args:
        result: the difference of two arms.
        seeds: of each arm in this result.
        is_paired: are the seeds paired?
        alpha: of the test, divided by the number of tests where there are several.
    Returns:
        At least 2; MOST_SEEDS + 1 if more than MOST_SEEDS, or if only more probes would help; None
        where runs do not vary or have one seed, since their variance is then unknown.
    """
    errors = result.defined_errors
    if result.scale == 0 or errors is None or result.value == 0:
        return None
    shared, variance = float(errors.var()), result.scale**2 * seeds
    for count in range(2, MOST_SEEDS + 1):
        degrees = (count - 1) * (1 if is_paired else 2)
        if power(abs(result.value), shared, variance / count, degrees, alpha) >= POWER:
            return count
    return MOST_SEEDS + 1


def power(
    difference: float, shared: float, by_seed: float, degrees_of_freedom: int, alpha: float
) -> float:
    """The probability of p < alpha, with the same probes and new seeds.

    Args:
        difference: the true one.
        shared: the variance that all runs share.
        by_seed: the variance of the mean over seeds.
        degrees_of_freedom: of `by_seed`.
    """
    from scipy.special import nctdtr, stdtrit

    total = shared + by_seed
    satterthwaite = total**2 / (by_seed**2 / degrees_of_freedom)
    critical = float(stdtrit(satterthwaite, 1 - alpha / 2)) * sqrt(total)
    scale = sqrt(by_seed)
    missed = nctdtr(degrees_of_freedom, difference / scale, critical / scale)
    return 1.0 - float(missed)
