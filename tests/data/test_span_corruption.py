"""Span corruption hides numbered spans, and nothing is lost."""

import random
import re
from itertools import pairwise

import pytest

from fki.data.span_corruption import (
    corrupt_spans,
    hide_spans,
    mask_to_spans,
    noise_counts,
    noise_mask,
    split_randomly,
)

SENTINEL = re.compile(r"<extra_id_(\d+)>")


def text(length: int) -> str:
    return " ".join(f"w{i}" for i in range(length))


def rebuilt(source: str, target: str) -> str:
    """The source with each sentinel replaced by what the target writes behind it."""
    parts = SENTINEL.split(target)[1:]
    spans = dict(zip(parts[::2], parts[1::2], strict=True))
    return " ".join(SENTINEL.sub(lambda match: spans[match[1]].strip(), source).split())


def test_hiding_is_that_of_the_t5_paper_s_example() -> None:
    # Raffel et al. (2020), figure 2
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    source, target = hide_spans(words, [(2, 4), (8, 9)], "<{}>".format)
    assert " ".join(source) == "Thank you <0> me to your party <1> week ."
    assert " ".join(target) == "<0> for inviting <1> last <2>"


def test_spans_that_touch_keep_a_sentinel_each() -> None:
    assert hide_spans("abcd", [(1, 2), (2, 4)], str) == (["a", "0", "1"], [*"0b1cd2"])
    assert hide_spans([7, 8], [], lambda i: -i) == ([7, 8], [0])


def test_the_spans_of_a_mask_are_its_runs() -> None:
    assert mask_to_spans([True, True, False, True, False]) == [(0, 2), (3, 4)]
    assert mask_to_spans([]) == mask_to_spans([False]) == []


def test_neither_the_noise_nor_its_spans_fall_with_the_length() -> None:
    counts = [noise_counts(length) for length in range(2, 2000)]
    for kind in zip(*counts, strict=True):
        assert [*kind] == sorted(kind)


def test_what_t5_mini_was_trained_on_is_drawn_as_it_was() -> None:
    source, target = corrupt_spans(text(20), random.Random(1))
    assert source == f"{text(17)} <extra_id_0>"
    assert target == "<extra_id_0> w17 w18 w19 <extra_id_1>"


@pytest.mark.parametrize("length", [2, 3, 5, 9, 20, 60, 150])
@pytest.mark.parametrize("seed", range(5))
def test_the_spans_put_back_give_the_text(length: int, seed: int) -> None:
    source, target = corrupt_spans(text(length), random.Random(seed))
    assert rebuilt(source, target) == text(length)


@pytest.mark.parametrize("length", [2, 7, 60])
@pytest.mark.parametrize("seed", range(5))
def test_sentinels_are_numbered_in_order(length: int, seed: int) -> None:
    source, target = corrupt_spans(text(length), random.Random(seed))
    inside, behind = SENTINEL.findall(source), SENTINEL.findall(target)
    assert inside == [str(i) for i in range(len(inside))]
    assert behind == [*inside, str(len(inside))] and target.endswith(f"<extra_id_{behind[-1]}>")


@pytest.mark.parametrize("density", [0.0, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("length", range(2, 12))
def test_at_least_one_word_is_kept_and_one_is_hidden(length: int, density: float) -> None:
    mask = noise_mask(length, random.Random(0), density=density)
    assert len(mask) == length and 0 < sum(mask) < length


def test_about_fifteen_percent_is_hidden_in_spans_of_about_three() -> None:
    rng = random.Random(0)
    masks = [noise_mask(rng.randint(20, 200), rng) for _ in range(200)]
    hidden = sum(map(sum, masks))
    spans = sum(m[0] + sum(b > a for a, b in pairwise(m)) for m in masks)
    assert hidden / sum(map(len, masks)) == pytest.approx(0.15, abs=0.01)
    assert hidden / spans == pytest.approx(3, abs=0.3)


def test_a_text_may_begin_with_a_hidden_word_and_may_end_with_one() -> None:
    masks = [noise_mask(20, random.Random(seed)) for seed in range(20)]
    assert {m[0] for m in masks} == {m[-1] for m in masks} == {True, False}


def test_one_seed_gives_one_corruption() -> None:
    once, again, other = (corrupt_spans(text(40), random.Random(s)) for s in (1, 1, 2))
    assert once == again != other


@pytest.mark.parametrize("words", ["", "one", "  one  "])
def test_less_than_two_words_is_an_error(words: str) -> None:
    with pytest.raises(ValueError, match="at least two words"):
        corrupt_spans(words, random.Random(0))


@pytest.mark.parametrize(("total", "parts"), [(1, 1), (5, 1), (5, 5), (17, 4)])
def test_segments_sum_to_their_total(total: int, parts: int) -> None:
    lengths = split_randomly(total, parts, random.Random(0))
    assert sum(lengths) == total and len(lengths) == parts and min(lengths) >= 1
