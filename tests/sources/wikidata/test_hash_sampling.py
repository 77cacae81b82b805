"""A sample depends on names and never on the order of arrival."""

import random

import pytest

from fki.sources.wikidata.hash_sampling import HashSample, hash_rank, sample_names

NAMES = [f"Q{number}" for number in range(200)]


def sample_in_order(names: list[str], max_items: int) -> list[str]:
    sample: HashSample[str] = HashSample(max_items)
    for name in names:
        accepted = sample.accepts(name)
        assert sample.offer(name, name) == accepted
    assert len(sample) == min(max_items or len(names), len(names))
    return sample.lowest(len(sample))


def test_ranks_are_the_same_on_every_machine() -> None:
    assert hash_rank("P6", "Q1") == hash_rank("P6|Q1") == 14103767274348610280


@pytest.mark.parametrize("max_items", [0, 1, 20, 200, 300])
def test_a_sample_is_the_lowest_ranks_in_any_order_of_arrival(max_items: int) -> None:
    shuffled = random.Random(0).sample(NAMES, len(NAMES))
    lowest = sorted(NAMES, key=hash_rank)[: max_items or None]
    assert sample_in_order(NAMES, max_items) == sample_in_order(shuffled, max_items) == lowest


def test_a_larger_sample_contains_a_smaller_one() -> None:
    assert set(sample_in_order(NAMES, 10)) < set(sample_in_order(NAMES, 20))


def test_a_name_enters_a_sample_once() -> None:
    sample: HashSample[int] = HashSample(2)
    assert sample.offer("a", 1) and not sample.offer("a", 2)
    assert sample.lowest(2) == [1]


def test_sampled_names_are_different_and_sorted() -> None:
    assert sample_names(["b", "a", "b"], 0) == ["a", "b"]
    few = sample_names(NAMES * 2, 20)
    assert few == sorted(few) and set(few) == set(sample_in_order(NAMES, 20))
