"""The one training loop, over Accelerate: a generator of Steps, one period at a time.

An optimizer batch is `train_batch_size` x processes x `gradient_accumulation_steps` examples, and
its gradient is that of the mean loss over all of its target tokens, however it is cut up. Order and
dropout are pure functions of (seed, period, epoch or step), so that a period can be gone on with at
any step.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from fki.config.schema import Config
from fki.core.errors import FkiError
from fki.core.types import Batch, Example, Period, Step
from fki.data.collator import ExampleTokenizer
from fki.methods.base import Method, trainable_parameters
from fki.modeling.encoder_cache import CachedStates, EncoderCache
from fki.modeling.flops import FlopEstimator
from fki.modeling.seq2seq import can_pack, scored_logits
from fki.training.batching import Batcher, OptimizerBatch, derive_seed
from fki.training.budget import PeriodPlan, PeriodPlanner
from fki.training.lr_schedule import LinearWarmupDecay

MAX_PENDING_STEPS = (
    8  # steps that a GPU is asked for before their losses are read, which waits for it
)
MAX_SKIPPED_STEPS = 10  # steps in a row that `on_nan = "skip"` leaves out before it gives up
MAX_NAMED_EXAMPLES = 5  # examples of a batch that an error names
TRAINING_GROUP = "trained"  # the group of states of what is being learned


class PendingStep(NamedTuple):
    """An optimizer step whose loss may be known to the device alone."""

    read: Tensor  # [2], loss and norm
    learning_rate: float
    note: str


class Trainer:
    """Teaches a prepared model one period after another."""

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        config: Config,
        encoder: ExampleTokenizer,
        accelerator: Accelerator,
        review: Sequence[Example] = (),
        states: EncoderCache | None = None,
    ) -> None:
        """`states`: of the frozen encoder, where epochs are to read them instead of running it."""
        self.method, self.config, self.encoder = method, config, encoder
        self.accelerator, self.review, self.states = accelerator, review, states
        self.group: CachedStates | None = None  # the current period's states
        self.plain = model
        self.model = accelerator.prepare_model(model)
        # prepare_model leaves autocast in the model's forward; scoring has to be fp32
        accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        # whether a step is to be left out, or is the last, has to be known before the next is taken
        waits = config.on_nan == "skip" or config.budget.seconds > 0
        self.ahead = MAX_PENDING_STEPS if accelerator.device.type == "cuda" and not waits else 1
        is_packed = method.packs and can_pack(model)
        self.cutter = Batcher(encoder, config, accelerator, packs=is_packed)
        self.courses = PeriodPlanner(config, encoder, self.cutter, FlopEstimator(model, states))
        self.optimizer: torch.optim.Optimizer | None = None

    def course(self, period: Period, *, counts: bool = False) -> PeriodPlan:
        """What a period trains on, up to the end of its budget; periods must come in order."""
        seed = self.config.seed
        return self.courses.of(
            period,
            lambda epoch: self.method.mix(period, self.review, epoch, seed),
            counts=counts,
        )

    def pass_over(self, period: Period) -> None:
        """Tell the method of a period that was learned before a restart."""
        if self.courses.counts or self.config.budget.steps:
            self.course(period)
        else:  # the last epoch tells the method as much as all of them
            last = self.config.num_train_epochs - 1
            self.method.mix(period, self.review, last, self.config.seed)

    def learn(
        self,
        period: Period,
        *,
        after: int = 0,
        seconds: float = 0.0,
        state: dict[int, Any] | None = None,
    ) -> Iterator[Step]:
        """Train on a period until its epochs or its budget end, yielding every step; on a GPU some
        at a time, the last of which finds the weights as it says.

        Args:
            after: steps of this period that were taken before; it goes on behind them.
            seconds: what they took.
            state: the optimizer's, by parameter, when it was saved; a period that starts with a
                fresh optimizer does without.
        Raises:
            FkiError: the loss is no longer a finite number, or one example is too much for memory.
        """
        course = self.course(period)
        steps, step, skipped = course.steps, after, 0
        goes_on = after > 0 or not self.config.reset_optimizer_per_period
        optimizer = self._optimizer_for(steps, state if goes_on else None)
        rate = LinearWarmupDecay(steps if self.config.use_lr_scheduling else 0)
        before = self._recall(course.epochs)
        self.model.train()
        cuts = self._cuts(period, course, after)
        while not self._is_over(seconds) and (some := [*islice(cuts, self.ahead)]):
            began = time.perf_counter()
            taken = [
                self._take(cut, optimizer, rate, period.name, step + i)
                for i, (_, cut, _) in enumerate(some, 1)
            ]
            read = torch.stack([one.read for one in taken]).tolist()  # waits for the device
            each = (before + time.perf_counter() - began) / len(taken)
            before, seconds = 0.0, seconds + each * len(taken)
            for (epoch, cut, flops), one, (loss, norm) in zip(some, taken, read, strict=True):
                step, note = step + 1, one.note
                is_finite = math.isfinite(loss) and math.isfinite(norm)
                skipped = 0 if is_finite else skipped + 1
                if not is_finite:
                    place = f"{period.name}, epoch {epoch + 1}, step {step} of {steps}"
                    note = self._astray(cut, place, loss, norm, skipped)
                yield Step(
                    period.name,
                    epoch,
                    step,
                    steps,
                    loss,
                    one.learning_rate,
                    norm,
                    len(cut.batch),
                    sum(len(e.source) + len(e.target) for e in cut.batch),
                    each,
                    note,
                    is_settled=one is taken[-1],
                    flops=flops,
                )

    def _take(
        self,
        cut: OptimizerBatch,
        optimizer: torch.optim.Optimizer,
        rate: LinearWarmupDecay,
        period: str,
        step: int,
    ) -> PendingStep:
        """An optimizer step; left out where its loss is no finite number and that is known."""
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate(step - 1)
        rank = self.accelerator.process_index
        seed = derive_seed(self.config.seed, "dropout", period, step, rank)
        read, note = self._gradients(cut, seed)
        if self.ahead > 1 or bool(read.isfinite().all()):
            optimizer.step()
        return PendingStep(read, optimizer.param_groups[0]["lr"], note)

    def _cuts(
        self, period: Period, course: PeriodPlan, after: int
    ) -> Iterator[tuple[int, OptimizerBatch, float]]:
        """(epoch, optimizer batch, operations) of each step behind the first `after`."""
        meter = self.courses.work.new_meter()
        for epoch, (examples, length) in enumerate(zip(course.epochs, course.lengths, strict=True)):
            done = min(after, length)
            after -= done
            if done == length and not meter.is_stateful:
                continue
            encoded = self.courses.encoded(period, epoch, examples)
            for batch in islice(self.cutter.batches(len(encoded), period.name, epoch), done):
                meter.count([encoded[i] for i in batch])
            for cut in self.cutter.cuts(encoded, period.name, epoch, done, length):
                yield epoch, cut, meter.count(cut.batch)

    def _is_over(self, seconds: float) -> bool:
        """Is the time of a period used up? All processes go by the slowest, so that they agree."""
        limit, world = self.config.budget.seconds, self.accelerator.num_processes
        if limit and world > 1:
            spent = torch.tensor([seconds], dtype=torch.float64, device=self.accelerator.device)
            seconds = float(self.accelerator.gather(spent).max())
        return 0 < limit <= seconds

    def _astray(
        self, cut: OptimizerBatch, place: str, loss: float, norm: float, skipped: int
    ) -> str:
        """What to say of a step that is left out. Raises FkiError where none may be."""
        ids = ", ".join(e.id for e in cut.batch[:MAX_NAMED_EXAMPLES])
        more = (
            f" and {len(cut.batch) - MAX_NAMED_EXAMPLES} more"
            if len(cut.batch) > MAX_NAMED_EXAMPLES
            else ""
        )
        if self.config.on_nan == "stop" or skipped > MAX_SKIPPED_STEPS:
            raise FkiError(
                f"The loss is no longer a finite number: {loss} in {place} (gradient norm {norm}), "
                f"learning {ids}{more}.",
                hint=f"Try a learning rate below {self.config.learning_rate:g}, or "
                "--set mixed_precision=no",
            )
        return f"left out: a loss of {loss} (gradient norm {norm}) in {place}, learning {ids}{more}"

    def _optimizer_for(self, steps: int, state: dict[int, Any] | None) -> torch.optim.Optimizer:
        """A fresh optimizer, or with `reset_optimizer_per_period` off the one there is; with a
        state, one that goes on from it. Each group starts at the rate that the method gave it."""
        if self.optimizer is None or self.config.reset_optimizer_per_period:
            self.optimizer = self.method.optimizer(self.plain, steps)
        if state is not None:
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        for group in self.optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"])
        return self.optimizer

    def _recall(self, epochs: Sequence[Sequence[Example]]) -> float:
        """Have the frozen encoder's states of all that the period's epochs ask, but for texts,
        which are another question each epoch. Returns the seconds that it took."""
        began = time.perf_counter()
        if self.states:
            asked = dict.fromkeys(e.source for epoch in epochs for e in epoch if not e.is_text)
            self.states.drop(TRAINING_GROUP)
            self.group = self.states.fetch(TRAINING_GROUP, self.encoder.tokenize_sources([*asked]))
        return time.perf_counter() - began

    def trial(self, period: Period) -> float:
        """Seconds that the gradients of one optimizer batch take; no weight moves."""
        cut = next(self.cutter.cuts(self.encoder.encode(period.examples), period.name, 0))
        if self.states:
            self.group = self.states.fetch(
                TRAINING_GROUP, [example.source for example in cut.batch]
            )
        began = time.perf_counter()
        self.backward(cut).tolist()
        self.plain.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began
        if self.states:
            self.states.drop(TRAINING_GROUP)
        return seconds

    def _gradients(self, cut: OptimizerBatch, dropout: int) -> tuple[Tensor, str]:
        """[2], loss and norm, and a note: where memory is short, passes are halved from here on.

        The effective batch stays the same. Raises FkiError where one example is too much.
        """
        note = ""
        while True:
            cut = self.cutter.as_now(cut)
            torch.manual_seed(dropout)
            try:
                return self.backward(cut), note
            except torch.OutOfMemoryError:
                if self.cutter.most == 1 or self.accelerator.num_processes > 1:
                    raise FkiError(
                        f"Memory is too small for a forward pass of {self.cutter.most} examples.",
                        hint="Try --set train_batch_size=... smaller and "
                        "gradient_accumulation_steps larger, or mixed_precision=bf16.",
                    ) from None
            self.cutter.halve()
            self._give_back()
            most = self.cutter.most
            note = f"out of memory: forward passes have at most {most} examples from here on"

    def _give_back(self) -> None:
        """What passes held that were too large."""
        self.plain.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def backward(self, cut: OptimizerBatch) -> Tensor:
        """Fill the gradients. Returns [2], the whole batch's loss, and their norm before
        clipping; on the device, which need not be done with them."""
        scored = sum(len(e.target) for e in cut.batch)
        world = self.accelerator.num_processes
        self.plain.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.accelerator.device)
        for i, micro in enumerate(cut.micro):
            last = i == len(cut.micro) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                with self.accelerator.autocast():
                    nll = self._nll(micro)
                self.accelerator.backward(nll * (world / scored))
            total += nll.detach()
        if world > 1:
            total = self.accelerator.reduce(total, "sum")
        norm = self.accelerator.clip_grad_norm_(
            trainable_parameters(self.plain).values(), self.config.max_grad_norm or math.inf
        )
        return torch.stack([total / scored, torch.as_tensor(norm, device=total.device)])

    def _nll(self, micro: Batch) -> Tensor:
        """Negative log-likelihood summed over the batch's target tokens, in nats and fp32."""
        batch = micro.to(self.accelerator.device)
        groups = [self.group] * len(micro.input_ids)
        with self.states.patch_encoder(micro, groups) if self.states else nullcontext():
            logits = scored_logits(self.model, batch, self.plain)
        labels = batch.labels.flatten()[batch.scored_positions]
        return functional.cross_entropy(logits.float(), labels, reduction="sum")
