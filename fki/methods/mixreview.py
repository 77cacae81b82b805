"""Mix-review: each epoch adds a shrinking share of old examples (He et al., 2021).

Epoch e of a period with |D| examples has, beside them, n_e = ratio * decay^e * |D| old ones, drawn
anew each epoch. Fractions of an example are carried over to the next epoch and period, so that
periods of one example get their share too. Two sources of old examples:

`buffer`: a reservoir (Vitter, 1985, algorithm R), uniform over the base knowledge, where the
dataset has it, and all that the stream has shown before the current period. What a period answers
anew leaves it, so that no outdated answer is taught again. CFInjectBench's buffer, which is
`invariant_only`, was drawn from after the current period had entered it, and once a period.

`corpus`: a file of old text, CKL's way, with its ratio 4 and decay 0.7. There the decay never took
effect: the first epoch's data loader was kept for all of them.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.types import Example, Period
from fki.methods import base

# The properties of Wikidata that CKL and CFInjectBench list as time-invariant.
INVARIANT = (
    "P19 P20 P279 P37 P449 P47 P138 P364 P527 P176 P27 P407 P30 P178 P1376 P131 P1412 P17 P276 "
    "P937 P140 P103 P190 P1001 P495 P36 P740 P361"
)


class MixReviewOptions(base.Options):
    """The table `[mixreview]`."""

    source: Literal["buffer", "corpus"] = "buffer"
    """Where old examples come from: what was known and shown before, or a file of old text."""
    ratio: float = Field(0.1, ge=0)
    """Old examples in the first epoch, as a multiple of the period's."""
    decay: float = Field(1.0, gt=0, le=1)
    """What the share is multiplied with from one epoch to the next."""
    capacity: int = Field(10_000, ge=1)
    """How many old examples the buffer holds at most."""
    invariant_only: bool = False
    """Only examples of `invariant_relations`, and time-invariant base facts, enter the buffer."""
    invariant_relations: list[str] = Field(INVARIANT.split())
    """What counts as time-invariant."""
    corpus: str = ""
    """The file of old text: .jsonl or .csv, with rows as in a dataset's stream, dates left out."""


@dataclass
class Reservoir:
    """A uniform sample of at most `capacity` of the examples that were added (algorithm R)."""

    capacity: int
    examples: list[Example] = field(default_factory=list)
    seen: int = 0

    def add(self, examples: Sequence[Example], rng: random.Random) -> None:
        """Add examples; each one ever added is as likely to be kept as any other."""
        for example in examples:
            self.seen += 1
            if len(self.examples) < self.capacity:
                self.examples.append(example)
            elif (slot := rng.randrange(self.seen)) < self.capacity:
                self.examples[slot] = example

    def forget(self, sources: set[str]) -> None:
        """Drop the examples that ask these questions; the rest stays uniform."""
        kept = [e for e in self.examples if e.source not in sources]
        if self.examples:
            self.seen = round(self.seen * len(kept) / len(self.examples))
        self.examples = kept


class MixReview(base.Method):
    """Fine-tuning on new examples and some old ones."""

    table: ClassVar[str] = "mixreview"
    Options: ClassVar[type[base.Options]] = MixReviewOptions
    options: MixReviewOptions

    def __init__(self, config: Config, options: MixReviewOptions | None = None) -> None:
        super().__init__(config, options)
        self.reservoir = Reservoir(self.options.capacity)
        self._current: Period | None = None
        self._begun = 0  # epochs of the current period
        self._owed = 0.0  # the fraction of an example that earlier periods left over

    @property
    def corpus(self) -> str:
        """The file of old text, "" where the buffer is the source."""
        return self.options.corpus

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """The model as it is. Raises ConfigError where source and corpus do not agree."""
        if (self.options.source == "corpus") != bool(self.options.corpus):
            raise ConfigError(
                "mixreview.source = 'corpus' needs mixreview.corpus, a file of old text, and only "
                f"it reads one; source is '{self.options.source}', corpus '{self.options.corpus}'.",
                hint="Add: --set mixreview.source=corpus --set mixreview.corpus=old.jsonl",
            )
        return super().prepare(model)

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        """The period's examples and n_e old ones; periods must come in the stream's order."""
        if period is not self._current:
            self._enter(period, review, seed)
        self._begun = max(self._begun, epoch + 1)
        old = review if self.options.source == "corpus" else self.reservoir.examples
        wanted = self.count(len(period.examples), epoch)
        rng = random.Random(f"{seed}|review|{period.name}|{epoch}")
        return [*period.examples, *rng.sample(old, min(wanted, len(old)))]

    def count(self, examples: int, epoch: int) -> int:
        """n_e of a period of so many examples, with what earlier epochs and periods left over."""
        before, after = (self._share(examples, epochs) for epochs in (epoch, epoch + 1))
        return math.floor(after) - math.floor(before)

    def _share(self, examples: int, epochs: int) -> float:
        """What so many epochs may review in all; rounded, so that ten tenths are one."""
        factors = sum(self.options.decay**e for e in range(epochs))
        return round(self._owed + self.options.ratio * factors * examples, 9)

    def _enter(self, period: Period, review: Sequence[Example], seed: int) -> None:
        """Put what came before this period into the buffer, and take out what it answers anew."""
        left = self._current
        if left is not None:
            self._owed = self._share(len(left.examples), self._begun) % 1
        if self.options.source == "buffer":
            rng = random.Random(f"{seed}|buffer|{period.name}")
            self.reservoir.add(self._lasting(review if left is None else left.examples), rng)
            self.reservoir.forget({e.source for e in period.examples})
        self._current, self._begun = period, 0

    def _lasting(self, examples: Sequence[Example]) -> Sequence[Example]:
        """What may enter the buffer."""
        if not self.options.invariant_only:
            return examples
        relations = set(self.options.invariant_relations)
        return [e for e in examples if e.is_invariant or e.relation in relations]
