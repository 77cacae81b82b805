"""Answer metrics weigh probes and tokens alike, not periods or batches."""

import math

import numpy as np
import pytest

from fki.metrics.draws import to_scalar
from fki.metrics.pooling import mean_per_probe, percentage, perplexity


def test_perplexity_weighs_tokens_not_batches() -> None:
    # Batch 1: 1 token of p = 1/16. Batch 2: 3 tokens of p = 1/2.
    # By token: exp((ln 16 + 3 ln 2) / 4) = 2 ** (7/4). Mean of batch means: 2 ** ((4 + 1) / 2).
    total = -math.log(16) - 3 * math.log(2)
    assert to_scalar(perplexity(total, 1 + 3)) == pytest.approx(2**1.75)
    assert to_scalar(perplexity(total, 4)) != pytest.approx(2**2.5)


def test_perplexity_of_a_uniform_guess_is_the_vocabulary() -> None:
    assert to_scalar(perplexity(-4 * math.log(11), 4)) == pytest.approx(11, rel=1e-12)


@pytest.mark.parametrize(
    ("log_likelihood", "tokens"), [(0.0, 0), (math.nan, 3), (-math.inf, 3), (-3000.0, 3)]
)
def test_perplexity_is_undefined_where_no_finite_number_is_right(
    log_likelihood: float, tokens: int
) -> None:
    assert to_scalar(perplexity(log_likelihood, tokens)) is None


def test_perplexity_of_draws_is_that_of_each_draw_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    nats, tokens = -rng.random(50) * 100, rng.random(50) * 30
    expected = [math.exp(-n / t) for n, t in zip(nats.tolist(), tokens.tolist(), strict=True)]
    assert perplexity(nats, tokens).tolist() == expected


def test_means_are_sums_over_probes() -> None:
    assert percentage(np.array([3.0, 1.0]), np.array([4.0, 8.0])).tolist() == [75.0, 12.5]
    assert mean_per_probe(np.array([-6.0]), np.array([4.0])).tolist() == [-1.5]
    assert np.isnan(percentage(np.array([0.0]), np.array([0.0])))
