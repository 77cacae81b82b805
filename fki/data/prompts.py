"""Formats a wording as source and target of a T5; training and evaluation share it.

`sentinel` is T5's pretraining task (Raffel et al., 2020): `<extra_id_0>` replaces the object.
`prefix` is closed-book completion: the text before the object, then the object.
"""

import re
import unicodedata

from fki.core.types import OBJECT, SUBJECT, Example, Fact, PromptFormat

SENTINEL, END_SENTINEL = "<extra_id_0>", "<extra_id_1>"
SENTINEL_PATTERN = re.compile(r"<extra_id_\d+>")
SPECIAL_TOKEN = re.compile(r"<extra_id_\d+>|</s>|<pad>|<unk>")  # not allowed in answers


def find_special_token(text: str) -> str:
    """The first token that cannot be part of an answer, as a tokenizer reads it (NFKC), or ""."""
    found = SPECIAL_TOKEN.search(unicodedata.normalize("NFKC", text))
    return found[0] if found else ""


def source_text(wording: str, subject: str, prompt: PromptFormat) -> str:
    """The encoder's input: the wording about the subject, without its object."""
    before, _, after = wording.partition(OBJECT)
    return blank_out(before, after, prompt).replace(SUBJECT, subject)


def blank_out(before: str, after: str, prompt: PromptFormat) -> str:
    """The encoder's input for a text whose answer stands between two parts."""
    return before + SENTINEL + after if prompt == "sentinel" else before.strip() or after.strip()


def target_text(answer: str, prompt: PromptFormat) -> str:
    """The decoder's target for an answer."""
    return f"{SENTINEL} {answer} {END_SENTINEL}" if prompt == "sentinel" else answer


def completed_text(source: str, target: str, prompt: PromptFormat) -> str:
    """The statement of an example: its source with the answer of its target in place.

    With `prefix`, the answer is appended.
    """
    if prompt == "prefix":
        return f"{source} {target}"
    answer = target.removeprefix(SENTINEL).removesuffix(END_SENTINEL).strip()
    return source.replace(SENTINEL, answer)


def training_examples(
    fact: Fact, prompt: PromptFormat, *, period: str, wordings: int = 1
) -> list[Example]:
    """One example for each object of the fact.

    Args:
        wordings: the number of wordings that are taught in turn, at most. A wording that asks the
            same question as one before it, or as a probe, is left out.
    """
    source, *others = taught_sources(fact, prompt, wordings)
    return [
        Example(
            id=f"{period}|{fact.id}|0.{o}",
            source=source,
            target=target_text(answer, prompt),
            relation=fact.relation,
            is_invariant=fact.is_invariant,
            other_sources=tuple(others),
        )
        for o, answer in enumerate(fact.objects)
    ]


def taught_sources(fact: Fact, prompt: PromptFormat, wordings: int) -> list[str]:
    """The encoder's input of a fact in its first `wordings` taught wordings that differ."""
    first, *others = fact.taught_wordings
    source = source_text(first, fact.subject, prompt)
    if wordings == 1:
        return [source]
    probes = {source_text(w, fact.subject, prompt) for w in fact.held_out_wordings}
    texts = dict.fromkeys(source_text(w, fact.subject, prompt) for w in others)
    return [source, *(t for t in texts if t != source and t not in probes)][:wordings]
