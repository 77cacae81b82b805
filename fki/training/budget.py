"""Plan a period's training: the examples of its epochs, and the step at which its budget ends.

All methods get the same budget. A step starts while the usage is below every limit; the last step
may exceed a limit by less than one step. Steps, tokens and operations follow from the batches, so
the plan is known before training and learning-rate schedules fit it. Seconds are not known before.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fki.config.schema import Budget, Config
from fki.core.types import Example, Period
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.lazy_sequence import LazySequence
from fki.modeling.flops import FlopEstimator, FlopMeter
from fki.training.batching import Batcher, derive_seed
from fki.training.coreset import Coreset


@dataclass(slots=True)
class BudgetUsage:
    """Resources that the training of a period uses."""

    steps: int = 0
    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0

    def has_reached(self, budget: Budget) -> bool:
        """Has the usage reached any limit?"""
        limits = budget.model_dump()
        return any(limit and getattr(self, name) >= limit for name, limit in limits.items())


class PeriodStart(NamedTuple):
    """The meter of a period, and the operations before its first step."""

    meter: FlopMeter
    flops: float


class PeriodPlan(NamedTuple):
    """The epochs that a period starts; the budget may end the last one early."""

    epochs: list[Sequence[Example]]
    epoch_steps: list[int]  # optimizer steps of each epoch
    usage: BudgetUsage  # tokens and operations only if they were counted
    is_cut: bool  # does the budget leave out steps of the configured epochs?

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole period."""
        return sum(self.epoch_steps)


@dataclass(frozen=True)
class PeriodPlanner:
    """Plans each period."""

    config: Config
    tokenizer: ExampleTokenizer
    batcher: Batcher
    flop_estimator: FlopEstimator
    coreset: Coreset

    @property
    def must_count(self) -> bool:
        """Does the end of a period depend on the contents of its batches?"""
        return bool(self.config.budget.tokens or self.config.budget.flops)

    def plan(
        self,
        period: Period,
        mix: Callable[[int], Sequence[Example]],
        *,
        count_usage: bool = False,
        start: PeriodStart | None = None,
        count_untrained: Callable[[int, FlopMeter], float] = lambda epoch, meter: 0.0,
    ) -> PeriodPlan:
        """Plan one period.

        Args:
            mix: returns the examples of an epoch; called in order, for each epoch that starts.
            count_usage: go through all batches to count tokens and operations.
            start: the meter and the operations before the first step, if not a new one and 0.
            count_untrained: the operations of forward passes before an epoch.
        """
        start = start or PeriodStart(self.flop_estimator.new_meter(), 0.0)
        plan = PeriodPlan([], [], BudgetUsage(flops=start.flops), False)
        meter = start.meter if count_usage or self.must_count else None
        for epoch in range(self.config.num_train_epochs):
            if plan.usage.has_reached(self.config.budget):
                return plan._replace(is_cut=True)
            examples = self.in_turn(mix(epoch), epoch)
            full = self.batcher.steps_per_epoch(self.tokenizer.count_examples(examples))
            if meter:
                flops = count_untrained(epoch, meter)
                steps = self._count_steps(period, epoch, examples, plan.usage, meter, flops)
            else:
                limit = self.config.budget.steps or math.inf
                steps = int(min(full, limit - plan.usage.steps))
                plan.usage.steps += steps
            plan.epochs.append(examples)
            plan.epoch_steps.append(steps)
            if steps < full:
                return plan._replace(is_cut=True)
        return plan

    def _count_steps(
        self,
        period: Period,
        epoch: int,
        examples: Sequence[Example],
        usage: BudgetUsage,
        meter: FlopMeter,
        flops: float,
    ) -> int:
        """The steps of an epoch that the budget allows; adds their costs to `usage`.

        Args:
            flops: operations of the first step beside its own.
        """
        tokenized = self.tokenize(period, epoch, examples)
        batches = self.batcher.iter_indices(len(tokenized), period.name, epoch)
        for number, indices in enumerate(batches):
            if usage.has_reached(self.config.budget):
                return number
            whole = [tokenized[i] for i in indices]
            place = self.coreset.place(epoch, number)
            batch = self.coreset.preview(whole, period.name, place)
            usage.steps += 1
            usage.tokens += sum(len(e.source) + len(e.target) for e in batch)
            usage.flops += flops + meter.count(batch, whole)
            flops = 0.0
            if number % self.config.repeat_num == 0:
                usage.flops += self.coreset.count_flops(whole)
        return self.batcher.steps_per_epoch(len(tokenized))

    def in_turn(self, examples: Sequence[Example], epoch: int) -> Sequence[Example]:
        """An epoch's examples in the wordings of its turn, read again on each iteration."""
        if self.config.wordings == 1:
            return examples
        return LazySequence(len(examples), lambda: (e.in_wording(epoch) for e in examples))

    def tokenize(
        self, period: Period, epoch: int, examples: Sequence[Example]
    ) -> list[TokenizedExample]:
        """Tokenize an epoch's examples; spans of documents are masked anew in each epoch."""
        seed = derive_seed(self.config.seed, "text", period.name, epoch)
        return self.tokenizer.encode(examples, seed)

    def expected_steps(self, period: Period) -> int:
        """Optimizer steps of a period, without the examples that a method mixes in."""
        examples = period.examples
        if self.must_count:
            return self.plan(period, lambda epoch: examples).steps
        per_epoch = self.batcher.steps_per_epoch(self.tokenizer.count_examples(examples))
        all_epochs = per_epoch * self.config.num_train_epochs
        return min(all_epochs, self.config.budget.steps or all_epochs)
