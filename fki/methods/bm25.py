"""A BM25 index of passages in memory, by the library bm25s (Lu, 2024, arXiv:2407.03618).

The score is Lucene's variant (Kamphuis et al., 2020) of Robertson's BM25: the sum over the words w
of the query, repeated words included, of

    idf(w) * tf / (tf + k1 * (1 - b + b * length / mean length))
    idf(w) = ln(1 + (N - n(w) + 0.5) / (n(w) + 0.5))

for N passages, n(w) of which contain w; tf is the count of w in the passage, and lengths are in
words. Words are runs of letters, digits and underscores, with case folded.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fki.core.normalization import normalize_text
from fki.core.optional import require_module

WORD = re.compile(r"\w+")


def split_words(text: str) -> list[str]:
    """The words of a text, normalized and with case folded."""
    return WORD.findall(normalize_text(text).casefold())


def import_bm25s() -> Any:
    """Import bm25s. Raises DataError, with the command that installs it, if it is missing."""
    return require_module("bm25s", "retrieval", "The method retrieval")


class Bm25Index:
    """An index of passages, numbered from 0."""

    def __init__(self, passages: Sequence[str], *, k1: float, b: float) -> None:
        """Raises DataError if bm25s is not installed."""
        words = [split_words(passage) for passage in passages]
        self.vocabulary = {word for row in words for word in row}
        self._bm25 = import_bm25s().BM25(method="lucene", k1=k1, b=b, backend="numpy")
        if self.vocabulary:
            self._bm25.index(words, create_empty_token=False, show_progress=False)

    def score(self, query: str) -> Any:
        """The score of each passage, [passages] in float32; empty if no passage has a word of the
        query."""
        words = [word for word in split_words(query) if word in self.vocabulary]
        return self._bm25.get_scores(words) if words else np.zeros(0, np.float32)

    def search(self, query: str, k: int) -> list[int]:
        """The numbers of the k best passages, best first.

        Of equal scores, the passage that was added last is first. Passages without a word of the
        query are never found.
        """
        scores = self.score(query)
        found = np.flatnonzero(scores > 0)
        if len(found) > k:
            threshold = np.partition(scores, -k)[-k]
            found = np.flatnonzero(scores >= threshold)
        order = np.lexsort((-found, -scores[found]))
        return found[order][:k].tolist()
