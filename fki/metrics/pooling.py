"""Answer metrics of a probe set, from sums over its probes; plain numbers or arrays [draws].

Sums come first and the ratio comes last: a mean of means would weigh the probes of a small period
more than those of a large one.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from fki.metrics.draws import Draws


def percentage(total: Draws, probes: Draws) -> Draws:
    """The mean of scores from 0 to 1, in percent; NaN for no probes."""
    return _ratio(100 * total, probes)


def mean_per_probe(total: Draws, probes: Draws) -> Draws:
    """The mean over probes; NaN for no probes."""
    return _ratio(total, probes)


def perplexity(log_likelihood: ArrayLike, tokens: ArrayLike) -> Draws:
    """exp(-log_likelihood / tokens), in float64.

    Args:
        log_likelihood: nats, summed over the answers of all probes.
        tokens: of those answers.
    Returns:
        At least 1 for a probability model. NaN for no tokens, a log-likelihood that is NaN or
        infinite (a diverged model), or more than about 709 nats per token, where float64 ends.
    """
    rates = _ratio(-np.asarray(log_likelihood), tokens)
    return np.array([_exp(rate) for rate in rates.ravel()]).reshape(rates.shape)


def _ratio(total: ArrayLike, count: ArrayLike) -> Draws:
    """NaN where it is not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(total, np.float64) / np.asarray(count, np.float64)
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _exp(rate: float) -> float:
    """exp of the math library; the last bit of numpy's depends on the processor."""
    try:
        return math.exp(rate)
    except OverflowError:
        return math.nan
