"""Exact match, accuracy and F1 of a prediction against the accepted answers.

Exact match and F1 compare normalized strings, in the manner of SQuAD (Rajpurkar et al., 2016), and
repair the defects of its usual copies: special tokens are removed before punctuation, punctuation
is that of Unicode and stays inside numbers, a final `A` is no article, and an answer of punctuation
alone still has to match.

Only the Unicode categories P* are punctuation. The ASCII symbols $ + < = > ^ ` | ~ belong to S* and
stay; `#` belongs to Po and is removed. So `C++` differs from `C`, while `C#` equals `C`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

NORMALIZATION = "2"  # the version of `normalize_answer`; 1 removed all punctuation of numbers

_SPECIAL = re.compile(r"<extra_id_\d+>|<pad>|</s>|<unk>|_X_")
_ARTICLES = frozenset({"a", "an", "the"})
_EXPONENT = re.compile(r"(?<=\d)(?=[²³¹\u2070-\u207b])")  # 10², of which NFKC makes 102
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾\u2150-\u215e\u2189])")  # 1½, of which NFKC makes 11/2
_THOUSANDS = re.compile(r"(?<!\d)(?<!\d[.,'])[1-9]\d{0,2}([,'])\d{3}(?:\1\d{3})*(?!\d|[,']\d)")
_NUMBER = re.compile(r"[^\w\s]?\.?\d")  # `5`, `$5`, `$.5`
_SIGN_OR_POINT = re.compile(r"(?:(?<!-)-)?(?:(?<!\.)\.)?$")  # but neither `--` nor `...`
_SAME_SIGNS = str.maketrans({"\u2044": "/", "\u2212": "-", "\u2018": "'", "\u2019": "'"})


def normalize_answer(text: str) -> str:
    """The normalized form in which answers are compared.

    The steps, in order:

    1. NFKC, where `10²` becomes `10^2` and `1½` becomes `1 1/2`; remove special tokens and `_X_`;
       casefold; every dash and minus becomes `-`, every single quote `'`.
    2. Remove the thousands separators of a number: `1,000` becomes `1000`.
    3. Delete characters of the Unicode categories P*, except those between two digits (`1.10.2`,
       `2010-11`, `3:1`), and a minus or a decimal point that begins a number (`-5`, `.5`, `-$5`).
    4. Remove the words a, an, the, except as the last word (`Serie A`).
    5. Reduce whitespace to single spaces.

    An article is a whole word between spaces, so `A+` keeps its letter.
    """
    numbers = _THOUSANDS.sub(lambda number: re.sub(r"\D", "", number[0]), _plain(text))
    words = _delete_punctuation(numbers).split()
    return " ".join([*(word for word in words[:-1] if word not in _ARTICLES), *words[-1:]])


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 where the normalized prediction equals any normalized answer, else 0.

    An answer of punctuation alone (`!!!`) is compared with its punctuation. An empty prediction
    matches nothing.
    """
    return float(any(_is_match(prediction, answer) for answer in answers))


def accuracy(prediction: str, answers: Sequence[str]) -> float:
    """1 where the raw prediction equals any raw answer, apart from surrounding space, else 0.

    An empty prediction matches nothing.
    """
    text = prediction.strip()
    return float(bool(text) and any(text == answer.strip() for answer in answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The best F1 of word overlap with any answer, 0 to 1.

    2 * precision * recall / (precision + recall), over the multisets of words of the normalized
    strings. An answer of punctuation alone counts as in `exact_match`.
    """
    return max((_overlap(prediction, answer) for answer in answers), default=0.0)


def contains_answer(prediction: str, answers: Sequence[str]) -> float:
    """1 where a normalized answer occurs in the normalized prediction, as whole words, else 0.

    As PopQA counts answers (Mallen et al., 2023), who compare raw and lower-cased text and so also
    count parts of words.
    """
    text = f" {normalize_answer(prediction)} "
    found = (f" {normalized} " in text for a in answers if (normalized := normalize_answer(a)))
    return float(any(found) or exact_match(prediction, answers) > 0)


def remove_right_answers(old_answers: Sequence[str], answers: Sequence[str]) -> list[str]:
    """The old answers that do not match an answer that is right now."""
    return [old for old in old_answers if not exact_match(old, answers)]


def _plain(text: str) -> str:
    """Without special tokens, casefolded, single-spaced, with articles and punctuation."""
    split = _FRACTION.sub(" ", _EXPONENT.sub("^", text))
    words = _SPECIAL.sub(" ", unicodedata.normalize("NFKC", split)).translate(_SAME_SIGNS)
    dashes = "".join("-" if unicodedata.category(char) == "Pd" else char for char in words)
    return " ".join(dashes.casefold().split())


def _delete_punctuation(text: str) -> str:
    """Without the punctuation that is not part of a number."""
    kinds = "".join("P" if unicodedata.category(char)[0] == "P" else "-" for char in text)
    kept, end = "", 0
    for run in re.finditer("P+", kinds):
        kept += text[end : run.start()]
        end = run.end()
        before = text[run.start() - 1] if run.start() else " "
        if before.isdecimal() and text[end : end + 1].isdecimal():
            kept += text[run.start() : end]
        elif not before.isalnum() and _NUMBER.match(text, end):
            kept += "".join(_SIGN_OR_POINT.findall(text[run.start() : end]))
    return kept + text[end:]


def _is_match(prediction: str, answer: str) -> bool:
    normalized = normalize_answer(answer)
    if not normalized:
        plain = _plain(answer)
        return bool(plain) and _plain(prediction) == plain
    return normalize_answer(prediction) == normalized


def _overlap(prediction: str, answer: str) -> float:
    words, expected = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not expected:
        return float(_is_match(prediction, answer))
    shared = (Counter(words) & Counter(expected)).total()
    return 2 * shared / (len(words) + len(expected))
