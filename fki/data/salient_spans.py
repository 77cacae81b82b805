"""Salient spans by rules: dates, numbers with their units, and names.

Guu et al. (2020), REALM: mask the spans that require world knowledge. REALM uses a tagger; these
rules use spelling alone and need no model: a date is a month with a day or year, a name is a
sequence of capitalized words that does not just start a sentence.
"""

import re

from fki.data.span_corruption import Span

MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December"
    "|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
)
YEAR, DAY = r"[12]\d{3}(?!\d)", r"[0-3]?\d(?:st|nd|rd|th)?(?!\d)"
DATE = re.compile(
    rf"(?<!\w)(?:\d{{4}}-\d{{1,2}}-\d{{1,2}}(?!\d)"
    rf"|(?:{DAY} )?(?:{MONTHS})\.?,? {YEAR}"
    rf"|(?:{MONTHS})\.? {DAY}(?:, {YEAR})?"
    rf"|{DAY} (?:{MONTHS})(?!\w)"
    rf"|Q[1-4] {YEAR})"
)
UNIT = (
    r"%|percent|per cent|thousand|million|billion|trillion|people|persons|years|days"
    r"|(?:sq |square |cubic )?(?:km|kilometers|m|meters|miles|ft|feet)|kg|tons|tonnes|metric tons"
)
NUMBER = re.compile(rf"(?<![\w.])[$€£¥]?\d+(?:[.,]\d+)*(?: ?(?:{UNIT})(?!\w))*(?!\w)")

CAPITALS = "".join(c for c in map(chr, [*range(0x590), *range(0x1E00, 0x1F00)]) if c.isupper())
CAPITALIZED = rf"(?:(?:[{CAPITALS}]\.)+|[{CAPITALS}](?:\w|['’&-](?=\w))*)"
LINK = (
    r"(?:(?:of|de|del|della|di|da|do|dos|du|des|van|von|zu|bin|al|el)(?: (?:the|la|le|der|den))? )"
)
NAME = re.compile(rf"(?<!\w){CAPITALIZED}(?: {LINK}?(?:[dl]['’])?{CAPITALIZED})*")
NO_NAME = re.compile(  # words that are capitalized only as the first word of a sentence
    r"(?:The|A|An|In|On|At|By|For|From|To|Of|With|As|And|But|Or|If|It|Its|I|He|His|She|Her|We|Our"
    r"|You|Your|They|Their|This|That|These|Those|There|When|While|After|Before|Since|Until|Under"
    r"|Over|During|Although|However|Some|Many|Most|All|Both|Each|No|Not|Only|Also|What|Who|Which"
    r"|How|Where|Why)(?: |$)"
)
SENTENCE_END = ".!?:\n"
LOOKBEHIND = 9  # characters in which the previous sentence must end
BLANK = "\0"  # replaces a matched span, so that no other span overlaps it


def salient_spans(text: str) -> list[Span]:
    """The salient spans of a text as character ranges, in order, without overlap."""
    found: list[Span] = []
    for kind in (DATE, NUMBER):
        found += [match.span() for match in kind.finditer(text)]
        text = kind.sub(lambda match: BLANK * len(match[0]), text)
    return sorted([*found, *_name_spans(text)])


def _name_spans(text: str) -> list[Span]:
    """Sequences of capitalized words; a single word at the start of a sentence does not count."""
    found = []
    for match in NAME.finditer(text):
        start, end = match.span()
        is_opening = opens_sentence(text, start)
        while skipped := NO_NAME.match(text, start, end):
            start, is_opening = skipped.end(), False
        if end - start > 1 and not (is_opening and " " not in text[start:end]):
            found.append((start, end))
    return found


def opens_sentence(text: str, at: int) -> bool:
    """Does a sentence start here?"""
    before = text[max(0, at - LOOKBEHIND) : at].rstrip(" \t\"'“‘«([")
    return not before or before[-1] in SENTENCE_END
