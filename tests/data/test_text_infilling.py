"""Infilling hides what it may: the answer always, further spans within share and room."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from fki.core.types import Infilling
from fki.data.span_corruption import Span
from fki.data.text_infilling import draw_poisson, draw_spans, fill_blanks, hide_more_spans

EOS, BLANK = 1, 1000  # BLANK + n is the sentinel of number n
BLANKS = range(BLANK, BLANK + 100)
USUAL = Infilling(0.3, 3.0)


def sentinel(number: int) -> int:
    return BLANK + number


def hide(
    source: list[int],
    target: list[int],
    seed: int,
    infilling: Infilling = USUAL,
    output_length: int = 1000,
) -> tuple[list[int], list[int]]:
    rng = random.Random(seed)
    return hide_more_spans(source, target, BLANKS, sentinel, infilling, rng, output_length)


def restore(source: list[int], target: list[int]) -> list[int]:
    """The statement, by looking up each of the source's sentinels in the target."""
    spans: dict[int, list[int]] = {}
    for token in target[:-1]:
        if token >= BLANK:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    return [t for token in source[:-1] for t in (spans[token] if token >= BLANK else [token])]


def question(before: int, answer: int, after: int) -> tuple[list[int], list[int], list[int]]:
    """Source, target and statement; the tokens of the statement are 100, 101, ..."""
    statement = list(range(100, 100 + before + answer + after))
    hidden = statement[before : before + answer]
    source = [*statement[:before], BLANK, *statement[before + answer :], EOS]
    return source, [BLANK, *hidden, BLANK + 1, EOS], statement


def all_questions() -> Iterator[tuple[int, tuple[list[int], list[int], list[int]]]]:
    rng = random.Random(0)
    for seed in range(300):
        yield seed, question(rng.randrange(12), rng.randrange(1, 5), rng.randrange(12))


def test_source_and_target_together_are_the_statement_whatever_is_hidden() -> None:
    for seed, (source, target, statement) in all_questions():
        assert restore(*hide(source, target, seed)) == statement


def test_the_target_numbers_its_sentinels_and_ends_with_one_as_t5s_do() -> None:
    for seed, (source, target, _) in all_questions():
        hidden, spans = hide(source, target, seed)
        asked = [t for t in hidden if t >= BLANK]
        assert sorted(asked) == [BLANK + i for i in range(len(asked))]
        assert [t for t in spans if t >= BLANK] == [*sorted(asked), BLANK + len(asked)]
        others = [t for t in asked if t != BLANK]
        assert others == sorted(others)  # from left to right
        assert hidden[-1] == spans[-1] == EOS
        assert spans[-2] >= BLANK


def test_the_answer_is_hidden_as_one_span_and_comes_first_as_in_a_probe() -> None:
    for seed, (source, target, _) in all_questions():
        answer = target[1:-2]
        _, spans = hide(source, target, seed)
        assert spans[: len(answer) + 2] == [BLANK, *answer, BLANK + 1]


def test_a_visible_token_stands_between_two_hidden_spans() -> None:
    for seed, (source, target, _) in all_questions():
        hidden, _ = hide(source, target, seed)
        assert all(a < BLANK or b < BLANK for a, b in pairwise(hidden))


def test_the_share_is_hidden_exactly_where_there_is_room_for_it() -> None:
    shares = Counter[int]()
    for seed in range(200):
        source, target, statement = question(20, 2, 18)
        _, spans = hide(source, target, seed)
        shares[sum(token < BLANK for token in spans[:-1])] += 1
        assert len(statement) == 40
    assert max(shares) == 12  # 30 % of 40 tokens, never more
    assert shares[12] > 150  # fewer where a span found no place


def test_an_answer_above_the_share_is_hidden_alone() -> None:
    source, target, _ = question(4, 3, 1)
    assert all(hide(source, target, seed) == (source, target) for seed in range(50))


@pytest.mark.parametrize("room", range(6, 20))
def test_the_target_fits_and_the_source_never_grows(room: int) -> None:
    longest = 0
    for seed in range(100):
        source, target, statement = question(10, 2, 8)
        hidden, spans = hide(source, target, seed, Infilling(0.9, 2.0), room)
        assert len(spans) <= room
        assert len(hidden) <= len(source)
        assert restore(hidden, spans) == statement
        longest = max(longest, len(spans))
    assert longest >= min(room, 9) - 1  # room that is there is used


