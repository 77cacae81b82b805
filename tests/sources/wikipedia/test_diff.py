"""New is what the old article says nowhere; two snapshots meet by page id, in any order."""

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fki.sources.wikipedia.diff import (
    ParagraphDiff,
    contains_phrase,
    diff_paragraphs,
    normalize,
    split_sentences,
)
from fki.sources.wikipedia.join_pages import IdSet, PagePair, join_pages
from fki.sources.wikipedia.xml_export import Page

FIRST = "Avalon is a city in Eden. It has 3,000 people."
SECOND = "Its mayor is Ann Stone. She was elected in 2019."
THIRD = "The river Quill runs through it."
OLD = [FIRST, SECOND, THIRD]


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        [THIRD, FIRST, SECOND],
        [FIRST.upper(), SECOND.replace(" ", "  "), THIRD.replace(".", " !")],
        [" ".join(OLD)],
        [*split_sentences(FIRST), *split_sentences(SECOND), THIRD],
        ["“Avalon” is a city in Eden; it has 3,000 people.", SECOND],
        [FIRST, SECOND.replace(" 2019", "\u00a02019")],
        [SECOND.partition(". ")[0] + "."],
    ],
    ids=["same", "moved", "layout", "joined", "split", "punctuation", "spaces", "shortened"],
)
def test_nothing_is_new_where_words_stay_as_they_were(new: list[str]) -> None:
    assert diff_paragraphs(OLD, new) == ParagraphDiff([], new)


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ([FIRST.replace("3,000", "3,001"), SECOND], ["It has 3,001 people."]),
        ([FIRST, SECOND.replace("Ann", "Bo"), THIRD], ["Its mayor is Bo Stone."]),
        ([*OLD, "Avalon has a bridge. It is new."], ["Avalon has a bridge. It is new."]),
        (["Before all else it is green.", *OLD], ["Before all else it is green."]),
        ([f"{FIRST} {THIRD} It is old."], ["It is old."]),
        ([FIRST + " Yes."], []),
    ],
    ids=["number", "name", "at the end", "at the beginning", "merged", "a scrap"],
)
def test_only_what_was_not_said_before_is_new(new: list[str], told: list[str]) -> None:
    assert diff_paragraphs(OLD, new).new == told


def test_a_number_is_not_found_within_another_one() -> None:
    assert diff_paragraphs(["It has 12 towers now."], ["It has 1 tower now."]).new
    assert diff_paragraphs(["It has 1.2 towers now."], ["It has 12 towers now."]).new
    assert contains_phrase(normalize("It has 12 towers."), "12 towers") and not contains_phrase(
        normalize("It has 120."), "12"
    )
    assert not contains_phrase(normalize("anything"), "...")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. A. B. Stone met Mr. Quill. They left.", 2),
        ("It cost $3.50 at No. 5 High St. in Avalon. Who paid? Ann did!", 3),
        ('He said "Go." Then he went (by car.) She stayed.', 3),
        ("It is, e.g. here, green and iPhones are not. iPhones are black.", 1),
        ("東京は都市です。人口は多い。", 2),
        ("", 0),
    ],
)
def test_sentences_end_where_a_full_stop_ends_something(text: str, count: int) -> None:
    found = [*split_sentences(text)]
    assert len(found) == count
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


def plain(old: list[str], new: list[str]) -> list[str]:
    """The definition, without anything clever."""
    told = [normalize(p) for p in old] + [normalize(s) for p in old for s in split_sentences(p)]
    found = []
    for paragraph in new:
        added = [s for s in split_sentences(paragraph) if normalize(s) not in told]
        if normalize(paragraph) not in told[: len(old)] and len(" ".join(added).split()) >= 3:
            found.append(" ".join(added))
    return found


WORDS = st.sampled_from(["Ann", "ann", "Quill", "12", "1.2", "Dr.", "(x)", "is.", "was!", "A."])
TEXT = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


@given(old=st.lists(TEXT, max_size=5), new=st.lists(TEXT, max_size=5))
@settings(max_examples=300, deadline=None)
def test_the_difference_is_that_of_its_definition(old: list[str], new: list[str]) -> None:
    found = diff_paragraphs(old, new)
    assert found.new == plain(old, new)
    assert diff_paragraphs(new, new) == ParagraphDiff([], new)
    assert set(found.unchanged) <= set(new)
    assert diff_paragraphs([*old, *new], new).new == []


def some(id: int, revision: int) -> Page:
    return Page(id, f"P{id}", 0, revision, 0, "2024-01-01T00:00:00Z", f"{id}.{revision}", "")


def both(old: list[Page], new: list[Page]) -> list[tuple[str | None, str]]:
    def texts(pair: PagePair) -> tuple[str | None, str]:
        assert pair.old is None or pair.old.id == pair.new.id
        return (pair.old.text if pair.old else None), str(pair.new.text)

    return [texts(pair) for pair in join_pages(iter(old), iter(new))]


IDS = st.lists(st.integers(1, 40), unique=True, max_size=25)


@given(old=IDS, new=IDS, in_order=st.integers(0, 2))
@settings(max_examples=300, deadline=None)
def test_pages_meet_whatever_their_order(old: list[int], new: list[int], in_order: int) -> None:
    for ids in (old, new)[:in_order]:
        ids.sort()
    befores, afters = [some(n, 1) for n in old], [some(n, 2) for n in new]
    expected = [(f"{n}.1" if n in old else None, f"{n}.2") for n in new]
    assert sorted(both(befores, afters), key=str) == sorted(expected, key=str)


@given(ids=st.lists(st.integers(1, 9), max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_page_that_comes_twice_is_met_once(ids: list[int]) -> None:
    pages = [some(n, 1) for n in ids]
    found = both(pages, [dataclasses.replace(page) for page in pages])
    assert sorted(found) == sorted((f"{n}.1", f"{n}.1") for n in set(ids))


def test_of_pages_out_of_order_the_latest_revision_counts() -> None:
    new = [some(9, 1), some(3, 1), some(3, 7), some(3, 4)]
    assert both([some(3, 1), some(9, 1)], new) == [("9.1", "9.1"), ("3.1", "3.7")]


def test_pages_in_order_are_read_in_step_and_none_is_kept() -> None:
    read: list[str] = []

    def pages(side: str) -> Iterator[Page]:
        for n in range(1, 5):
            read.append(f"{side}{n}")
            yield some(n, 1)

    pairs = join_pages(pages("old"), pages("new"))
    assert next(pairs).new.id == 1 and next(pairs).new.id == 2
    assert read == ["old1", "new1", "old2", "new2"]


def test_once_all_new_pages_are_met_the_rest_of_the_old_ones_is_not_read() -> None:
    read: list[int] = []

    def old() -> Iterator[Page]:
        for n in range(1, 100):
            read.append(n)
            yield some(n, 1)

    assert len([*join_pages(old(), iter([some(1, 1), some(2, 1)]))]) == 2
    assert len(read) < 5


@given(ids=st.sets(st.integers(1, 2**32 - 1), max_size=30), other=st.integers(1, 2**32 - 1))
def test_ids_that_were_seen_are_known(ids: set[int], other: int) -> None:
    seen = IdSet()
    for n in ids:
        seen.add(n)
    assert all(n in seen for n in ids) and (other in seen) == (other in ids)
