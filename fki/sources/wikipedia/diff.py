"""Find the text of an article's newer revision that its older revision lacks.

TemporalWiki (Jang et al., 2022) aligns paragraphs that differ at most in case and punctuation, and
takes the text between two aligned pairs: new paragraphs, and the new sentences of changed ones.
Here a paragraph, and in a changed one a sentence, is new if the old article has it nowhere. Text
that was only moved, split, linked or punctuated is not new, and no text before the first or after
the last pair is lost.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

WORD = re.compile(r"\w+")
SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？]")
NEXT_WORD = re.compile(r"[\"'“‘(\[]*(\w)")
INITIAL = re.compile(r"(?:^|[\s(.])[A-Z]\.$")
ABBREVIATED = (
    "mr mrs ms dr prof st sr jr gen col lt capt maj sgt rev hon gov sen rep pres no nos vs ca cf "
    "e.g i.e viz mt ft vol vols pp ed eds approx jan feb mar apr aug sept sep oct nov dec u.s "
    "d.c fig inc ltd op art"
)
ABBREVIATIONS = frozenset(ABBREVIATED.split())
LOOKBACK_CHARS = 12  # before a full stop, to find the word that it ends
MIN_WORDS = 3  # of the new text of a paragraph; less is a fragment


class ParagraphDiff(NamedTuple):
    """The paragraphs of the newer revision."""

    new: list[str]  # new paragraphs, and the new sentences of changed ones
    unchanged: list[str]


def diff_paragraphs(old: Sequence[str], new: Sequence[str]) -> ParagraphDiff:
    """Sort the paragraphs of an article into new and unchanged ones."""
    old_paragraphs = {normalize(paragraph) for paragraph in old}
    old_sentences = {
        normalize(sentence) for paragraph in old for sentence in split_sentences(paragraph)
    }
    diff = ParagraphDiff([], [])
    for paragraph in new:
        if normalize(paragraph) in old_paragraphs:
            diff.unchanged.append(paragraph)
            continue
        added = [s for s in split_sentences(paragraph) if normalize(s) not in old_sentences]
        if not added:
            diff.unchanged.append(paragraph)
        elif len(" ".join(added).split()) >= MIN_WORDS:
            diff.new.append(" ".join(added))
    return diff


def normalize(text: str) -> str:
    """The words of a text in lower case; spaces and punctuation are ignored."""
    return " ".join(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def contains_phrase(normalized_text: str, phrase: str) -> bool:
    """Whether the text has the words of the phrase, whole and in this order."""
    words = normalize(phrase)
    return bool(words) and f" {words} " in f" {normalized_text} "


def split_sentences(paragraph: str) -> Iterator[str]:
    """Split a paragraph after the full stops that end a sentence, by rules."""
    start = 0
    for stop in SENTENCE_END.finditer(paragraph):
        before = paragraph[max(start, stop.start() - LOOKBACK_CHARS) : stop.start() + 1]
        after = NEXT_WORD.match(paragraph, stop.end())
        starts_sentence = after is None or not after[1].islower()
        if starts_sentence and not _ends_in_abbreviation(before):
            yield paragraph[start : stop.end()].strip()
            start = stop.end()
    if rest := paragraph[start:].strip():
        yield rest


def _ends_in_abbreviation(text: str) -> bool:
    """Whether the text's last full stop belongs to a word: "Dr.", "J.", "e.g."."""
    if not text.endswith("."):
        return False
    last = text.rpartition(" ")[2].strip(".(\"'“").casefold()
    return last in ABBREVIATIONS or bool(INITIAL.search(text))
