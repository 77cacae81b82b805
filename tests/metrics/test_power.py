"""The number of seeds has the power that it promises: by a table, and by simulated runs."""

from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from fki.metrics.bootstrap import BootstrapResult, difference_of_means
from fki.metrics.power import MOST_SEEDS, power, seeds_needed


def made(value: float, deviation: float, seeds: int, shared: float = 0.0) -> BootstrapResult:
    """A paired difference whose seeds have this standard deviation."""
    errors = np.random.default_rng(0).normal(0, shared, 4000) if shared else np.zeros(4000)
    return BootstrapResult(value, errors, deviation / sqrt(seeds), seeds - 1)


@pytest.mark.parametrize(("effect", "expected"), [(0.5, 34), (0.8, 15), (1.0, 10), (1.2, 8)])
def test_without_shared_error_it_is_the_sample_size_of_a_paired_t_test(
    effect: float, expected: int
) -> None:
    # Cohen (1988), power 0.80 and two-sided alpha 0.05, as G*Power gives them
    assert seeds_needed(made(effect, 1.0, 3), 3, is_paired=True) == expected


def test_the_power_is_that_of_the_noncentral_t() -> None:
    for count in (2, 3, 5, 9):
        critical = stats.t.ppf(0.975, count - 1)
        beyond = stats.nct.sf(critical, count - 1, 2.0 * sqrt(count))
        assert power(2.0, 0.0, 1 / count, count - 1, 0.05) == pytest.approx(beyond, abs=1e-9)


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_simulated_runs_with_so_many_seeds_are_found_in_about_80_percent(
    shared: float, *, is_paired: bool
) -> None:
    rng = np.random.default_rng(7)
    truth, deviation, seeds = 3.0, 1.5, 3
    spread = deviation if is_paired else deviation * sqrt(2)  # of a difference of two seeds
    known = made(truth, spread, seeds, shared)
    count = seeds_needed(known, seeds, is_paired=is_paired)
    assert count is not None and 2 <= count < MOST_SEEDS
    found = []
    draws = rng.normal(0, shared, 400)
    for _ in range(400):
        ours = truth + rng.normal(0, deviation, (count, 1)) + np.concatenate([[0], draws])
        theirs = rng.normal(0, deviation if not is_paired else 0, (count, 1)) + np.zeros(401)
        p = difference_of_means(ours, theirs, is_paired=is_paired).p_value()
        found.append(p is not None and p < 0.05)
    fewer = power(
        truth, shared**2, spread**2 / (count - 1), (count - 2) * (2 - is_paired) or 1, 0.05
    )
    assert np.mean(found) > 0.72
    assert count == 2 or fewer < 0.8


def test_a_difference_that_probes_hide_needs_more_of_them_not_seeds() -> None:
    assert seeds_needed(made(1.0, 0.1, 3, shared=2.0), 3, is_paired=True) == MOST_SEEDS + 1


def test_stricter_tests_and_smaller_differences_need_more_seeds() -> None:
    needed = [seeds_needed(made(2.0, 1.0, 3), 3, is_paired=True, alpha=a) for a in (0.05, 0.001)]
    assert None not in needed and needed[0] < needed[1]  # type: ignore[operator]
    small = seeds_needed(made(0.05, 1.0, 3), 3, is_paired=True)
    assert small == MOST_SEEDS + 1


def test_one_seed_no_variance_and_no_difference_have_no_number() -> None:
    assert seeds_needed(BootstrapResult(2.0, np.ones(10)), 1, is_paired=True) is None
    assert seeds_needed(made(0.0, 1.0, 3), 3, is_paired=True) is None
    assert seeds_needed(BootstrapResult(1.0, np.full(9, inf), 1.0, 2), 3, is_paired=True) is None
