"""The form in which texts are compared: as T5's tokenizer and the answer metrics read them.

Texts are kept as written. Only comparisons use this form: two spellings with the same form are one
subject, relation, question or answer.
"""

import unicodedata
from collections.abc import Iterable


def normalize_text(text: str) -> str:
    """The text in NFKC, with runs of white space as single spaces, and none at its ends."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def distinct_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts in order, without those that an earlier one equals after normalization."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(normalize_text(text), text)
    return tuple(first.values())


def normalized_set(texts: Iterable[str]) -> frozenset[str]:
    """The normalized texts."""
    return frozenset(map(normalize_text, texts))
