"""A share of a period's rows is drawn from all of them, whole rows at a time."""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fki.core.types import Document, Fact, Period
from fki.data.documents import text_examples
from fki.data.open_dataset import open_stream
from fki.data.prompts import training_examples
from fki.data.stream_share import thin_period

DAY = date(2024, 1, 5)


def make_period(n: int, documents: int = 0, name: str = "2024-01") -> Period:
    """Facts of one or two objects, grouped by relation as in a file, then documents."""
    facts = tuple(
        Fact(f"Town {i}", f"r{i * 5 // n}", ("Ada", "Bo")[: 1 + i % 2], ("[X] has [Y].",), DAY)
        for i in range(n)
    )
    examples = [e for f in facts for e in training_examples(f, "sentinel", period=name)]
    texts = text_examples([Document(f"Text {i}.", DAY) for i in range(documents)], name)
    return Period(name, DAY, DAY, facts, (*examples, *texts))


@pytest.mark.parametrize(
    ("rows", "share", "kept"),
    [(40, 0.5, 20), (40, 0.26, 10), (7, 0.5, 4), (3, 0.01, 1), (1, 0.5, 1), (10, 1.0, 10)],
)
def test_the_share_is_that_of_the_rows_and_at_least_one(rows: int, share: float, kept: int) -> None:
    assert len(thin_period(make_period(rows), share, 0).facts) == kept


def test_a_row_keeps_all_of_its_examples_in_their_order() -> None:
    whole = make_period(40, documents=10)
    thin = thin_period(whole, 0.5, 3)
    facts = [*thin.facts]
    texts = [e for e in thin.examples if e.is_text]
    by_hand = [e for f in facts for e in training_examples(f, "sentinel", period="2024-01")]
    assert [*thin.examples] == [*by_hand, *texts]
    assert len(facts) + len(texts) == 25
    assert [e for e in whole.examples if e in [*thin.examples]] == [*thin.examples]
    assert len(thin.examples) == len([*thin.examples])
    assert (thin.name, thin.start, thin.end) == (whole.name, whole.start, whole.end)


def test_every_row_has_the_same_chance_and_no_relation_vanishes() -> None:
    # CFInjectBench kept the first rows, and so lost whole relations
    counts, relations = Counter[str](), list[int]()
    for seed in range(400):
        facts = [*thin_period(make_period(50), 0.4, seed).facts]
        counts.update(f.subject for f in facts)
        relations.append(len({f.relation for f in facts}))
    assert len(counts) == 50
    assert all(110 < n < 210 for n in counts.values())  # 160 expected, deviation 9.8
    assert min(relations) >= 4


def test_a_smaller_share_is_part_of_a_larger_one_and_seeds_and_periods_differ() -> None:
    small, large = ({*thin_period(make_period(50), s, 1).examples} for s in (0.2, 0.6))
    assert small < large
    assert {*thin_period(make_period(50), 0.2, 1).examples} == small
    assert {*thin_period(make_period(50), 0.2, 2).examples} != small
    other = thin_period(make_period(50, name="2024-02"), 0.2, 1)
    assert {e.source for e in other.examples} != {e.source for e in small}


def test_rows_of_a_dataset_are_its_facts_in_their_order(dataset: Path) -> None:
    stream: Any = open_stream(str(dataset), "quarter", "sentinel")
    for period in stream.periods:
        thin = thin_period(period, 0.5, 0)
        name = period.name
        by_hand = [e for f in thin.facts for e in training_examples(f, "sentinel", period=name)]
        assert [*thin.examples] == by_hand
        assert len(thin.facts) == max(1, round(len(period.facts) / 2))
