"""Exact match, accuracy and F1 of a prediction against the accepted answers.

Exact match and F1 compare normalized strings, in the manner of SQuAD (Rajpurkar et al., 2016), and
repair three defects of its usual copies: special tokens are removed before punctuation, punctuation
is that of Unicode, and an answer of articles or punctuation alone still has to match.

Only the Unicode categories P* are punctuation. The ASCII symbols $ + < = > ^ ` | ~ belong to S* and
stay; `#` belongs to Po and is removed. So `C++` differs from `C`, while `C#` equals `C`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_SENTINEL = re.compile(r"<extra_id_\d+>")
_SPECIAL = re.compile(r"<extra_id_\d+>|<pad>|</s>|<unk>|_X_")
_ARTICLES = frozenset({"a", "an", "the"})


def extract_answer(generated: str) -> str:
    """The answer in the output of a T5, decoded with its special tokens.

    The text up to `</s>`, without `<pad>`. With `<extra_id_0>`, the span after it, up to the next
    sentinel; without it (prefix prompts), the text before the first sentinel.
    """
    text = generated.partition("</s>")[0].replace("<pad>", "")
    _, opened, span = text.partition("<extra_id_0>")
    return _SENTINEL.split(span if opened else text, maxsplit=1)[0].strip()


def normalize_answer(text: str) -> str:
    """The normalized form in which answers are compared.

    The steps, in order: NFKC; remove special tokens and `_X_`; casefold; delete characters of the
    Unicode categories P*; remove the words a, an, the; reduce whitespace to single spaces. An
    article is a whole word between spaces, so `A+` keeps its letter.
    """
    bare = "".join(char for char in _plain(text) if not unicodedata.category(char).startswith("P"))
    return " ".join(word for word in bare.split() if word not in _ARTICLES)


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 where the normalized prediction equals any normalized answer, else 0.

    An answer that is empty after normalization (`A`, `!!!`) is compared with its articles and
    punctuation.
    """
    return float(any(_is_match(prediction, answer) for answer in answers))


def accuracy(prediction: str, answers: Sequence[str]) -> float:
    """1 where the raw prediction equals any raw answer, apart from surrounding space, else 0."""
    return float(any(prediction.strip() == answer.strip() for answer in answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The best F1 of word overlap with any answer, 0 to 1.

    2 * precision * recall / (precision + recall), over the multisets of words of the normalized
    strings. An answer that is empty after normalization counts as in `exact_match`.
    """
    return max((_overlap(prediction, answer) for answer in answers), default=0.0)


def _plain(text: str) -> str:
    """Without special tokens, casefolded, single-spaced, with articles and punctuation."""
    words = _SPECIAL.sub(" ", unicodedata.normalize("NFKC", text))
    return " ".join(words.casefold().split())


def _is_match(prediction: str, answer: str) -> bool:
    normalized = normalize_answer(answer)
    if not normalized:
        return _plain(prediction) == _plain(answer)
    return normalize_answer(prediction) == normalized


def _overlap(prediction: str, answer: str) -> float:
    words, expected = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not expected:
        return float(_is_match(prediction, answer))
    shared = (Counter(words) & Counter(expected)).total()
    return 2 * shared / (len(words) + len(expected))
