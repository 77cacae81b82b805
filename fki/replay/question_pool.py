"""The questions that an adaptive replay policy chooses from: new ones, and a pool of old ones.

The pool is a uniform sample of the base knowledge and of all earlier periods. It depends on the
data and the seed alone, never on a loss, so that a resumed run builds it again. If the weights are
reset before each period, earlier periods are not in it, and each period begins with the same sample
of the base knowledge.
"""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fki.core.errors import DataError
from fki.core.normalization import normalize_text
from fki.core.probe_sets import BASE
from fki.core.types import Example, Period
from fki.replay.reservoir import Reservoir

KNOWN = math.log(2)  # nats: greedy decoding produces a token whose need is below this


@dataclass(slots=True)
class Question:
    """A question with its right answers, or a piece of a document."""

    key: str
    examples: list[Example]  # one for each answer
    needs: list[float]  # nats, by wording

    @property
    def next_wording(self) -> int:
        """Number of the wording that a place trains: the first until it is known, then the
        neediest."""
        first = self.needs[0]
        return 0 if first >= KNOWN else self.needs.index(max(self.needs))


class Place(NamedTuple):
    """A question that an epoch trains, in one of its wordings, with all of its answers."""

    question: Question
    wording: int
    is_masked: bool  # are its target tokens random spans, others in each epoch?

    def read_need(self, losses: Iterator[tuple[float, float]]) -> float | None:
        """The need after a pass: the least over the answers; None without a pass.

        Args:
            losses: nats of the worst token and the mean, of each answer; they are consumed.
        """
        pairs = [next(losses) for _ in self.question.examples]
        nats = [mean if self.is_masked else worst for worst, mean in pairs]
        return min((n for n in nats if not math.isnan(n)), default=None)


class QuestionPool:
    """Old questions, at most `capacity`, and those of the current period."""

    def __init__(
        self, capacity: int, base_need: float, *, keeps_answers: bool, resets: bool = False
    ) -> None:
        """
        Args:
            base_need: of the base knowledge, in nats; new questions start with an infinite need.
            keeps_answers: are the answers to old questions stored?
            resets: does each period begin with the base knowledge alone?
        """
        self.base_need, self.keeps_answers, self.resets = base_need, keeps_answers, resets
        self._base: list[Question] = []  # the sample that each period begins with, if it resets
        self.reservoir = Reservoir[Question](capacity)
        self.new: list[Question] = []
        self._period: Period | None = None

    @property
    def old(self) -> list[Question]:
        """The questions of the base knowledge and of earlier periods."""
        return self.reservoir.items

    @property
    def questions(self) -> list[Question]:
        """Old questions, then new ones."""
        return [*self.old, *self.new]

    def begin_period(
        self, period: Period, examples: Sequence[Example], review: Iterable[Example], seed: int
    ) -> None:
        """Add the preceding questions, and remove those that the period answers anew or that end.

        A repeated call with the same period has no effect.
        """
        if period is self._period:
            return
        if self.resets:
            self._restart(review, seed)
        else:
            preceding = self.new if self._period else self._base_questions(review)
            self._add(preceding, f"{seed}|pool|{period.name}")
        self.new = group_questions(examples, math.inf)
        answered = {question.key for question in self.new}
        self.reservoir.remove(
            lambda old: old.key in answered or not any(e.holds_after(period) for e in old.examples)
        )
        self._period = period

    def _base_questions(self, review: Iterable[Example]) -> list[Question]:
        """The base knowledge, in the wording that the base model has seen."""
        base = [replace(example, other_sources=()) for example in review]
        return group_questions(base, self.base_need)

    def _add(self, questions: Sequence[Question], seed: str) -> None:
        if not self.keeps_answers:
            for question in questions:
                question.examples = [drop_answer(question.examples[0])]
        self.reservoir.add(questions, random.Random(seed))

    def _restart(self, review: Iterable[Example], seed: int) -> None:
        """Begin with the sample of the base knowledge, as if no period had been trained."""
        if self._period is None:
            self._add(self._base_questions(review), f"{seed}|pool|{BASE}")
            self._base = self.reservoir.items
        self.reservoir.items = [replace(q, needs=[self.base_need]) for q in self._base]

    def old_places(self) -> list[Place]:
        """A place for each old question, in its first wording."""
        return [Place(q, 0, q.examples[0].is_text) for q in self.old]

    def old_examples(self) -> list[Example]:
        """The examples of the old questions, in each of their wordings."""
        return [
            example.in_wording(wording)
            for question in self.old
            for example in question.examples
            for wording in range(len(question.needs))
        ]

    def needs(self) -> list[float]:
        """The needs of all questions, by wording."""
        return [need for question in self.questions for need in question.needs]

    def load_needs(self, needs: Sequence[float]) -> None:
        """Set all needs. Raises DataError if these are not as many."""
        if len(needs) != len(self.needs()):
            raise DataError("The needs of replay in the checkpoint do not fit the data.")
        stored = iter(needs)
        for question in self.questions:
            question.needs = [next(stored) for _ in question.needs]


def group_questions(examples: Iterable[Example], need: float) -> list[Question]:
    """The questions of examples, each with this need in every wording."""
    grouped: dict[str, list[Example]] = {}
    for example in examples:
        key = f"{example.id}#{example.piece}" if example.is_text else normalize_text(example.source)
        grouped.setdefault(key, []).append(example)
    return [Question(key, same, [need] * len(same[0].sources)) for key, same in grouped.items()]


def drop_answer(example: Example) -> Example:
    """The example without its answer; a document stays as it is."""
    return example if example.is_text else replace(example, target="")
