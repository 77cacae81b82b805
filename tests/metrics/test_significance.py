"""Tests between arms, against formulas worked out by hand."""

import math

import pytest

from fki.metrics.significance import cohens_h, holm, mcnemar


def test_holm_is_the_step_down_procedure_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([None, 0.5, None, 0.9]) == [None, 1.0, None, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 9), (5, 5), (30, 12)])
def test_mcnemar_is_the_binomial_of_the_pairs_that_differ(gained: int, lost: int) -> None:
    ours = [1] * gained + [0] * lost + [1, 0, 1]
    theirs = [0] * gained + [1] * lost + [1, 0, 1]
    n, least = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    assert mcnemar(ours, theirs) == pytest.approx(min(1.0, 2 * tail))


def test_cohens_h_is_the_difference_of_arcsines() -> None:
    assert cohens_h(0.5, 0.25) == pytest.approx(math.pi / 6)
    assert cohens_h(1.0, 0.0) == pytest.approx(math.pi)
    assert cohens_h(0.3, 0.3) == 0
