"""Is an answer right? Exact match, accuracy and F1 of one prediction against the listed answers.

Exact match and F1 compare normalised strings, in the manner of SQuAD (Rajpurkar et al., 2016)
with the defects of its usual copies repaired: special tokens go before punctuation does,
punctuation is Unicode's, and an answer that is all article or punctuation still has to match.

Only the Unicode categories P* are punctuation. The ASCII symbols $ + < = > ^ ` | ~ belong to
S* and stay, `#` is Po and goes. So `C++` is told apart from `C`, while `C#` reads as `C`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_SENTINEL = re.compile(r"<extra_id_\d+>")
_SPECIAL = re.compile(r"<extra_id_\d+>|<pad>|</s>|<unk>|_X_")
_ARTICLES = frozenset({"a", "an", "the"})


def extract_answer(generated: str) -> str:
    """The answer within what a T5 generated, decoded with its special tokens kept.

    Everything up to `</s>`, without `<pad>`. Where `<extra_id_0>` occurs, the span that it
    opens, which ends at the next sentinel or with the text; without it (prefix prompts), all
    that stands before the first sentinel.
    """
    text = generated.partition("</s>")[0].replace("<pad>", "")
    _, opened, span = text.partition("<extra_id_0>")
    return _SENTINEL.split(span if opened else text, maxsplit=1)[0].strip()


def normalize_answer(text: str) -> str:
    """The text in the form in which answers are compared.

    In this order: NFKC; special tokens and `_X_` out; casefold; characters of the Unicode
    categories P* deleted; the words a, an, the out; runs of whitespace to one space.
    An article is a whole word between spaces, so `A+` keeps its letter.
    """
    bare = "".join(char for char in _plain(text) if not unicodedata.category(char).startswith("P"))
    return " ".join(word for word in bare.split() if word not in _ARTICLES)


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 where the normalised prediction equals any normalised answer, else 0.

    An answer of which nothing is left (`A`, `!!!`) is compared with its articles and
    punctuation in place.
    """
    return float(any(_is_match(prediction, answer) for answer in answers))


def accuracy(prediction: str, answers: Sequence[str]) -> float:
    """1 where the raw prediction equals any raw answer but for surrounding space, else 0."""
    return float(any(prediction.strip() == answer.strip() for answer in answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The best F1 of word overlap with any answer, 0 to 1.

    2 * precision * recall / (precision + recall), over the multisets of the words of the
    normalised strings. An answer of which nothing is left counts as in `exact_match`.
    """
    return max((_overlap(prediction, answer) for answer in answers), default=0.0)


def _plain(text: str) -> str:
    """Without special tokens, casefolded, single-spaced; articles and punctuation in place."""
    words = _SPECIAL.sub(" ", unicodedata.normalize("NFKC", text))
    return " ".join(words.casefold().split())


def _is_match(prediction: str, answer: str) -> bool:
    wanted = normalize_answer(answer)
    return (
        normalize_answer(prediction) == wanted if wanted else _plain(prediction) == _plain(answer)
    )


def _overlap(prediction: str, answer: str) -> float:
    given, wanted = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not wanted:
        return float(_is_match(prediction, answer))
    shared = (Counter(given) & Counter(wanted)).total()
    return 2 * shared / (len(given) + len(wanted))
