"""Training examples and cloze probes of documents.

A cloze probe (Taylor, 1953) is a window of the document around a name, date or number that occurs
once in the document; a blank replaces it.
"""

import random
from collections.abc import Sequence

from fki.core.types import Document, Example, Probe
from fki.data.prompts import blank_out, find_special_token
from fki.data.salient_spans import salient_spans
from fki.data.span_corruption import Span

CLOZE_SEED = 0  # the same probes for every run, whatever its seed
WINDOW = 300  # characters on either side of a blank; the tokenizer truncates it further
MAX_TRIED_SPANS = 50  # spans tried until one is usable
MAX_ANSWER = 5, 40  # words and characters of an answer; TemporalWiki's objects have up to 5 words


def text_examples(documents: Sequence[Document], period: str) -> list[Example]:
    """Each document as running text, its title first."""
    return [
        Example(id=name, source=full_text(document), target="", is_text=True)
        for name, document in zip(_document_ids(documents, period), documents, strict=True)
    ]


def cloze_probes(documents: Sequence[Document], period: str) -> list[Probe]:
    """At most one probe for each document; none if no span is usable."""
    found = []
    for name, document in zip(_document_ids(documents, period), documents, strict=True):
        text = full_text(document)
        spans = salient_spans(text)
        random.Random(f"{CLOZE_SEED}|{name}").shuffle(spans)
        if span := next((s for s in spans[:MAX_TRIED_SPANS] if is_askable(text, s)), None):
            before, after = _window_before(text[: span[0]]), _window_after(text[span[1] :])
            answer = text[slice(*span)]
            found.append(Probe(name, period, blank_out(before, after), (answer,)))
    return found


def full_text(document: Document) -> str:
    """The text, preceded by its title."""
    return f"{document.title}\n{document.text}" if document.title else document.text


def is_askable(text: str, span: Span) -> bool:
    """Is this a short answer that occurs nowhere else in the text?"""
    answer = text[slice(*span)]
    words, characters = MAX_ANSWER
    is_short = len(answer.split()) <= words and len(answer) <= characters
    return (
        is_short
        and not find_special_token(answer)
        and text.casefold().count(answer.casefold()) == 1
    )


def _document_ids(documents: Sequence[Document], period: str) -> list[str]:
    """An id for each document: its own may occur twice in a period, its number does not."""
    return [f"{period}|{d.id or 'text'}|{number}" for number, d in enumerate(documents)]


def _window_before(text: str) -> str:
    """The last characters of a text, from the beginning of a word."""
    return text if len(text) <= WINDOW else text[-WINDOW:].partition(" ")[2]


def _window_after(text: str) -> str:
    """The first characters of a text, to the end of a word."""
    return text if len(text) <= WINDOW else text[:WINDOW].rpartition(" ")[0]
