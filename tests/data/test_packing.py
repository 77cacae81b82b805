"""However a batch is packed and cut, each example is in it once and no row is too long."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fki.data.collator import TokenizedExample
from fki.data.packing import pack_rows, split_micro_batches

sizes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=60)


def examples(sizes: list[tuple[int, int]]) -> list[TokenizedExample]:
    return [TokenizedExample([7] * source, [8] * target) for source, target in sizes]


def tokens(found: list[TokenizedExample], row: list[int]) -> int:
    return sum(len(found[i].source) for i in row)


@given(sizes, st.integers(0, 80))
def test_each_example_is_in_one_row_and_only_one_alone_is_longer_than_a_row(
    sizes: list[tuple[int, int]], length: int
) -> None:
    found = examples(sizes)
    rows = pack_rows(found, range(len(found)), length)
    assert sorted(i for row in rows for i in row) == list(range(len(found)))
    assert all(len(row) == 1 or tokens(found, row) <= length for row in rows)


@given(sizes)
def test_no_two_rows_could_have_been_one(sizes: list[tuple[int, int]]) -> None:
    found = examples(sizes)
    fill = sorted(tokens(found, row) for row in pack_rows(found, range(len(found)), 64))
    fewest = math.ceil(sum(fill) / 64)
    assert len(fill) <= fewest or len(fill) < 2 or fill[0] + fill[1] > 64


def test_rows_are_even() -> None:
    rows = pack_rows(examples([(n, 2) for n in range(5, 35)]), range(30), 128)
    fill = [sum(i + 5 for i in row) for row in rows]
    assert len(rows) == 5
    assert max(fill) - min(fill) <= 5


def test_length_0_packs_nothing() -> None:
    found = examples([(3, 1), (2, 1), (3, 1)])
    assert sorted(pack_rows(found, [0, 2, 1], 0)) == [[0], [1], [2]]


@given(sizes, st.integers(0, 80), st.integers(1, 20), st.sampled_from([1, 50, 200, math.inf]))
def test_a_forward_pass_keeps_to_its_limits_but_for_a_row_of_its_own(
    sizes: list[tuple[int, int]], length: int, most: int, budget: float
) -> None:
    found = examples(sizes)
    rows = pack_rows(found, range(len(found)), length)
    batches = split_micro_batches(found, rows, most=most, budget=budget)
    assert sorted(row for batch in batches for row in batch) == sorted(rows)
    for batch in batches:
        width = max(tokens(found, row) for row in batch)
        assert len(batch) == 1 or len(batch) * width <= budget
        assert len(batch) == 1 or sum(map(len, batch)) <= most


@pytest.mark.parametrize("share", [[4, 2, 0], []])
def test_only_the_share_is_cut(share: list[int]) -> None:
    found = examples([(9, 1), (3, 1), (7, 1), (5, 1), (1, 1)])
    rows = pack_rows(found, share, 0)
    assert split_micro_batches(found, rows, most=9, budget=math.inf) == (
        [[[4], [2], [0]]] if share else []
    )
