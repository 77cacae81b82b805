"""A group finds its arms, the best of them, and their differences."""

import pytest

from fki.comparison.types import Arm, Cost, Difference, Estimate, Group
from fki.metrics.registry import Metric

HIGHER = Metric("a", "a", "a", "a")
LOWER = Metric("b", "b", "b", "b", higher_is_better=False)


def arm(name: str, **values: float | None) -> Arm:
    estimates = {key: Estimate(value) for key, value in values.items()}
    return Arm(name, name, (), (0,), {}, Cost(1, 1.0, 10.0, 2.0, 0.0, None), estimates, [], {})


def group(*arms: Arm) -> Group:
    difference = Difference("a", "y", "x", 1.0)
    return Group("g", ("base",), arms, (HIGHER, LOWER), "x", (difference,))


def test_the_best_arms_have_the_best_rounded_value() -> None:
    arms = group(arm("x", a=1.01, b=3.0), arm("y", a=1.04, b=2.0), arm("z", a=0.5, b=None))
    assert arms.best(HIGHER) == {"x", "y"} and arms.best(LOWER) == {"y"}


@pytest.mark.parametrize("values", [(1.0, 1.04), (1.0, None), (None, None)])
def test_of_equals_or_of_a_single_value_none_is_best(values: tuple[float | None, ...]) -> None:
    arms = group(*(arm(name, a=value) for name, value in zip("xy", values, strict=True)))
    assert arms.best(HIGHER) == frozenset()


def test_arms_estimates_and_differences_are_found_by_name() -> None:
    arms = group(arm("x", a=1.0), arm("y", a=2.0))
    assert arms.arm("y").estimate("a").value == 2.0
    assert arms.arm("y").estimate("nothing") == Estimate(None)
    assert arms.difference("y", "a") is not None and arms.difference("x", "a") is None


def test_tokens_per_second_need_seconds() -> None:
    assert Cost(1, 1.0, 10.0, 2.0, 0.0, None).tokens_per_second == 5.0
    assert Cost(1, 1.0, 10.0, 0.0, 0.0, None).tokens_per_second is None
