"""Uniform replay: each epoch adds a shrinking share of old examples, as in Mix-review.

He et al. (2021), "Analyzing the forgetting problem in pretrain-finetuning of open-domain dialogue
response models". Epoch e of a period with |D| examples adds n_e = ratio * decay^e * |D| old
examples, drawn anew in each epoch. Fractions of an example carry over to the next epoch and period,
so that periods of a single example review too. There are two sources of old examples:

`buffer`: a reservoir sample, uniform over the dataset's base knowledge
and all earlier periods, or over the base knowledge alone if the weights are reset before each
period. Examples whose question the current period answers are removed, so that no
outdated answer is trained again. CFInjectBench (`invariant_only`) sampled its buffer after adding
the current period, and once for each period.

`corpus`: a file of old text, as in CKL, with its ratio 4 and decay 0.7. In CKL's code the decay had
no effect: the data loader of the first epoch served all epochs.
"""

import math
import random
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from fki.config.schema import Config, Options
from fki.core.errors import ConfigError
from fki.core.normalization import normalize_text
from fki.core.types import Example, Period
from fki.replay.base import Epoch, Replay
from fki.replay.reservoir import Reservoir

# The properties of Wikidata that CKL and CFInjectBench list as time-invariant.
INVARIANT = (
    "P19 P20 P279 P37 P449 P47 P138 P364 P527 P176 P27 P407 P30 P178 P1376 P131 P1412 P17 P276 "
    "P937 P140 P103 P190 P1001 P495 P36 P740 P361"
)


class UniformOptions(Options):
    """The table `[mixreview]`."""

    source: Literal["buffer", "corpus"] = "buffer"
    """Source of old examples: base knowledge and earlier periods, or a file of old text."""
    ratio: float = Field(0.1, ge=0)
    """Old examples in the first epoch, as a multiple of the period's."""
    decay: float = Field(1.0, gt=0, le=1)
    """Factor of the ratio from one epoch to the next."""
    capacity: int = Field(10_000, ge=1)
    """Maximum number of examples in the buffer."""
    invariant_only: bool = False
    """Buffer only examples of `invariant_relations` and time-invariant base facts."""
    invariant_relations: list[str] = Field(INVARIANT.split())
    """Relations that count as time-invariant."""
    corpus: str = ""
    """File of old text: .jsonl or .csv, with rows as in a dataset's stream, without dates."""


class UniformReplay(Replay):
    """The period's examples and a share of old ones."""

    Options: ClassVar[type[Options]] = UniformOptions
    options: UniformOptions

    def __init__(self, config: Config, options: UniformOptions | None = None) -> None:
        """Raises ConfigError if `source` and `corpus` contradict each other."""
        super().__init__(config, options)
        self.reservoir = Reservoir[Example](self.options.capacity)
        self._current: Period | None = None
        self._epochs = 0  # started in the current period
        self._carry = 0.0  # the fraction of an example left over by earlier periods
        if (self.options.source == "corpus") != bool(self.options.corpus):
            raise ConfigError(
                "mixreview.corpus, a file of old text, must be set exactly if mixreview.source = "
                f"'corpus'; source is '{self.options.source}', corpus '{self.options.corpus}'.",
                hint="Add: --set mixreview.source=corpus --set mixreview.corpus=old.jsonl",
            )

    @property
    def corpus(self) -> str:
        """The file of old text; "" for the buffer."""
        return self.options.corpus

    def choose(self, epoch: Epoch) -> Sequence[Example]:
        """The period's examples and n_e old ones; periods must come in the stream's order."""
        period, number = epoch.period, epoch.number
        if period is not self._current:
            self._start_period(period, epoch.review, epoch.seed)
        self._epochs = max(self._epochs, number + 1)
        old = epoch.review if self.options.source == "corpus" else self.reservoir.items
        size = self.review_size(len(period.examples), number)
        rng = random.Random(f"{epoch.seed}|review|{period.name}|{number}")
        return [*epoch.examples, *rng.sample(old, min(size, len(old)))]

    def review_size(self, examples: int, epoch: int) -> int:
        """n_e for a period of this many examples, with the fractions carried over."""
        before, after = (self._allowance(examples, epochs) for epochs in (epoch, epoch + 1))
        return math.floor(after) - math.floor(before)

    def _allowance(self, examples: int, epochs: int) -> float:
        """Old examples over this many epochs in total; rounded, so that ten tenths are one."""
        factors = sum(self.options.decay**e for e in range(epochs))
        return round(self._carry + self.options.ratio * factors * examples, 9)

    def _start_period(self, period: Period, review: Sequence[Example], seed: int) -> None:
        """Buffer the preceding examples, and remove those that this period answers or ends."""
        previous = self._current
        if self.config.reset == "base":  # each period is trained as if it were the first
            previous = None
            self.reservoir = Reservoir[Example](self.options.capacity)
        if previous is not None:
            self._carry = self._allowance(len(previous.examples), self._epochs) % 1
        if self.options.source == "buffer":
            rng = random.Random(f"{seed}|buffer|{period.name}")
            preceding = review if previous is None else previous.examples
            self.reservoir.add(self._select(preceding), rng)
            answered = {normalize_text(e.source) for e in period.examples}
            self.reservoir.remove(
                lambda old: normalize_text(old.source) in answered or not old.holds_after(period)
            )
        self._current, self._epochs = period, 0

    def _select(self, examples: Sequence[Example]) -> Sequence[Example]:
        """The examples that may enter the buffer."""
        if not self.options.invariant_only:
            return examples
        relations = set(self.options.invariant_relations)
        return [e for e in examples if e.is_invariant or e.relation in relations]
