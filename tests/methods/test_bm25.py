"""The index ranks as Lucene's BM25, computed by hand from its formula."""

import math
import random
from collections import Counter

import pytest

from fki.core import optional
from fki.core.errors import DataError
from fki.methods.bm25 import Bm25Index, split_words

WORDS = [f"w{i}" for i in range(12)]


def lucene_bm25(passages: list[str], query: str, k1: float, b: float) -> list[float]:
    """The formula in double precision, passage by passage."""
    rows = [passage.split() for passage in passages]
    mean, scores = sum(map(len, rows)) / len(rows), []
    for row in rows:
        counts, score = Counter(row), 0.0
        for word in query.split():
            n = sum(word in other for other in rows)
            idf = math.log(1 + (len(rows) - n + 0.5) / (n + 0.5))
            tf = counts[word]
            score += idf * tf / (tf + k1 * (1 - b + b * len(row) / mean)) if tf else 0.0
        scores.append(score)
    return scores


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (1.2, 0.0), (0.9, 1.0)])
def test_scores_and_ranks_are_those_of_the_formula(seed: int, k1: float, b: float) -> None:
    rng = random.Random(seed)
    passages = [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(40)]
    index = Bm25Index(passages, k1=k1, b=b)
    for _ in range(10):
        query = " ".join(rng.choices(WORDS, k=rng.randint(1, 5)))
        expected = lucene_bm25(passages, query, k1, b)
        assert index.score(query) == pytest.approx(expected, abs=1e-5)
        found = index.search(query, 5)
        assert len(found) == min(5, sum(score > 0 for score in expected))
        best = sorted(expected, reverse=True)[: len(found)]
        assert [expected[number] for number in found] == pytest.approx(best, abs=1e-5)


def test_of_equal_passages_the_newest_is_first() -> None:
    index = Bm25Index(["a b", "c d", "a b", "a b"], k1=1.5, b=0.75)
    assert index.search("a b", 2) == [3, 2]
    assert index.search("a b", 9) == [3, 2, 0]


def test_a_passage_without_a_word_of_the_query_is_not_found() -> None:
    index = Bm25Index(["one two", "three"], k1=1.5, b=0.75)
    assert index.search("three four", 3) == [1]
    assert index.search("four", 3) == index.search("", 3) == index.search("?!", 3) == []


@pytest.mark.parametrize("passages", [[], [""], ["?!", " "]])
def test_an_index_without_words_finds_nothing(passages: list[str]) -> None:
    assert Bm25Index(passages, k1=1.5, b=0.75).search("a", 3) == []


def test_words_are_compared_without_case_punctuation_and_compatibility_forms() -> None:
    assert split_words("Île-de-France, №2: STRASSE ß") == split_words(
        "île de france no2 strasse ss"
    )
    assert Bm25Index(["The mayor of YS is Bo."], k1=1.5, b=0.75).search("Mayor: Ys?", 1) == [0]


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(optional, "import_module", missing)
    with pytest.raises(DataError, match="retrieval requires bm25s") as caught:
        Bm25Index(["a"], k1=1.5, b=0.75)
    assert caught.value.hint is not None and "[retrieval]" in caught.value.hint
