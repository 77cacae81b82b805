"""Of each question, the newest answers remain."""

import random
from dataclasses import replace
from datetime import date

from fki.core.normalization import normalize_text
from fki.core.types import Example, Period
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


def test_an_answer_leaves_in_the_period_in_which_it_ends() -> None:
    def month(number: int, *rows: Example) -> Period:
        first, last = date(2024, number, 1), date(2024, number, 28)
        return Period(f"2024-{number:02}", first, last, (), rows)

    base = [replace(example("a?", "1"), end=date(2010, 1, 1)), example("b?", "2")]
    brief = replace(example("c?", "3"), end=date(2024, 1, 20))
    so_far = ExamplesSoFar()
    so_far.begin_period(month(1, brief, replace(example("d?", "4"), end=date(2024, 2, 9))), base)
    assert [e.target for e in so_far.list()] == ["2", "3", "4"]  # new ones are trained once
    so_far.begin_period(month(2, example("e?", "5")), base)
    assert [e.target for e in so_far.list()] == ["2", "5"]
