"""Solved questions before each probe: the shots of in-context learning (Brown et al., 2020).

They show a decoder that no training has taught it how answers look and where they end. Shots are
facts of the base knowledge that the stream does not change, time-invariant ones first, the same in
each row, run and seed. A shot never asks the question that follows it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from heapq import nsmallest
from typing import NamedTuple

import numpy as np

from fki.core.errors import ConfigError
from fki.core.types import Fact, Stream
from fki.data.causal_tokenizer import CausalTokenizer
from fki.data.collator import ExampleTokenizer
from fki.data.prompts import PromptForm, question_text
from fki.evaluation.evaluator import TokenizeQuestions
from fki.evaluation.schedule import ProbeCell
from fki.methods.base import Method

SEPARATOR = "\n"  # behind a shot; an answer ends at a newline


def question_tokenizer(
    method: Method,
    tokenizer: ExampleTokenizer,
    stream: Stream,
    cells: Iterable[ProbeCell],
    shots: int,
) -> TokenizeQuestions:
    """The function that tokenizes probes as the model reads them: with shots, or by the method.

    Raises ConfigError if shots and the probes of `cells` do not fit into `input_length`, or if too
    few base facts hold throughout the stream.
    """
    if not shots:
        return partial(method.tokenize_questions, tokenizer=tokenizer)
    prompts = _make_prompts(stream, tokenizer, shots)
    prompts.check_lengths(cells)
    return prompts


class Shot(NamedTuple):
    """A solved question, as the model reads it."""

    prompt: str
    answer: str

    @classmethod
    def of(cls, fact: Fact, form: PromptForm) -> "Shot":
        """A fact in its first wording, with its first answer."""
        question = question_text(fact.wordings[0], fact.subject)
        return cls(form.source(question), form.target(fact.objects[0]))

    @property
    def text(self) -> str:
        """The prompt with its answer."""
        return self.prompt + self.answer


class ShotPrompts:
    """Tokenizes questions, each behind the same number of solved ones."""

    def __init__(self, tokenizer: CausalTokenizer, shots: Sequence[Shot]) -> None:
        """`shots`: one more than a prompt has, for a question that one of them asks."""
        self.tokenizer, self.shots = tokenizer, shots

    def __call__(self, questions: Sequence[str]) -> list[list[int]]:
        """Token ids of each question with the shots before it."""
        texts = [self.text(question) for question in questions]
        return [self.tokenizer.wrap(ids) for ids in self.tokenizer.plain_ids(texts)]

    def text(self, question: str) -> str:
        """A question's prompt with the shots before it."""
        prompt = self.tokenizer.prompts.source(question)
        shots = [shot.text for shot in self.shots if shot.prompt != prompt]
        return SEPARATOR.join([*shots[: len(self.shots) - 1], prompt])

    def check_lengths(self, cells: Iterable[ProbeCell]) -> None:
        """Raises ConfigError if the longest probe does not fit into `input_length` with shots."""
        longest = max((self._longest(cell) for cell in cells), default=0)
        sizes = map(len, self.tokenizer.plain_ids([s.text + SEPARATOR for s in self.shots]))
        needed = longest + sum(sorted(sizes)[1:])
        if needed > self.tokenizer.input_length:
            number = len(self.shots) - 1
            raise ConfigError(
                f"shots = {number} and the longest probe need {needed} tokens; input_length is "
                f"{self.tokenizer.input_length}.",
                hint=f"Add: --set input_length={needed}",
            )

    def _longest(self, cell: ProbeCell) -> int:
        lengths = self.tokenizer.source_lengths([probe.source for probe in cell.probes])
        return int(np.max(lengths, initial=0))


def _make_prompts(stream: Stream, tokenizer: ExampleTokenizer, number: int) -> ShotPrompts:
    assert isinstance(tokenizer, CausalTokenizer), tokenizer
    facts = choose_facts(stream, number + 1)
    if len(facts) <= number:
        raise ConfigError(
            f"shots = {number} needs {number + 1} base facts that the stream does not change; "
            f"'{stream.name}' has {len(facts)}.",
            hint=f"Add: --set shots={max(0, len(facts) - 1)}",
        )
    return ShotPrompts(tokenizer, [Shot.of(fact, tokenizer.prompts) for fact in facts])


def choose_facts(stream: Stream, number: int) -> list[Fact]:
    """Base facts that hold throughout the stream, drawn by their names; invariant ones first."""
    chosen = nsmallest(number, (f for f in stream.base if f.is_invariant), key=_draw)
    if len(chosen) < number:
        changed = {fact.key for period in stream.periods for fact in period.facts}
        others = (
            f for f in stream.base if not f.is_invariant and f.end is None and f.key not in changed
        )
        chosen += nsmallest(number - len(chosen), others, key=_draw)
    return chosen


def _draw(fact: Fact) -> bytes:
    return hashlib.sha256(fact.id.encode()).digest()
