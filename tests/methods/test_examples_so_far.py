"""Of each question, the newest answers remain."""

import random

from fki.core.normalization import normalize_text
from fki.core.types import Example
from fki.methods.examples_so_far import ExamplesSoFar


def example(source: str, target: str = "yes") -> Example:
    return Example(f"{source}|{target}", source, target)


def test_a_new_answer_removes_all_old_ones_of_the_same_question() -> None:
    so_far = ExamplesSoFar()
    so_far.add([example("a?", "1"), example("a?", "2"), example("b?", "1")])
    so_far.add([example(" a? ", "3"), example("c?", "4"), example("a?", "5")])
    assert [e.target for e in so_far.list()] == ["1", "3", "5", "4"]


def test_it_equals_a_search_through_all_later_periods() -> None:
    rng = random.Random(0)
    periods = [[example(f"q{rng.randrange(20)}?", f"{t}.{i}") for i in range(10)] for t in range(6)]
    so_far = ExamplesSoFar()
    for period in periods:
        so_far.add(period)
    current = {
        e.id
        for t, period in enumerate(periods)
        for e in period
        if all(
            normalize_text(e.source) != normalize_text(later.source)
            for after in periods[t + 1 :]
            for later in after
        )
    }
    assert {e.id for e in so_far.list()} == current
    assert len(so_far.list()) == len(current)
