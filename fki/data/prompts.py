"""Questions in neutral form, and the texts that a model reads and writes for them.

A question is a statement with a blank, `___`, in place of its answer. A `PromptForm` turns
questions and answers into a model's texts, and the model's output into an answer. Examples and
probes are neutral; the tokenization of examples (`collator.py`) applies the form.

`sentinel` is T5's pretraining task (Raffel et al., 2020): `<extra_id_0>` is the blank.
`prefix` is closed-book completion by an encoder-decoder: the text before the blank, then the
answer. A decoder reads one of three forms: `completion`, the text before the blank; `question`, a
question and "Answer:"; `chat`, the question as a user's message in the tokenizer's own template.
"""

import re
import unicodedata
from typing import Protocol

from fki.core.normalization import normalize_text
from fki.core.types import BLANK, OBJECT, SUBJECT, Example, Fact, PromptFormat

SENTINEL, END_SENTINEL = "<extra_id_0>", "<extra_id_1>"
SENTINEL_PATTERN = re.compile(r"<extra_id_\d+>")
SPECIAL_TOKEN = re.compile(r"<extra_id_\d+>|</s>|<pad>|<unk>")  # not allowed in answers
WORD = re.compile(r"\w")
SENTENCE_END = re.compile(r"[.!?](?=[\s\"'\u201d)]|$)|[\u3002\uff01\uff1f]")
UNDERSCORES = re.compile(r"[_\uff3f]{3,}")  # also fullwidth, which NFKC folds
# by precedence: a text with a blank of one kind has none of the kinds after it
BLANK_KINDS = (
    re.compile(SENTINEL),
    UNDERSCORES,
    re.compile(  # of other datasets
        r"\[MASK\]|\[mask\]|<mask>|<MASK>|(?<![A-Za-z0-9_])_X_(?![A-Za-z0-9_])|\{\}"
    ),
)


class PromptForm(Protocol):
    """The form in which a model reads questions and writes answers."""

    def source(self, question: str) -> str:
        """The model's input for a question."""
        ...

    def target(self, answer: str) -> str:
        """The model's output for an answer."""
        ...

    def read_answer(self, generated: str) -> str:
        """The answer in the model's output, decoded with its special tokens."""
        ...


class SentinelForm:
    """A sentinel of T5 is the blank; the output names the sentinel before the answer.

    Texts that have sentinels already, such as those of a corpus for T5, stay as they are.
    """

    def source(self, question: str) -> str:
        """The question with `<extra_id_0>` as its blank."""
        return question if SENTINEL in question else UNDERSCORES.sub(SENTINEL, question, count=1)

    def target(self, answer: str) -> str:
        """The answer between the first two sentinels."""
        return answer if SENTINEL in answer else f"{SENTINEL} {answer} {END_SENTINEL}"

    def read_answer(self, generated: str) -> str:
        """The span after `<extra_id_0>`, or else the text, up to the next sentinel or `</s>`."""
        text = generated.partition("</s>")[0].replace("<pad>", "")
        _, opened, span = text.partition(SENTINEL)
        return SENTINEL_PATTERN.split(span if opened else text, maxsplit=1)[0].strip()


class PrefixForm(SentinelForm):
    """The input ends at the blank."""

    def source(self, question: str) -> str:
        """The text before the blank; the text after it if there is none before."""
        before, _, after = UNDERSCORES.sub(BLANK, question, count=1).partition(BLANK)
        return before.strip() or after.strip()

    def target(self, answer: str) -> str:
        """The answer alone."""
        return answer


class ChatForm:
    """A user's message; `CausalTokenizer` adds the tokenizer's template around it."""

    def source(self, question: str) -> str:
        """The question, if it is one; else the request to fill in its blank."""
        before, blank, after = _part_at_blank(question)
        if before.rstrip().endswith("?") and not WORD.search(after):
            return before.strip()
        return f"Fill in the blank: {before}{blank}{after}".strip()

    def target(self, answer: str) -> str:
        """The answer alone."""
        return answer

    def read_answer(self, generated: str) -> str:
        """The text up to the end of its first line, or else of its first sentence."""
        return SENTENCE_END.split(first_line(generated), maxsplit=1)[0].strip()


class QuestionForm(ChatForm):
    """A question, and "Answer:" on the next line."""

    def source(self, question: str) -> str:
        """The question of a chat, in the form of a quiz."""
        return f"Question: {super().source(question)}\nAnswer:"

    def target(self, answer: str) -> str:
        """The answer behind a space, which belongs to its first token."""
        return f" {answer}"


