"""New is what the old article says nowhere; two snapshots meet by page id, in any order."""

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
def test_text_with_the_same_words_is_not_new(new: list[str]) -> None:
    assert diff_paragraphs(OLD, new) == ParagraphDiff([], new)


@pytest.mark.parametrize(
    ("new", "expected"),
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
def test_only_sentences_absent_from_the_old_article_are_new(
    new: list[str], expected: list[str]
) -> None:
    assert diff_paragraphs(OLD, new).new == expected


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
def test_sentences_end_at_full_stops_that_end_a_sentence(text: str, count: int) -> None:
    actual = [*split_sentences(text)]
    assert len(actual) == count
    assert "".join(actual).replace(" ", "") == text.replace(" ", "")


def plain(old: list[str], new: list[str]) -> list[str]:
    """The definition, without anything clever."""
    expected = [normalize(p) for p in old] + [normalize(s) for p in old for s in split_sentences(p)]
    actual = []
    for paragraph in new:
        added = [s for s in split_sentences(paragraph) if normalize(s) not in expected]
        if normalize(paragraph) not in expected[: len(old)] and len(" ".join(added).split()) >= 3:
            actual.append(" ".join(added))
    return actual


WORDS = st.sampled_from(["Ann", "ann", "Quill", "12", "1.2", "Dr.", "(x)", "is.", "was!", "A."])
TEXT = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


@given(old=st.lists(TEXT, max_size=5), new=st.lists(TEXT, max_size=5))
@settings(max_examples=300, deadline=None)
def test_the_difference_follows_its_definition(old: list[str], new: list[str]) -> None:
    actual = diff_paragraphs(old, new)
    assert actual.new == plain(old, new)
    assert diff_paragraphs(new, new) == ParagraphDiff([], new)
    assert set(actual.unchanged) <= set(new)
    assert diff_paragraphs([*old, *new], new).new == []