def test_several_blanks_of_own_data_stay_hidden() -> None:
    source = [100, BLANK, 103, 104, 105, 106, BLANK + 1, 108, 109, 110, EOS]
    target = [BLANK, 101, 102, BLANK + 1, 107, BLANK + 2, EOS]
    for seed in range(100):
        hidden, spans = hide(source, target, seed, Infilling(0.6, 2.0))
        assert restore(hidden, spans) == list(range(100, 111))
        assert spans[:6] == [BLANK, 101, 102, BLANK + 1, 107, BLANK + 2]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ([100, 101, EOS], [102, EOS]),  # a prompt without a blank
        ([100, BLANK, EOS], [102, EOS]),
        ([100, BLANK, EOS], [BLANK, 102, EOS]),  # no last sentinel
        ([100, BLANK, EOS], [BLANK, 102, BLANK + 1, 103, EOS]),  # text after it
        ([100, BLANK + 1, 101, BLANK, EOS], [BLANK, 102, BLANK + 1, 103, BLANK + 2, EOS]),
        ([100, BLANK, 101, EOS], [BLANK, 102, BLANK + 1, 103, BLANK + 2, EOS]),
        ([100, BLANK, EOS], [BLANK, BLANK + 1, EOS]),  # an empty answer
        ([100, BLANK, EOS], [101, BLANK, 102, BLANK + 1, EOS]),
        ([EOS], [EOS]),
    ],
)
def test_examples_of_another_form_stay_as_they_are(source: list[int], target: list[int]) -> None:
    assert hide(source, target, 0, Infilling(1.0, 1.0)) == (source, target)


def test_filling_the_blanks_gives_the_statement_and_the_place_of_each_answer() -> None:
    source, target = [9, BLANK, 8, BLANK + 1], [BLANK, 5, 6, BLANK + 1, 7, BLANK + 2]
    assert fill_blanks(source, target, BLANKS) == ([9, 5, 6, 8, 7], [(1, 3), (4, 5)])


def test_span_lengths_follow_the_poisson_distribution() -> None:
    # Pearson's test against the probability mass e^-3 3^k / k!, ten classes
    rng, n = random.Random(1), 20_000
    counts = Counter(min(draw_poisson(3.0, rng), 9) for _ in range(n))
    mass = [math.exp(-3) * 3**k / math.factorial(k) for k in range(9)]
    expected = [n * p for p in (*mass, 1 - sum(mass))]
    statistic = sum((counts[k] - e) ** 2 / e for k, e in enumerate(expected))
    assert statistic < 27.88  # the 99.9th percentile of chi-square with 9 degrees of freedom


def test_the_spans_that_are_drawn_have_poisson_lengths_without_0() -> None:
    # in a statement so long that neither share nor room cuts any but the last
    rng, lengths = random.Random(2), Counter[int]()
    for _ in range(300):
        answer: list[Span] = [(0, 1)]
        spans = draw_spans(500, answer, Infilling(0.1, 3.0), rng, 500)
        lengths.update(end - start for start, end in spans)
    mean = sum(size * n for size, n in lengths.items()) / lengths.total()
    assert 0 not in lengths
    # the mean of a Poisson of 3 without its 0, and the cut last span of about 16
    assert mean == pytest.approx(3 / (1 - math.exp(-3)), abs=0.15)


def test_places_are_spread_over_the_statement() -> None:
    hidden = Counter[int]()
    for seed in range(2000):
        source, target, _ = question(10, 1, 10)
        _, spans = hide(source, target, seed)
        hidden.update(token - 100 for token in spans if token < BLANK and token != EOS)
    others = [hidden[i] for i in range(21) if i not in (9, 10, 11)]  # the answer and its neighbours
    assert hidden[9] == hidden[11] == 0
    assert hidden[10] == 2000
    assert min(others) > 200
    assert hidden[0] < hidden[4]  # at the edge fewer spans of several tokens have a place
