"""The training loop, over Accelerate: trains one period at a time and yields every optimizer step.

An optimizer batch has `train_batch_size` x `ngpu` x `gradient_accumulation_steps` examples. Its
gradient is that of the mean loss over all target tokens, however the batch is split. Order and
dropout depend only on (seed, period, epoch or step), so a period resumes at any step with the same
results.

On a GPU the loop starts several steps before it reads a loss, because reading waits for the device.
Gradients are clipped by their global norm. If memory runs out, micro-batches are halved and the
step is computed again.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from fki.config.schema import Config
from fki.core.errors import FkiError
from fki.core.types import Batch, Example, Period, Step
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.methods.base import Method, trainable_parameters
from fki.methods.snapshot import Snapshot
from fki.modeling import sharding, zero
from fki.modeling.architecture import architecture_of
from fki.modeling.encoder_cache import CachedStates, EncoderCache
from fki.modeling.flops import FlopEstimator, FlopMeter
from fki.modeling.zero import ZeroEngine, ZeroState
from fki.replay.base import AdaptiveReplay, Epoch, Replay, make_replay
from fki.training.adaptive_epochs import AdaptiveEpochs
from fki.training.batching import Batcher, OptimizerBatch, TrainingBatch, derive_seed
from fki.training.budget import BudgetUsage, PeriodPlan, PeriodPlanner
from fki.training.coreset import Coreset
from fki.training.lr_schedule import LinearWarmupDecay

MAX_PENDING_STEPS = 8  # steps that a GPU computes before their losses are read
MAX_SKIPPED_STEPS = 10  # consecutive steps that `on_nan = "skip"` skips before it gives up
MAX_NAMED_EXAMPLES = 5  # examples of a batch that an error names
TRAINING_GROUP = "trained"  # the current period's group in the encoder cache


class PendingStep(NamedTuple):
    """An optimizer step whose loss may still be on the device."""

    loss_and_norm: Tensor  # [2]
    learning_rate: float
    note: str


class Trainer:
    """Trains a prepared model on one period after another."""

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        config: Config,
        tokenizer: ExampleTokenizer,
        accelerator: Accelerator,
        review: Sequence[Example] = (),
        encoder_cache: EncoderCache | None = None,
        replay: Replay | None = None,
    ) -> None:
        """
        Args:
            review: older examples for replay.
            encoder_cache: outputs of the frozen encoder, read instead of running it.
            replay: the replay policy; by default the configured one.
        """
        self.method, self.config, self.tokenizer = method, config, tokenizer
        self.accelerator, self.review, self.encoder_cache = accelerator, review, encoder_cache
        self.replay = replay or make_replay(config)
        self.unwrapped = model
        self.architecture = architecture_of(model)
        is_distributed = method.trains and accelerator.num_processes > 1
        self.uses_deepspeed = is_distributed and zero.stage_of(config.sharding) > 0
        self.uses_fsdp = is_distributed and config.sharding.startswith("fsdp")
        if not self.uses_fsdp:  # a device need not have room for a model that is sharded
            model.to(accelerator.device)
        is_packed = method.supports_packing and self.architecture.can_pack(model)
        estimator = FlopEstimator(model, encoder_cache, method.extra_forward_passes)
        self.model = self._distribute(model, estimator)
        self.batcher = Batcher(tokenizer, config, accelerator, is_packed=is_packed)
        self.coreset = Coreset(model, config, tokenizer, accelerator, estimator)
        self.planner = PeriodPlanner(config, tokenizer, self.batcher, estimator, self.coreset)
        self.base = Snapshot.take(model) if config.reset == "base" else None
        self.optimizer: torch.optim.Optimizer | None = None
        self.engine: ZeroEngine | None = None  # DeepSpeed's, of the current optimizer
        self.cached_states: CachedStates | None = None  # of the current period
        self.adaptive: AdaptiveEpochs | None = None  # of an adaptive replay policy
        if isinstance(self.replay, AdaptiveReplay):
            self.adaptive = AdaptiveEpochs(
                self.replay, method, self.planner, model, review, accelerator, encoder_cache
            )
        self._extra_seconds = 0.0  # of encoder cache and selections, counted with the next step
        self.is_within_period = False  # has a period's first step been prepared, and its last not?
        # a step's loss decides whether it is skipped or the last, before the next step starts
        reads_each_loss = config.on_nan == "skip" or config.budget.seconds > 0
        # a coreset may be selected with the weights after the step before
        waits = reads_each_loss or not self.coreset.is_pure
        can_run_ahead = accelerator.device.type == "cuda" and not waits
        self.max_pending = MAX_PENDING_STEPS if can_run_ahead else 1

    def _distribute(self, model: nn.Module, estimator: FlopEstimator) -> nn.Module:
        """The model to train: sharded, or wrapped by Accelerate."""
        accelerator = self.accelerator
        if self.uses_fsdp or self.uses_deepspeed:
            _ = estimator.costs  # by a pass over whole weights
            if self.uses_fsdp:
                sharding.distribute(model, accelerator, self.config.sharding)
            return model  # `_open_engine` lets DeepSpeed shard it
        # without trainable parameters there are no gradients to reduce over processes
        wrapped = accelerator.prepare_model(model, evaluation_mode=not self.method.trains)
        # prepare_model leaves autocast in the model's forward; scoring has to be fp32
        accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        return wrapped

    def collect_from_engine(self) -> ZeroState | None:
        """Whole weights and optimizer state, for a checkpoint, if DeepSpeed has parts of them.

        All processes call it.
        """
        return self.engine.collect() if self.engine else None

    def plan(self, period: Period, *, count_usage: bool = False) -> PeriodPlan:
        """Plan a period up to the end of its budget; periods must come in order."""
        mix = partial(self._mix, period)
        if not self.adaptive:
            return self.planner.plan(period, mix, count_usage=count_usage)
        self.adaptive.begin_period(period)
        start, count = self.adaptive.start_meter(), self.adaptive.count_untrained
        return self.planner.plan(
            period, mix, count_usage=count_usage, start=start, count_untrained=count
        )

    def skip_period(self, period: Period) -> None:
        """Bring method and replay to the end of a period that was trained before a restart."""
        self.reopen_period(period)
        if self.planner.must_count or self.config.budget.steps:
            self.plan(period)
        else:  # mixing the last epoch has the same effect as mixing all of them
            self._mix(period, self.config.num_train_epochs - 1)

    def reopen_period(self, period: Period) -> None:
        """Bring an adaptive policy to a period in whose middle a run resumes."""
        if self.adaptive:
            self.adaptive.begin_period(period)
            self._fill_encoder_cache(())

    def _mix(self, period: Period, epoch: int) -> Sequence[Example]:
        """An epoch's examples; those of an adaptive policy stand for as many chosen later."""
        seed = self.config.seed
        examples = self.method.mix(period, self.review, epoch, seed)
        if self.adaptive:
            return self.adaptive.sample(period, examples, epoch)
        return self.replay.choose(Epoch(period, epoch, examples, self.review, seed))

    def train_period(
        self,
        period: Period,
        *,
        start: int = 0,
        seconds: float = 0.0,
        tokens: int = 0,
        flops: float = 0.0,
        optimizer_state: dict[int, Any] | None = None,
    ) -> Iterator[Step]:
        """Train on a period until its epochs or its budget end; yield every step.

        On a GPU several steps are yielded after the last of them has run; `Step.is_settled` marks
        those at which the weights are the weights after the step.

        A method that does not train receives the period and takes no step.

        Args:
            start: optimizer steps of this period that are done already.
            seconds: that those steps took.
            tokens: of those steps.
            flops: operations of those steps.
            optimizer_state: saved state by parameter; ignored if the period starts with a fresh
                optimizer.
        Raises:
            FkiError: the loss is NaN or infinite, or a single example does not fit into memory.
        """
        if self.engine and not self.config.reset_optimizer_per_period:
            optimizer_state = self.engine.collect_state()
        self._close_engine()
        plan = self.plan(period)
        if not self.method.trains:
            return
        if start == 0:
            if self.base:
                self.base.restore(self.unwrapped)
            self.method.begin_period(self.unwrapped, period)
            self.coreset.begin_period()
        self.is_within_period = True
        continues = start > 0 or not self.config.reset_optimizer_per_period
        optimizer = self._prepare_optimizer(plan.steps, optimizer_state if continues else None)
        schedule = LinearWarmupDecay(plan.steps if self.config.use_lr_scheduling else 0)
        self._extra_seconds = self._fill_encoder_cache(plan.epochs)  # counted with the first step
        self.model.train()
        step, skipped = start, 0
        used = BudgetUsage(start, tokens, flops, seconds)
        groups = self._iter_groups(period, plan, used)
        while not self._is_out_of_time(seconds) and (group := next(groups, None)):
            began = time.perf_counter()
            pending = [
                self._take_step(item.batch, optimizer, schedule, period.name, step + i)
                for i, item in enumerate(group, 1)
            ]
            # waits for the device
            results = torch.stack([done.loss_and_norm for done in pending]).tolist()
            if self.adaptive:
                self._extra_seconds += self.adaptive.take_seconds()
            duration = (self._extra_seconds + time.perf_counter() - began) / len(group)
            self._extra_seconds, seconds = 0.0, seconds + duration * len(group)
            for item, done, (loss, norm) in zip(group, pending, results, strict=True):
                step, note = step + 1, done.note
                is_finite = math.isfinite(loss) and math.isfinite(norm)
                skipped = 0 if is_finite else skipped + 1
                if not is_finite:
                    place = f"{period.name}, epoch {item.epoch + 1}, step {step} of {plan.steps}"
                    note = self._report_nonfinite(item.batch, place, loss, norm, skipped)
                examples = item.batch.examples
                yield Step(
                    period.name,
                    item.epoch,
                    step,
                    max(step, plan.steps),
                    loss,
                    done.learning_rate,
                    norm,
                    len(examples),
                    sum(len(e.source) + len(e.target) for e in examples),
                    duration,
                    note,
                    is_settled=done is pending[-1],
                    flops=item.flops,
                )
        if self.adaptive:
            self.adaptive.close_epoch(step)
        self.is_within_period = False

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint stores beside weights and optimizer; all processes call it."""
        parts: dict[str, Mapping[str, Tensor]] = {}
        if self.is_within_period or not self.method.trains:
            parts["method"] = self.method.state()
        if self.adaptive:
            parts["replay"] = self.adaptive.state()
            if answers := self.adaptive.answers:
                parts["answers"] = answers.state()
        parts["coreset"] = self.coreset.state()
        return {f"{part}.{n}": t for part, state in parts.items() for n, t in state.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the state of a checkpoint, before the rest of its period is trained.

        Raises DataError if it does not fit the method, the replay policy or the coreset.
        """
        names = ("method", "replay", "answers", "coreset")
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in names}
        for key, tensor in state.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = tensor
        if parts["method"]:
            self.method.load_state(parts["method"])
        if parts["coreset"]:
            self.coreset.load_state(parts["coreset"])
        if self.adaptive and self.adaptive.has_begun:
            self.adaptive.load_state(parts["replay"])
            if self.adaptive.answers and parts["answers"]:
                self.adaptive.answers.load_state(parts["answers"])

    def _iter_groups(
        self, period: Period, plan: PeriodPlan, used: BudgetUsage
    ) -> Iterator[list[TrainingBatch]]:
        """The rest of a period, as many batches at a time as run ahead of the device.

        Args:
            used: by the steps that are done already.
        """
        epochs: Iterator[Iterator[TrainingBatch]]
        if self.adaptive:
            epochs = self.adaptive.iter_epochs(period, used, self._select)
        else:
            epochs = iter([self._iter_batches(period, plan, used.steps)])
        for batches in epochs:
            while group := [*islice(batches, self.max_pending)]:
                yield group

    def _iter_batches(
        self, period: Period, plan: PeriodPlan, start: int
    ) -> Iterator[TrainingBatch]:
        """The period's optimizer batches after the first `start`."""
        meter = self.planner.flop_estimator.new_meter()
        for epoch, (examples, steps) in enumerate(zip(plan.epochs, plan.epoch_steps, strict=True)):
            done = min(start, steps)
            start -= done
            if done == steps and not meter.is_stateful:
                continue
            tokenized = self.planner.tokenize(period, epoch, examples)
            indices = self.batcher.iter_indices(len(tokenized), period.name, epoch)
            for earlier in islice(indices, done):
                meter.count([tokenized[i] for i in earlier])
            batches = self.batcher.iter_batches(tokenized, period.name, epoch, done, steps)
            for number, batch in enumerate(batches, done):
                yield self._select(batch, period.name, epoch, number, meter)

    def _select(
        self, batch: OptimizerBatch, period: str, epoch: int, step: int, meter: FlopMeter
    ) -> TrainingBatch:
        """The part of a batch that is trained, selected with the current weights."""
        if not self.coreset.is_on:
            return TrainingBatch(epoch, batch, meter.count(batch.examples))
        began, whole = time.perf_counter(), batch.examples
        selection = self.coreset.select(whole, period, self.coreset.place(epoch, step))
        self._extra_seconds += time.perf_counter() - began
        chosen = self.batcher.collate([whole[i] for i in selection.indices])
        return TrainingBatch(epoch, chosen, meter.count(chosen.examples, whole) + selection.flops)

    def _take_step(
        self,
        batch: OptimizerBatch,
        optimizer: torch.optim.Optimizer,
        schedule: LinearWarmupDecay,
        period: str,
        step: int,
    ) -> PendingStep:
        """Compute the gradients and update the weights.

        The update is skipped if the loss is read at once and is NaN or infinite.
        """
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * schedule(step - 1)
        rank = self.accelerator.process_index
        seed = derive_seed(self.config.seed, "dropout", period, step, rank)
        loss_and_norm, note = self._compute_gradients(batch, seed)
        if self.max_pending > 1 or bool(loss_and_norm.isfinite().all()):
            if not self.engine:  # which has taken the step
                optimizer.step()
            self.coreset.learn()
        return PendingStep(loss_and_norm, optimizer.param_groups[0]["lr"], note)

    def _compute_gradients(self, batch: OptimizerBatch, seed: int) -> tuple[Tensor, str]:
        """Run `backward`; halve the micro-batches and repeat for as long as memory runs out.

        Returns loss and norm [2], and a note about halved micro-batches. The optimizer batch stays
        the same. Raises FkiError if a single example does not fit.
        """
        note = ""
        while True:
            batch = self.batcher.refit(batch)
            torch.manual_seed(seed)  # of dropout
            try:
                return self.backward(batch), note
            except torch.OutOfMemoryError:
                if self.batcher.max_examples == 1 or self.accelerator.num_processes > 1:
                    raise FkiError(
                        "Out of memory: a forward pass of "
                        f"{self.batcher.max_examples} examples does not fit.",
                        hint="Try a smaller --set train_batch_size=... with a larger "
                        "gradient_accumulation_steps, or mixed_precision=bf16.",
                    ) from None
            self.batcher.halve_micro_batches()
            self._free_memory()
            most = self.batcher.max_examples
            note = f"out of memory: micro-batches have at most {most} examples from now on"

    def backward(self, batch: OptimizerBatch) -> Tensor:
        """Compute and clip the gradients of one optimizer batch.

        DeepSpeed takes the step with it, unless a gradient is NaN or infinite.

        Returns [2] on the device: the loss of the whole batch, and the gradient norm before
        clipping.
        """
        tokens = sum(len(example.target) for example in batch.examples)
        world = self.accelerator.num_processes
        self.coreset.begin_step(batch.examples)
        if self.adaptive:
            self.adaptive.begin_step(batch.examples)
        self.unwrapped.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.accelerator.device)
        parts = zip(batch.micro_batches, batch.members, strict=True)
        for i, (micro_batch, members) in enumerate(parts):
            is_last = i == len(batch.micro_batches) - 1
            with nullcontext() if is_last else self._without_sync():
                with self.accelerator.autocast():
                    loss = self._sum_nll(micro_batch, members)
                self._add_gradients(loss * (world / tokens), is_last=is_last)
            total += loss.detach()
        if world > 1:
            total = self.accelerator.reduce(total, "sum")
        return torch.stack([total / tokens, self._clip_gradients().to(total.device)])

    def _add_gradients(self, loss: Tensor, *, is_last: bool) -> None:
        """Run the backward pass of a micro-batch."""
        if self.engine:
            self.engine.backward(loss, is_last=is_last)
        else:
            self.accelerator.backward(loss)

    def _clip_gradients(self) -> Tensor:
        """Clip the gradients; DeepSpeed takes the step with it. Returns their norm before."""
        if self.engine:
            return self.engine.step()
        norm = self.accelerator.clip_grad_norm_(
            trainable_parameters(self.unwrapped).values(), self.config.max_grad_norm or math.inf
        )
        return sharding.full_tensor(torch.as_tensor(norm))

    def _without_sync(self) -> AbstractContextManager[None]:
        """Gradients of a micro-batch that is not the last one stay with the process."""
        if self.engine:  # which is given the last one
            return nullcontext()
        if sharding.is_sharded(self.unwrapped):
            return sharding.without_sync(self.unwrapped)
        return self.accelerator.no_sync(self.model)

    def _sum_nll(self, micro_batch: Batch, members: Sequence[TokenizedExample]) -> Tensor:
        """The loss, summed over the scored tokens, in nats and fp32.

        Args:
            members: the examples of the batch, in the order of their targets.
        """
        batch = micro_batch.to(self.accelerator.device)
        cache, groups = self.encoder_cache, [self.cached_states] * len(micro_batch.input_ids)
        with cache.patch_encoder(micro_batch, groups) if cache else nullcontext():
            run = self.architecture.scored_logits
            logits = run(self.model, batch, self.unwrapped).float()
            labels = batch.labels.flatten()[batch.scored_positions]
            extra = self.method.extra_loss(
                logits, labels, lambda: run(self.unwrapped, batch, self.unwrapped).float()
            )
        is_recorded = self.adaptive is not None and self.adaptive.record is not None
        if is_recorded or self.coreset.learns:
            nats = functional.cross_entropy(logits, labels, reduction="none")
            if self.adaptive and is_recorded:
                self.adaptive.add_losses(members, nats)
            self.coreset.add_losses(members, nats)
            loss = nats.sum()
        else:
            loss = functional.cross_entropy(logits, labels, reduction="sum")
        return loss if extra is None else loss + extra

    def _prepare_optimizer(self, steps: int, state: dict[int, Any] | None) -> torch.optim.Optimizer:
        """A fresh optimizer, or the existing one if `reset_optimizer_per_period` is off.

        Loads `state` if there is one. Each group starts at the learning rate of the method.
        """
        sharding.reshard(self.unwrapped)  # a pass without a backward one leaves weights gathered
        if self.optimizer is None or self.config.reset_optimizer_per_period:
            self.optimizer = self.method.optimizer(self.unwrapped, steps)
        if self.uses_deepspeed:
            self._open_engine(self.optimizer, state)
        elif state is not None:
            parts = sharding.shard_state(state, self.optimizer)
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": parts})
        for group in self.optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"])
        return self.optimizer

    def _open_engine(
        self, optimizer: torch.optim.Optimizer, state: Mapping[int, Mapping[str, Any]] | None
    ) -> None:
        """Let DeepSpeed shard the model and a new optimizer, to which a state may belong."""
        self.engine = ZeroEngine(
            self.unwrapped,
            optimizer,
            self.config.sharding,
            max_grad_norm=self.config.max_grad_norm,
            autocast=self.accelerator.autocast,
        )
        self.model = self.engine.module
        if state is not None:
            self.engine.load_state(state)

    def _close_engine(self) -> None:
        """Give the model whole weights again, and forget DeepSpeed's optimizer."""
        if self.engine:
            self.engine.close()
            self.engine, self.optimizer, self.model = None, None, self.unwrapped

    def _fill_encoder_cache(self, epochs: Sequence[Sequence[Example]]) -> float:
        """Cache the encoder's outputs for the period's examples. Returns the seconds it took.

        Documents and examples with `infilling` are left out: their hidden spans are other sources
        in each epoch. The questions of an adaptive policy stay cached over the periods.
        """
        began = time.perf_counter()
        if self.encoder_cache and self.adaptive:
            self.cached_states = self.adaptive.cache_sources()
        elif self.encoder_cache:
            texts = dict.fromkeys(
                e.source for epoch in epochs for e in epoch if not (e.is_text or e.infilling)
            )
            self.encoder_cache.drop(TRAINING_GROUP)
            sources = self.tokenizer.tokenize_sources([*texts])
            self.cached_states = self.encoder_cache.fetch(TRAINING_GROUP, sources)
        return time.perf_counter() - began

    def _is_out_of_time(self, seconds: float) -> bool:
        """Has the period used its seconds? The slowest process decides for all."""
        limit, world = self.config.budget.seconds, self.accelerator.num_processes
        if limit and world > 1:
            spent = torch.tensor([seconds], dtype=torch.float64, device=self.accelerator.device)
            seconds = float(self.accelerator.gather(spent).max())
        return 0 < limit <= seconds

    def _report_nonfinite(
        self, batch: OptimizerBatch, place: str, loss: float, norm: float, skipped: int
    ) -> str:
        """A note about a skipped step. Raises FkiError if steps must not be skipped (any more)."""
        ids = ", ".join(example.id for example in batch.examples[:MAX_NAMED_EXAMPLES])
        rest = len(batch.examples) - MAX_NAMED_EXAMPLES
        examples = f"{ids} and {rest} more" if rest > 0 else ids
        if self.config.on_nan == "stop" or skipped > MAX_SKIPPED_STEPS:
            raise FkiError(
                f"The loss is {loss} (gradient norm {norm}) in {place}: training has diverged. "
                f"Examples: {examples}.",
                hint=f"Try a learning rate below {self.config.learning_rate:g}, or "
                "--set mixed_precision=no",
            )
        return f"skipped {place}: the loss is {loss} (gradient norm {norm}). Examples: {examples}"

    def _free_memory(self) -> None:
        """Free the memory of a failed forward pass."""
        self.unwrapped.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def time_step(self, period: Period) -> float:
        """Seconds that an optimizer step takes, with its share of filling the encoder cache.

        The step is taken on the period's first batch; then the weights are what they were.
        """
        tokenized = self.tokenizer.encode(period.examples)
        batch = next(self.batcher.iter_batches(tokenized, period.name, 0))
        with self.trial(period) as take_step:
            return take_step(batch)

    @contextmanager
    def trial(self, period: Period) -> Iterator[Callable[[OptimizerBatch], float]]:
        """Within the context, a function takes an optimizer step on a batch.

        It returns the seconds of the step, with its share of filling the encoder cache. Afterwards
        the weights are what they were.
        """
        weights = Snapshot.take(self.unwrapped)
        selection = {name: tensor.clone() for name, tensor in self.coreset.state().items()}
        self.method.begin_period(self.unwrapped, period)
        optimizer, schedule = self._prepare_optimizer(1, None), LinearWarmupDecay(0)
        self.model.train()
        try:
            yield lambda batch: self._try_step(batch, optimizer, schedule, period.name)
        finally:
            self._close_engine()
            weights.restore(self.unwrapped)
            self.unwrapped.zero_grad(set_to_none=True)
            self.coreset.begin_period()
            self.coreset.load_state(selection)
            self.optimizer = None
            self._extra_seconds = 0.0

    def _try_step(
        self,
        batch: OptimizerBatch,
        optimizer: torch.optim.Optimizer,
        schedule: LinearWarmupDecay,
        period: str,
    ) -> float:
        began = time.perf_counter()
        if self.encoder_cache:
            sources = [example.source for example in batch.examples]
            self.cached_states = self.encoder_cache.fetch(TRAINING_GROUP, sources)
        filled = time.perf_counter()
        meter = self.planner.flop_estimator.new_meter()
        chosen = self._select(batch, period, 0, 0, meter).batch
        self._take_step(chosen, optimizer, schedule, period, 1).loss_and_norm.tolist()
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        ended = time.perf_counter()
        if self.encoder_cache:
            self.encoder_cache.drop(TRAINING_GROUP)
        self.cached_states = None
        passes = self.config.num_train_epochs * self.config.repeat_num
        return ended - filled + (filled - began) / passes
