"""The epochs of an adaptive replay policy: chosen when they begin, heard when they end.

The policy's state changes only between epochs. A checkpoint within an epoch therefore stores the
state at its beginning, which determines the same choice again, and the losses so far.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fki.core.errors import DataError
from fki.core.types import Example, Period
from fki.data.collator import TokenizedExample
from fki.methods.base import Method
from fki.modeling.encoder_cache import CachedStates, EncoderCache, source_key
from fki.modeling.flops import FlopMeter
from fki.replay.base import AdaptiveReplay, Epoch
from fki.training.batching import OptimizerBatch, TrainingBatch
from fki.training.budget import BudgetUsage, PeriodPlanner, PeriodStart
from fki.training.loss_record import LossRecord, measure_losses
from fki.training.own_answers import OwnAnswers

Select = Callable[[OptimizerBatch, str, int, int, FlopMeter], TrainingBatch]
"""Of a batch, its period, epoch and step: the part that is trained."""

CACHE_GROUP = "replayed"  # in the encoder cache; it is kept over the periods
POLICY = "policy."  # prefix of the policy's tensors in a checkpoint


class AdaptiveEpochs:
    """Where a period stands: the open epoch, its examples and their losses so far."""

    def __init__(
        self,
        replay: AdaptiveReplay,
        method: Method,
        planner: PeriodPlanner,
        model: nn.Module,
        review: Sequence[Example],
        accelerator: Accelerator,
        encoder_cache: EncoderCache | None,
    ) -> None:
        """
        Args:
            model: without a wrapper for several processes; its losses are measured, and it answers
                old questions where the policy does not store their answers.
            review: older examples for the policy.
            encoder_cache: outputs of the frozen encoder, read instead of running it.
        """
        self.replay, self.method, self.planner = replay, method, planner
        self.review, self.accelerator, self.encoder_cache = review, accelerator, encoder_cache
        self.model = model
        self.tokenizer, self.config = planner.tokenizer, planner.config
        self.answers: OwnAnswers | None = None
        if replay.answers_by_model:
            parts = self.tokenizer, self.config, accelerator, encoder_cache
            self.answers = OwnAnswers(model, *parts)
        self.epoch = 0  # the open one, or the next one to open
        self.steps_before = 0  # optimizer steps of the period before this epoch
        self.record: LossRecord | None = None  # of the open epoch
        self.sources: list[list[int]] = []  # questions that the period may train, as token ids
        self.earlier_sources: set[bytes] = set()  # keys of those of the preceding period
        self._cached: CachedStates | None = None  # states of the sources
        self._saved: Tensor | None = None  # the record of a checkpoint, until its epoch is opened
        self._seconds = 0.0  # of forward passes without training, until `take_seconds`
        self._period: Period | None = None

    @property
    def has_begun(self) -> bool:
        """Has a period begun?"""
        return self._period is not None

    def begin_period(self, period: Period) -> None:
        """Bring the policy to the period; a repeated call has no effect."""
        if period is self._period:
            return
        pieces = self.tokenizer.split_into_pieces(period.examples)
        self.replay.begin_period(period, pieces, self.review, self.config.seed)
        self.earlier_sources = set(map(source_key, self.sources))
        old = [e.source for e in self.replay.old_examples() if not e.is_text]
        new = [source for e in pieces if not e.is_text for source in e.sources]
        self.sources = self.tokenizer.tokenize_sources([*dict.fromkeys((*old, *new))])
        self.epoch, self.steps_before, self.record, self._saved = 0, 0, None, None
        self._period = period

    def cache_sources(self) -> CachedStates | None:
        """Cache the encoder's outputs for the questions of the period; None if they do not fit."""
        if self.encoder_cache:
            self._cached = self.encoder_cache.replace(CACHE_GROUP, self.sources)
        return self._cached

    def start_meter(self) -> PeriodStart:
        """A meter for which the period's questions are cached, and the operations of caching."""
        meter = self.planner.flop_estimator.new_meter()
        if not meter.is_stateful:
            return PeriodStart(meter, 0.0)
        return PeriodStart(meter, meter.mark_cached(self.sources, self.earlier_sources))

    def count_untrained(self, epoch: int, meter: FlopMeter) -> float:
        """The operations of measuring losses before an epoch, at most: for plans."""
        examples = self.replay.stale(epoch, self.config.num_train_epochs)
        return meter.count_forward(self.tokenizer.encode(examples)) if examples else 0.0

    def sample(self, period: Period, examples: Sequence[Example], number: int) -> Sequence[Example]:
        """As many examples as the epoch will have, for plans."""
        return self.replay.sample(self._make_epoch(period, examples, number))

    def iter_epochs(
        self, period: Period, used: BudgetUsage, select: Select
    ) -> Iterator[Iterator[TrainingBatch]]:
        """The rest of a period, epoch by epoch; each must be trained before the next is requested.

        Args:
            used: by the steps that are done already; the steps of the batches are added to it.
            select: the part of a batch that is trained, with its cost.
        """
        meter, flops = self.start_meter()
        # of the next batch, beside its own
        flops = 0.0 if used.steps else flops + self._answer_old_questions(period, meter)
        while self.epoch < self.config.num_train_epochs:
            if used.has_reached(self.config.budget) and used.steps == self.steps_before:
                return
            number, seed = self.epoch, self.config.seed
            flops += self._refresh(period, meter)
            mixed = self.method.mix(period, self.review, number, seed)
            chosen = self.replay.choose(self._make_epoch(period, mixed, number))
            examples = self.answers.fill(chosen) if self.answers else chosen
            tokenized = self.planner.tokenize(period, number, examples)
            self._start_record(len(examples))
            done = used.steps - self.steps_before
            batches = self.planner.batcher.iter_batches(tokenized, period.name, number, done)
            selected = (
                select(batch, period.name, number, step, meter)
                for step, batch in enumerate(batches, done)
            )
            yield self._count_batches(selected, flops, used)
            flops = 0.0
            self.close_epoch(used.steps)

    def begin_step(self, examples: Sequence[TokenizedExample]) -> None:
        """The losses of these examples are recorded anew: those of a batch, over all processes."""
        if self.record is not None:
            self.record.restart(examples)

    def add_losses(self, members: Sequence[TokenizedExample], nats: Tensor) -> None:
        """Record a forward pass of the open epoch; `nats` [scored tokens]."""
        assert self.record is not None
        self.record.add(members, nats)

    def close_epoch(self, steps: int) -> None:
        """The policy hears the losses of the open epoch, if there is one.

        Args:
            steps: optimizer steps of the period up to here.
        """
        if self.record is not None:
            worst, mean = self.record.gather(self.accelerator).losses()
            self.replay.hear(worst.tolist(), mean.tolist())
            self.epoch, self.steps_before, self.record = self.epoch + 1, steps, None

    def take_seconds(self) -> float:
        """Seconds since the last call that forward passes without training took."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint; all processes call it."""
        state = {
            f"{POLICY}{name}": torch.tensor(values, dtype=torch.float64)
            for name, values in self.replay.state().items()
        }
        state["epoch"] = torch.tensor([self.epoch, self.steps_before])
        if self.record is not None:
            state["record"] = self.record.gather(self.accelerator).sums
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a stored state, after `begin_period`. Raises DataError if it does not fit."""
        policy = {n.removeprefix(POLICY): t for n, t in state.items() if n.startswith(POLICY)}
        self.replay.load_state({name: tensor.tolist() for name, tensor in policy.items()})
        try:
            self.epoch, self.steps_before = state["epoch"].tolist()
        except (KeyError, ValueError):
            raise DataError("The state of the replay in the checkpoint is damaged.") from None
        self._saved = state.get("record")

    def _make_epoch(self, period: Period, examples: Sequence[Example], number: int) -> Epoch:
        pieces = self.tokenizer.split_into_pieces(examples)
        return Epoch(period, number, pieces, self.review, self.config.seed)

    def _refresh(self, period: Period, meter: FlopMeter) -> float:
        """Measure the losses that the policy needs for the next epoch; the operations of that.

        A run that resumes within the epoch has done so: the checkpoint has the policy's state.
        """
        examples = self.replay.stale(self.epoch, self.config.num_train_epochs)
        if not examples or self._saved is not None:
            return 0.0
        began = time.perf_counter()
        examples = self.answers.fill(examples) if self.answers else examples
        passes = self.planner.tokenize(period, self.epoch, examples)
        batch = self.planner.batcher.collate(passes)
        weights = self.config.scoring_weights
        parts = weights, self.accelerator, self.encoder_cache, self._cached
        worst, mean = measure_losses(self.model, batch, *parts).losses()
        self.replay.refresh(worst.tolist(), mean.tolist())
        self._seconds += time.perf_counter() - began
        return meter.count_forward(passes)

    def _start_record(self, examples: int) -> None:
        """Record losses of the open epoch from now on, after those of a checkpoint."""
        self.record = LossRecord.of_size(examples, self.accelerator.device)
        if self._saved is not None and self.accelerator.is_main_process:
            self.record.sums += self._saved.to(self.record.sums.device)
        self._saved = None

    def _answer_old_questions(self, period: Period, meter: FlopMeter) -> float:
        """Let the model answer them before the period, if the policy needs it; the operations."""
        if self.answers is None:
            return 0.0
        began = time.perf_counter()
        old = self.replay.old_examples()
        passes = self.answers.begin_period(period.examples, old, self._cached)
        self._seconds += time.perf_counter() - began
        return meter.count_forward(passes)

    def _count_batches(
        self, batches: Iterator[TrainingBatch], flops: float, used: BudgetUsage
    ) -> Iterator[TrainingBatch]:
        """Batches, whose cost is added to `used`, up to the end of the budget.

        Args:
            flops: operations of the first batch beside its own.
        """
        while not used.has_reached(self.config.budget) and (item := next(batches, None)):
            item = item._replace(flops=flops + item.flops)
            flops = 0.0
            used.steps += 1
            used.tokens += sum(len(e.source) + len(e.target) for e in item.batch.examples)
            used.flops += item.flops
            yield item
