"""An arm's estimates are means over seeds, undefined where a seed has no value."""

import numpy as np
import pytest

from fki.comparison.arm_summary import estimate_metric
from fki.metrics.registry import STREAM_METRICS, probe_set_metrics

[EXACT_MATCH, *_] = probe_set_metrics("new")
[FUAR] = [metric for metric in STREAM_METRICS if metric.key == "fuar"]


def values(*means: float) -> np.ndarray:
    """[seeds, 1 + 200 draws] around these means."""
    noise = np.random.default_rng(0).normal(0, 5, 200)
    return np.array([[mean, *(mean + noise)] for mean in means])


def test_an_estimate_is_the_mean_with_an_interval_within_the_bounds() -> None:
    one = estimate_metric(EXACT_MATCH, values(98.0, 99.0), 40)
    assert one.value == pytest.approx(98.5) and one.n == 40 and not one.note
    assert one.low is not None and one.low < 98.5 and one.high == 100.0


def test_a_metric_that_is_undefined_in_a_seed_is_undefined_and_says_so() -> None:
    one = estimate_metric(FUAR, values(np.nan, 0.5, 0.4), 9)
    assert one.value is one.low is None and one.note == "undefined in 1 of 3 runs"
    assert estimate_metric(FUAR, values(np.nan), 9).note == ""


def test_an_interval_needs_draws_that_are_defined() -> None:
    drawn = values(50.0)
    drawn[0, 1:60] = np.nan
    one = estimate_metric(EXACT_MATCH, drawn, 9)
    assert one.value == 50.0 and one.low is None and "no interval" in one.note
