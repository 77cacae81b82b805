"""A share of each period's rows, drawn at random: the stream of a trainer that cannot keep up.

CFInjectBench took the first rows of each period. They are grouped by relation, so whole relations
were never trained.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from fki.core.types import Example, Period
from fki.data.lazy_sequence import LazySequence


def thin_period(period: Period, share: float, seed: int) -> Period:
    """The period with a share of its rows, at least one, in their order.

    A row is a document, or a fact with all of its examples. Every row has the same chance. The rows
    of a smaller share are among those of a larger one.
    """
    facts = len(period.facts)
    rows = sum(1 for _ in _group_by_row(period.examples))
    order = [*range(rows)]
    random.Random(f"{seed}|share|{period.name}").shuffle(order)
    chosen = set(order[: max(1, round(share * rows))])
    examples = LazySequence(
        None,
        lambda: (
            example
            for number, row in enumerate(_group_by_row(period.examples))
            if number in chosen
            for example in row
        ),
    )
    kept = LazySequence(
        sum(number < facts for number in chosen),
        lambda: (fact for number, fact in enumerate(period.facts) if number in chosen),
    )
    return replace(period, facts=kept, examples=examples)


def _group_by_row(examples: Iterable[Example]) -> Iterator[Iterator[Example]]:
    """The examples of each row; those of a fact differ in the last part of their ids."""

    def row_of(example: Example) -> str:
        return example.id if example.is_text else example.id.rpartition("|")[0]

    return (group for _, group in groupby(examples, row_of))
