"""Two arms are subtracted run by run where their seeds are the same."""

import numpy as np
import pytest

from fki.comparison.arm_difference import subtract_arms
from fki.metrics.bootstrap import difference_of_means


def drawn(*means: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.array([[mean, *(mean + rng.normal(0, 0.2, 200))] for mean in means])


def test_equal_seeds_are_paired_and_others_are_not() -> None:
    ours, theirs = drawn(5.0, 6.0, 9.0), drawn(1.0, 2.0, 5.5)
    paired = subtract_arms(ours, theirs, [0, 1, 2], [0, 1, 2])
    apart = subtract_arms(ours, theirs, [0, 1, 2], [0, 1, 3])
    assert paired is not None and apart is not None
    assert paired.is_paired and not apart.is_paired
    assert paired.result.value == apart.result.value == pytest.approx(20 / 3 - 8.5 / 3)
    expected = difference_of_means(ours, theirs, is_paired=False)
    assert apart.result.p_value() == expected.p_value()


def test_a_run_without_a_value_leaves_no_difference() -> None:
    assert subtract_arms(drawn(1.0), np.full((1, 2), np.nan), [0], [0]) is None


def test_needed_seeds_are_more_than_those_that_did_not_suffice() -> None:
    ours, theirs = drawn(5.0, 6.0, 9.0), drawn(4.0, 3.5, 8.0)
    difference = subtract_arms(ours, theirs, [0, 1, 2], [0, 1, 2])
    assert difference is not None
    one, many = difference.seeds_needed(1), difference.seeds_needed(50)
    assert one is not None and many is not None and 4 <= one < many
    unequal = subtract_arms(ours, theirs[:1], [0, 1, 2], [0])
    assert unequal is not None and unequal.seeds == pytest.approx(1.5)