class CompletionForm(QuestionForm):
    """The text before the blank.

    A blank with words after it, with no text before it, or without a space before it cannot be
    completed; the form of such a question is that of `QuestionForm`.
    """

    def source(self, question: str) -> str:
        """The text up to the space before the blank."""
        before, _, after = _part_at_blank(question)
        is_last = not WORD.search(after) and before[-1:].isspace()
        return before.rstrip() if is_last and before.strip() else super().source(question)


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return text.strip().partition("\n")[0].strip()


def _part_at_blank(question: str) -> tuple[str, str, str]:
    """The text before the blank, the blank, and the text after it; a blank at the end if none."""
    before, blank, after = UNDERSCORES.sub(BLANK, question, count=1).partition(BLANK)
    return (before, blank, after) if blank else (f"{question} ", BLANK, "")


PROMPT_FORMS: dict[PromptFormat, PromptForm] = {
    "sentinel": SentinelForm(),
    "prefix": PrefixForm(),
    "completion": CompletionForm(),
    "question": QuestionForm(),
    "chat": ChatForm(),
}


def find_special_token(text: str) -> str:
    """The first token that cannot be part of an answer, as a tokenizer reads it (NFKC), or ""."""
    found = SPECIAL_TOKEN.search(unicodedata.normalize("NFKC", text))
    return found[0] if found else ""


def split_at_blank(text: str) -> tuple[str, str] | None:
    """The parts of a text before and after its blank, of any kind; None if it has no blank.

    Raises ValueError if it has several blanks of the kind that counts, or another sentinel.
    """
    if other := [token for token in SENTINEL_PATTERN.findall(text) if token != SENTINEL]:
        raise ValueError(f"must not contain {other[0]}; its blank is {BLANK}")
    blanks = next(filter(None, ([*kind.finditer(text)] for kind in BLANK_KINDS)), [])
    if len(blanks) > 1:
        raise ValueError(f"contains {blanks[0][0]} more than once")
    return (text[: blanks[0].start()], text[blanks[0].end() :]) if blanks else None


def question_text(wording: str, subject: str) -> str:
    """The question of a wording about the subject, with a blank in place of its object."""
    before, _, after = wording.partition(OBJECT)
    return blank_out(before, after).replace(SUBJECT, shorten_underscores(subject))


def blank_out(before: str, after: str) -> str:
    """The question whose answer stands between two parts of a text."""
    return shorten_underscores(before) + BLANK + shorten_underscores(after)


def shorten_underscores(text: str) -> str:
    """The text with two underscores in place of three or more, which would be a blank."""
    return UNDERSCORES.sub("__", text)


def complete(question: str, answer: str) -> str:
    """The statement of a question: the answer in place of its blank, else at its end."""
    before, blank, after = question.partition(BLANK)
    return before + answer + after if blank else f"{question} {answer}"


def training_examples(
    fact: Fact, prompt: PromptFormat, *, period: str, wordings: int = 1
) -> list[Example]:
    """One example for each object of the fact.

    Args:
        prompt: decides which wordings ask the same question.
        wordings: the number of wordings that are taught in turn, at most. A wording that asks the
            same question as one before it, or as a probe, is left out.
    """
    source, *others = taught_questions(fact, prompt, wordings)
    return [
        Example(
            id=f"{period}|{fact.id}|0.{o}",
            source=source,
            target=answer,
            relation=fact.relation,
            is_invariant=fact.is_invariant,
            end=fact.end,
            other_sources=tuple(others),
        )
        for o, answer in enumerate(fact.objects)
    ]


def taught_questions(fact: Fact, prompt: PromptFormat, wordings: int) -> list[str]:
    """The questions of a fact in its first `wordings` taught wordings that differ for a model."""
    first, *others = (question_text(w, fact.subject) for w in fact.taught_wordings)
    if wordings == 1:
        return [first]

    def read(question: str) -> str:
        return fold_question(PROMPT_FORMS[prompt].source(question))

    taken = {read(question_text(w, fact.subject)) for w in fact.held_out_wordings} | {read(first)}
    distinct: dict[str, str] = {}
    for question in others:
        if read(question) not in taken:
            distinct.setdefault(read(question), question)
    return [first, *distinct.values()][:wordings]


def fold_question(text: str) -> str:
    """The form in which questions are compared: normalized, without case."""
    return normalize_text(text).casefold()
