"""A period's course: what its epochs train on, and the step at which its budget is used up.

All methods get the same budget. A step is begun while less than each limit is used, so that the
last one may pass it by less than a step. Steps, tokens and operations follow from the batches, so
the course is known before the period starts and schedules fit it; of seconds nothing is known.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fki.config.schema import Budget, Config
from fki.core.types import Example, Period
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.modeling.flops import FlopEstimator, FlopMeter
from fki.training.batching import Batcher, derive_seed


@dataclass(slots=True)
class BudgetUsage:
    """What a period's training has used."""

    steps: int = 0
    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0

    def reached(self, budget: Budget) -> bool:
        """Is a limit used up?"""
        limits = budget.model_dump()
        return any(limit and getattr(self, name) >= limit for name, limit in limits.items())


class PeriodPlan(NamedTuple):
    """The epochs that a period begins; the last one may be cut short."""

    epochs: list[Sequence[Example]]
    lengths: list[int]  # optimizer steps of each
    used: BudgetUsage  # tokens and operations only where they were counted
    is_cut: bool  # does the budget leave out steps that the epochs would have had?

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return sum(self.lengths)


@dataclass(frozen=True)
class PeriodPlanner:
    """Says the course of each period."""

    config: Config
    encoder: ExampleTokenizer
    cutter: Batcher
    work: FlopEstimator

    @property
    def counts(self) -> bool:
        """Must the batches be gone through to know where a period ends?"""
        return bool(self.config.budget.tokens or self.config.budget.flops)

    def of(
        self,
        period: Period,
        mixed: Callable[[int], Sequence[Example]],
        *,
        counts: bool = False,
    ) -> PeriodPlan:
        """The course of a period.

        Args:
            mixed: what an epoch trains on; asked in order, and only for epochs that begin.
            counts: go through all batches, so that `used` tells tokens and operations.
        """
        course = PeriodPlan([], [], BudgetUsage(), False)
        meter = self.work.new_meter() if counts or self.counts else None
        for epoch in range(self.config.num_train_epochs):
            if course.used.reached(self.config.budget):
                return course._replace(is_cut=True)
            examples = mixed(epoch)
            full = self.cutter.steps(self.encoder.count_examples(examples))
            taken = self._take(period, epoch, examples, course.used, meter) if meter else full
            if not meter:
                limit = self.config.budget.steps or math.inf
                taken = int(min(full, limit - course.used.steps))
                course.used.steps += taken
            course.epochs.append(examples)
            course.lengths.append(taken)
            if taken < full:
                return course._replace(is_cut=True)
        return course

    def _take(
        self,
        period: Period,
        epoch: int,
        examples: Sequence[Example],
        used: BudgetUsage,
        meter: FlopMeter,
    ) -> int:
        """Steps of an epoch until the budget is used up; what they use is added."""
        encoded = self.encoded(period, epoch, examples)
        for number, batch in enumerate(self.cutter.batches(len(encoded), period.name, epoch)):
            if used.reached(self.config.budget):
                return number
            some = [encoded[i] for i in batch]
            used.steps += 1
            used.tokens += sum(len(e.source) + len(e.target) for e in some)
            used.flops += meter.count(some)
        return self.cutter.steps(len(encoded))

    def encoded(
        self, period: Period, epoch: int, examples: Sequence[Example]
    ) -> list[TokenizedExample]:
        """An epoch's examples as tokens; what is hidden in texts follows from period and epoch."""
        seed = derive_seed(self.config.seed, "text", period.name, epoch)
        return self.encoder.encode(examples, seed)

    def expected(self, period: Period) -> int:
        """Steps of a period, but for what a method mixes in."""
        examples = period.examples
        if self.counts:
            return self.of(period, lambda epoch: examples).steps
        all_epochs = (
            self.cutter.steps(self.encoder.count_examples(examples)) * self.config.num_train_epochs
        )
        return min(all_epochs, self.config.budget.steps or all_epochs)
