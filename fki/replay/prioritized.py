"""Prioritized replay: the places of an epoch go to the questions that the model knows least.

After Schaul et al. (2016), "Prioritized experience replay"; related to maximally interfered
retrieval (Aljundi et al., 2019) and to Leitner's boxes (1972). The priority of a question is its
need: the nats of its least likely target token at its last training pass. Below ln 2, greedy
decoding produces the token. The training step itself computes the need, so it costs nothing.

- An epoch of a period with N examples has (1 + ratio) * N places.
- A new question starts with an infinite need, a question of the base knowledge with a small one.
- A need grows by a factor for each epoch without a pass. Noise lets equal needs take turns.
- In every third epoch, all new questions come first.
- Once in a period, forward passes may measure the needs of all old questions anew. The rest of the
  period then trains what it has displaced.
- A question that a period answers anew leaves the pool with its old answer.
- If the weights are reset before each period, the pool is that of the base knowledge alone.
- The least need over several right answers counts; a place trains them all.
- With several wordings, each has its own need. A place goes to the first wording until greedy
  decoding answers it, then to the neediest one.
- The need of a piece of a document, or of a fact with hidden spans (KILM), is the mean over its
  target tokens, which are other ones in each epoch: the least likely of them is never certain.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from fki.config.schema import Config, Options
from fki.core.types import Example, Period
from fki.replay.base import AdaptiveReplay, Epoch
from fki.replay.question_pool import Place, Question, QuestionPool


class PrioritizedOptions(Options):
    """The table `[prioritized]`."""

    ratio: float = Field(2.5, ge=0, le=1000)
    """Places of an epoch beyond the number of new examples, as a multiple of that number."""
    answers: Literal["stored", "model"] = "stored"
    """Answers to old questions: stored ones, or the model's own, as it gave them before the first
    period in which the question was old."""
    capacity: int = Field(10_000, ge=1)
    """Maximum number of old questions in the pool, which then is a uniform sample."""
    growth: float = Field(1.08, ge=1, le=100)
    """Factor of a need for each epoch without a pass."""
    noise: float = Field(0.5, ge=0, le=10)
    """Standard deviation of the noise on the logarithm of a need."""
    floor: float = Field(0.003, gt=0, le=100)
    """Smallest need, in nats."""
    base_need: float = Field(0.01, gt=0, le=100)
    """Need of the base knowledge before its first pass, in nats."""
    lead_every: int = Field(3, ge=0)
    """In every epoch with a multiple of this number, all new questions come first. 0: never."""
    refresh: int = Field(0, ge=0)
    """Epochs before a period's end at which the needs of all old questions are measured anew, by
    forward passes. 0: never."""


class PrioritizedReplay(AdaptiveReplay):
    """New and old questions, the least known first."""

    Options: ClassVar[type[Options]] = PrioritizedOptions
    options: PrioritizedOptions

    def __init__(self, config: Config, options: Any = None) -> None:
        super().__init__(config, options)
        self.pool = QuestionPool(
            self.options.capacity,
            self.options.base_need,
            keeps_answers=self.options.answers == "stored",
            resets=config.reset == "base",
        )
        self._chosen: list[Place] = []  # of the current epoch

    @property
    def answers_by_model(self) -> bool:
        """Are old questions trained with the model's own answers?"""
        return self.options.answers == "model"

    def begin_period(
        self, period: Period, examples: Sequence[Example], review: Sequence[Example], seed: int
    ) -> None:
        """Add the preceding questions to the pool, and remove those that the period answers."""
        self.pool.begin_period(period, examples, review, seed)

    def choose(self, epoch: Epoch) -> Sequence[Example]:
        """The examples of the questions with the greatest needs, each in its next wording."""
        rng = random.Random(f"{epoch.seed}|priority|{epoch.period.name}|{epoch.number}")
        every = self.options.lead_every
        are_behind = every > 0 and (epoch.number + 1) % every == 0
        ranked = [(False, -self._priority(q, rng), q) for q in self.pool.new]
        ranked += [(are_behind, -self._priority(q, rng), q) for q in self.pool.old]
        ranked.sort(key=lambda entry: entry[:2])  # stable: equal needs keep their order
        return self._fill(((q, q.next_wording) for _, _, q in ranked), epoch.examples)

    def sample(self, epoch: Epoch) -> Sequence[Example]:
        """All new questions, and a uniform sample of the pool for the other places."""
        rng = random.Random(f"{epoch.seed}|sample|{epoch.period.name}|{epoch.number}")
        old = rng.sample(self.pool.old, len(self.pool.old))
        turns = ((q, epoch.number % len(q.needs)) for q in (*self.pool.new, *old))
        return self._fill(turns, epoch.examples)

    def old_examples(self) -> list[Example]:
        """The examples of the pool, in each of their wordings."""
        return self.pool.old_examples()

    def stale(self, number: int, epochs: int) -> Sequence[Example]:
        """The old questions in their first wording, once in a period."""
        if not self.options.refresh or number != max(0, epochs - self.options.refresh):
            return ()
        return [e for place in self.pool.old_places() for e in place.question.examples]

    def refresh(self, worst: Sequence[float], mean: Sequence[float]) -> None:
        """Set the needs of the old questions in their first wording."""
        losses = zip(worst, mean, strict=True)
        for place in self.pool.old_places():
            if (need := place.read_need(losses)) is not None:
                place.question.needs[place.wording] = need

    def hear(self, worst: Sequence[float], mean: Sequence[float]) -> None:
        """Set the needs of the trained questions; those of the others grow."""
        found: dict[tuple[int, int], float] = {}
        losses = zip(worst, mean, strict=True)
        for place in self._chosen:
            if (need := place.read_need(losses)) is not None:
                found[id(place.question), place.wording] = need
        for question in self.pool.questions:
            question.needs = [
                found.get((id(question), wording), need * self.options.growth)
                for wording, need in enumerate(question.needs)
            ]
        self._chosen = []

    def state(self) -> Mapping[str, Sequence[float]]:
        """The needs in nats, of the pool's questions and then of the period's, by wording."""
        return {"needs": self.pool.needs()}

    def load_state(self, state: Mapping[str, Sequence[float]]) -> None:
        """Take over stored needs. Raises DataError if they are not those of the same questions."""
        self.pool.load_needs(state.get("needs", ()))

    def _priority(self, question: Question, rng: random.Random) -> float:
        need = max(question.needs[question.next_wording], self.options.floor)
        return need * math.exp(rng.gauss(0.0, self.options.noise))

    def _fill(
        self, turns: Iterable[tuple[Question, int]], examples: Sequence[Example]
    ) -> Sequence[Example]:
        """The examples of the first questions, each in a wording, up to the number of places.

        Args:
            examples: of the period, as the method trains them in this epoch.
        """
        forms = {(e.id, e.piece): e for e in examples}
        left = round((1 + self.options.ratio) * len(examples))
        self._chosen, chosen = [], list[Example]()
        for question, wording in turns:
            answers = question.examples
            if len(answers) <= left:
                left -= len(answers)
                found = [forms.get((e.id, e.piece), e).in_wording(wording) for e in answers]
                is_masked = found[0].is_text or found[0].infilling is not None
                self._chosen.append(Place(question, wording, is_masked))
                chosen += found
            if left == 0:
                break
        return chosen
