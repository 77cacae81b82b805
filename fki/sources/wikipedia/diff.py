"""What a revision of an article tells that the one before did not.

TemporalWiki (Jang et al., 2022) lines up paragraphs that are equal but for case and punctuation,
and takes what stands between two such pairs: new paragraphs whole, and of changed ones the new
sentences. Here a paragraph, and in a changed one a sentence, is new where the old article has it
nowhere. So nothing that was only moved, split, linked or punctuated anew counts, and nothing is
lost before the first and after the last pair.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

WORD = re.compile(r"\w+")
SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？]")
NEXT_WORD = re.compile(r"[\"'“‘(\[]*(\w)")
INITIAL = re.compile(r"(?:^|[\s(.])[A-Z]\.$")
ABBREVIATIONS = (
    "mr mrs ms dr prof st sr jr gen col lt capt maj sgt rev hon gov sen rep pres no nos vs ca cf "
    "e.g i.e viz mt ft vol vols pp ed eds approx jan feb mar apr aug sept sep oct nov dec u.s "
    "d.c fig inc ltd op art"
)
ABBREVIATION_SET = frozenset(ABBREVIATIONS.split())
LOOKBACK_CHARS = 12  # characters before a full stop in which its word is looked for
MIN_WORDS = 3  # words of a sentence; shorter ones are scraps


class ParagraphDiff(NamedTuple):
    """The paragraphs of the newer revision."""

    new: list[str]  # new ones, and of changed ones the new sentences
    unchanged: list[str]


def diff_paragraphs(old: Sequence[str], new: Sequence[str]) -> ParagraphDiff:
    """What is new and what is unchanged in the paragraphs of an article."""
    known = {normalize(paragraph) for paragraph in old}
    told = {normalize(sentence) for paragraph in old for sentence in split_sentences(paragraph)}
    found = ParagraphDiff([], [])
    for paragraph in new:
        if normalize(paragraph) in known:
            found.unchanged.append(paragraph)
            continue
        added = [s for s in split_sentences(paragraph) if normalize(s) not in told]
        if not added:
            found.unchanged.append(paragraph)
        elif len(" ".join(added).split()) >= MIN_WORDS:
            found.new.append(" ".join(added))
    return found


def normalize(text: str) -> str:
    """A text's words alone: what is equal in case, spaces and punctuation has one key."""
    return " ".join(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def contains_phrase(text_key: str, phrase: str) -> bool:
    """Do these words, whole and in this order, stand in the text that has this key?"""
    wanted = normalize(phrase)
    return bool(wanted) and f" {wanted} " in f" {text_key} "


def split_sentences(paragraph: str) -> Iterator[str]:
    """A paragraph cut behind full stops that end something, as far as rules can tell."""
    start = 0
    for stop in SENTENCE_END.finditer(paragraph):
        before = paragraph[max(start, stop.start() - LOOKBACK_CHARS) : stop.start() + 1]
        after = NEXT_WORD.match(paragraph, stop.end())
        begins = after is None or not after[1].islower()
        if begins and not _ends_in_abbreviation(before):
            yield paragraph[start : stop.end()].strip()
            start = stop.end()
    if rest := paragraph[start:].strip():
        yield rest


def _ends_in_abbreviation(text: str) -> bool:
    """Does a text end in a full stop that belongs to a word: "Dr.", "J.", "e.g."?"""
    if not text.endswith("."):
        return False
    last = text.rpartition(" ")[2].strip(".(\"'“").casefold()
    return last in ABBREVIATION_SET or bool(INITIAL.search(text))
