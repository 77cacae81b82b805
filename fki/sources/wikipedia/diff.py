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
STOP = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？]")
OPENS = re.compile(r"[\"'“‘(\[]*(\w)")
INITIAL = re.compile(r"(?:^|[\s(.])[A-Z]\.$")
BEFORE_MORE = (
    "mr mrs ms dr prof st sr jr gen col lt capt maj sgt rev hon gov sen rep pres no nos vs ca cf "
    "e.g i.e viz mt ft vol vols pp ed eds approx jan feb mar apr aug sept sep oct nov dec u.s "
    "d.c fig inc ltd op art"
)
ABBREVIATED = frozenset(BEFORE_MORE.split())
WIDEST = 12  # characters before a full stop in which its word is looked for
SHORTEST = 3  # words of a sentence; shorter ones are scraps


class Compared(NamedTuple):
    """The paragraphs of the newer revision."""

    new: list[str]  # new ones, and of changed ones the new sentences
    unchanged: list[str]


def compare(old: Sequence[str], new: Sequence[str]) -> Compared:
    """What is new and what is unchanged in the paragraphs of an article."""
    known = {key(paragraph) for paragraph in old}
    told = {key(sentence) for paragraph in old for sentence in sentences(paragraph)}
    found = Compared([], [])
    for paragraph in new:
        if key(paragraph) in known:
            found.unchanged.append(paragraph)
            continue
        added = [s for s in sentences(paragraph) if key(s) not in told]
        if not added:
            found.unchanged.append(paragraph)
        elif len(" ".join(added).split()) >= SHORTEST:
            found.new.append(" ".join(added))
    return found


def key(text: str) -> str:
    """A text's words alone: what is equal in case, spaces and punctuation has one key."""
    return " ".join(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def tells(text_key: str, phrase: str) -> bool:
    """Do these words, whole and in this order, stand in the text that has this key?"""
    wanted = key(phrase)
    return bool(wanted) and f" {wanted} " in f" {text_key} "


def sentences(paragraph: str) -> Iterator[str]:
    """A paragraph cut behind full stops that end something, as far as rules can tell."""
    start = 0
    for stop in STOP.finditer(paragraph):
        before = paragraph[max(start, stop.start() - WIDEST) : stop.start() + 1]
        after = OPENS.match(paragraph, stop.end())
        begins = after is None or not after[1].islower()
        if begins and not _is_abbreviation(before):
            yield paragraph[start : stop.end()].strip()
            start = stop.end()
    if rest := paragraph[start:].strip():
        yield rest


def _is_abbreviation(text: str) -> bool:
    """Does a text end in a full stop that belongs to a word: "Dr.", "J.", "e.g."?"""
    if not text.endswith("."):
        return False
    last = text.rpartition(" ")[2].strip(".(\"'“").casefold()
    return last in ABBREVIATED or bool(INITIAL.search(text))
