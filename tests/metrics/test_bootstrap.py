"""Intervals and tests, against scipy, formulas worked by hand, and what is known of the truth."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from fki.metrics.bootstrap import (
    BootstrapResult,
    add_prior,
    difference_of_means,
    draw_weights,
    effective_clusters,
    mean_over_seeds,
)

Floats = NDArray[np.float64]


def means(right: Floats, drawn: NDArray[np.float32]) -> Floats:
    """[seeds, 1 + draws] of answers [seeds, subjects]."""
    found: Floats = (right @ drawn.T) / drawn.sum(1)
    return found


def test_the_first_row_of_weights_is_the_data_as_they_are_and_the_others_follow_from_the_seed() -> (
    None
):
    drawn = draw_weights(7, draws=5)
    assert drawn.shape == (6, 7) and (drawn[0] == 1).all() and (drawn > 0).all()
    assert (drawn == draw_weights(7, draws=5)).all()
    assert (drawn[1:] != draw_weights(7, draws=5, seed=1)[1:]).all()


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_interval_of_one_run_is_that_of_scipys_bootstrap(share: float) -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((1, 400)) < share).astype(float)
    low, high = mean_over_seeds(means(right, draw_weights(400))).interval() or (0, 0)
    theirs = stats.bootstrap((right[0],), np.mean, n_resamples=4000, rng=rng, method="percentile")
    expected = theirs.confidence_interval
    width = expected.high - expected.low
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.1 * width)


def test_probes_of_one_subject_are_not_taken_for_independent() -> None:
    rng = np.random.default_rng(0)
    per_subject = (rng.random(100) < 0.5).astype(float)  # five probes each, all alike
    alone = mean_over_seeds(
        means(np.repeat(per_subject, 5)[None], draw_weights(500))
    ).interval() or (0, 0)
    drawn = draw_weights(100)
    whole = mean_over_seeds(means(per_subject[None], drawn)).interval() or (0, 0)
    assert whole[1] - whole[0] > 1.9 * (alone[1] - alone[0])  # sqrt 5


def test_what_seeds_vary_follows_students_t() -> None:
    values = np.array([10.0, 12.0, 17.0])
    found = mean_over_seeds(np.repeat(values[:, None], 4001, axis=1))
    error = values.std(ddof=1) / math.sqrt(3)
    assert (found.value, found.scale, found.degrees_of_freedom) == (13.0, pytest.approx(error), 2)
    low, high = found.interval() or (0, 0)
    expected = stats.t.interval(0.95, 2, loc=13, scale=error)
    assert (low, high) == pytest.approx(expected, rel=0.02)
    assert found.p_value() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_the_p_of_one_run_is_the_normal_tail_beyond_it() -> None:
    errors = np.random.default_rng(0).normal(0, 1.5, 500)
    assert BootstrapResult(-4.0, errors).p_value() == pytest.approx(
        2 * stats.norm.sf(4 / errors.std())
    )
    assert BootstrapResult(0.0, errors).p_value() == 1.0
    still = np.zeros(500)  # no draw says anything else
    assert (
        BootstrapResult(0.0, still).p_value() == 1.0
        and BootstrapResult(2.0, still).p_value() == 0.0
    )


def test_the_p_with_seeds_is_the_mean_of_students_tails_over_the_draws() -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 1, 50)
    brute = [stats.t.sf((2 - e) / 0.7, 4) + stats.t.cdf((-2 - e) / 0.7, 4) for e in errors]
    assert BootstrapResult(2.0, errors, 0.7, 4).p_value() == pytest.approx(np.mean(brute))


def test_what_two_arms_have_in_common_cancels() -> None:
    rng = np.random.default_rng(0)
    theirs = (rng.random((1, 300)) < 0.5).astype(float)
    ours = theirs.copy()
    ours[0, np.flatnonzero(theirs[0] == 0)[:20]] = 1  # the same, and 20 more
    drawn = draw_weights(300)
    off = difference_of_means(means(ours, drawn), means(theirs, drawn), is_paired=True)
    low, high = off.interval() or (0, 0)
    assert off.value == pytest.approx(20 / 300) and 0.03 < low < high < 0.10
    assert (off.p_value() or 1) < 0.01
    alone = mean_over_seeds(means(ours, drawn)).interval() or (0, 0)
    assert high - low < 0.7 * (alone[1] - alone[0])


def test_an_arm_against_itself_is_no_different() -> None:
    values = means(np.random.default_rng(0).random((3, 50)), draw_weights(50))
    off = difference_of_means(values, values, is_paired=True)
    assert off.value == 0 and off.p_value() == 1 and off.interval() == (0, 0)


@pytest.mark.parametrize("is_paired", [True, False])
def test_a_difference_the_other_way_round_is_its_mirror_image(is_paired: bool) -> None:
    rng = np.random.default_rng(0)
    drawn = draw_weights(80)
    first, second = means(rng.random((3, 80)), drawn), means(rng.random((3, 80)) ** 2, drawn)
    one = difference_of_means(first, second, is_paired=is_paired)
    other = difference_of_means(second, first, is_paired=is_paired)
    assert one.value == -other.value
    low, high = one.interval() or (0, 0)
    assert (other.interval() or (0, 0)) == pytest.approx((-high, -low), rel=0.2, abs=0.01)
    assert other.p_value() == pytest.approx(one.p_value(), rel=0.2, abs=0.01)


def test_seeds_that_are_not_paired_have_the_variance_of_both_arms() -> None:
    ours, theirs = np.array([1.0, 2, 4, 3, 6]), np.array([8.0, 9, 7, 12, 11])
    wide = [np.repeat(x[:, None], 4001, axis=1) for x in (ours, theirs)]
    off = difference_of_means(*wide, is_paired=False)
    welch = stats.ttest_ind(ours, theirs, equal_var=False)
    expected = welch.confidence_interval()
    assert (off.interval() or (0, 0)) == pytest.approx((expected.low, expected.high), rel=0.02)
    assert off.p_value() == pytest.approx(welch.pvalue)


def test_chance_is_counted_once_with_the_uncertainty_of_few_seeds() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((3, 300)) < 0.5).astype(float)  # nothing is shared: all is chance
    found = mean_over_seeds(means(right, draw_weights(300)))
    assert found.scale == pytest.approx(right.mean(1).std(ddof=1) / math.sqrt(3))
    assert found.errors.std() < 0.3 * math.sqrt(0.25 / 300 / 3)


def test_there_is_no_interval_where_too_many_draws_are_undefined() -> None:
    values = np.ones((1, 1001))
    values[0, 1:61] = np.nan
    assert mean_over_seeds(values).interval() == (1.0, 1.0)
    values[0, 1:151] = np.nan
    assert mean_over_seeds(values).interval() is None and mean_over_seeds(values).p_value() is None


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    from benchmarks.coverage import World, rates

    held, paired, apart, rejects, _, _ = rates(World(3, 100, 0.0, 2.0, 0.2, 0.5), 300, 300)
    assert 0.91 < held < 0.99 and 0.91 < paired < 0.99 and apart > 0.91 and rejects < 0.08


def with_prior(right: Floats, *, seed: int = 0) -> Floats:
    """[1, 1 + draws], %, of answers [subjects], one probe a subject."""
    drawn = 100 * means(right[None], draw_weights(len(right), draws=20_000))
    return add_prior(drawn[0], len(right), seed)[None]


@pytest.mark.parametrize("correct", [0, 1, 3, 9, 10])
def test_the_interval_of_a_percentage_is_that_of_jeffreys(correct: int) -> None:
    right = (np.arange(10) < correct).astype(float)
    found = mean_over_seeds(with_prior(right))
    low, high = found.interval() or (0, 0)
    expected = 100 * stats.beta(correct + 0.5, 10 - correct + 0.5).ppf([0.025, 0.975])
    expected = [0.0 if correct == 0 else expected[0], 100.0 if correct == 10 else expected[1]]
    assert found.value == 10 * correct
    assert (low, high) == pytest.approx(expected, abs=0.8)


def test_two_arms_without_a_right_answer_may_differ() -> None:
    nothing = np.zeros(5)
    ours, theirs = (with_prior(nothing, seed=arm) for arm in (0, 1))
    result = difference_of_means(ours, theirs, is_paired=True)
    low, high = result.interval() or (0, 0)
    assert result.value == 0 and low < -10 and high > 10
    assert result.p_value() == 1.0


def test_several_seeds_at_the_extreme_have_a_width() -> None:
    values = np.repeat(with_prior(np.ones(20)), 3, axis=0)
    low, high = mean_over_seeds(values).interval() or (0, 0)
    assert high == 100.0 and low == pytest.approx(100 * stats.beta(20.5, 0.5).ppf(0.025), abs=1)


def test_an_undefined_draw_stays_undefined() -> None:
    found = add_prior(np.array([50.0, np.nan, 40.0]), 5, 0)
    assert found[0] == 50.0 and np.isnan(found[1]) and 0 < found[2] < 100


def test_unequal_clusters_count_as_fewer() -> None:
    assert effective_clusters(np.array([2, 2, 2, 0])) == 3.0
    assert effective_clusters(np.array([3, 1])) == 1.6  # 4^2 / (9 + 1)
    assert effective_clusters(np.array([])) == 0.0
