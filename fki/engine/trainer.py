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
from torch.utils.data import DataLoader, Dataset

from fki.core.config import Config
from fki.core.errors import FkiError
from fki.core.types import Batch, Example, Period, Step
from fki.data.collate import IGNORE, Encoded, Encoder
from fki.engine.forward import packs, scored_logits
from fki.engine.order import Rows, derived_seed, micro_batches, optimizer_batches, packed
from fki.engine.rate import Rate
from fki.engine.states import Group, States
from fki.methods.base import Method, trainable

MOST_SKIPPED = 10  # steps in a row that `on_nan = "skip"` leaves out before it gives up
NAMED = 5  # examples of a batch that an error names
TRAINED = "trained"  # the group of states of what is being learned


class Cut(NamedTuple):
    """An optimizer batch, cut up."""

    batch: list[Encoded]  # all of it, over all processes
    share: list[Encoded]  # this process's part
    micro: list[Batch]  # the same in forward passes
    most: int  # examples of one


class Trainer:
    """Teaches a prepared model one period after another."""

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        config: Config,
        encoder: Encoder,
        accelerator: Accelerator,
        review: Sequence[Example] = (),
        states: States | None = None,
    ) -> None:
        """`states`: of the frozen encoder, where epochs are to read them instead of running it."""
        self.method, self.config, self.encoder = method, config, encoder
        self.accelerator, self.review, self.states = accelerator, review, states
        self.group: Group | None = None  # the current period's states
        self.plain = model
        self.model = accelerator.prepare_model(model)
        # prepare_model leaves autocast in the model's forward; scoring has to be fp32
        accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.batch_size = (
            config.train_batch_size * config.gradient_accumulation_steps * accelerator.num_processes
        )
        self.most = config.train_batch_size  # examples of a forward pass; halved for want of memory
        self.row = config.pack_length if method.packs and packs(model) else 0
        self.optimizer: torch.optim.Optimizer | None = None

    def steps(self, examples: int) -> int:
        """Optimizer steps of one epoch over so many examples."""
        return math.ceil(examples / self.batch_size)

    def pass_over(self, period: Period) -> None:
        """Tell the method of a period that was learned before a restart."""
        self.method.mix(period, self.review, 0, self.config.seed)

    def learn(
        self, period: Period, *, after: int = 0, state: dict[int, Any] | None = None
    ) -> Iterator[Step]:
        """Train on a period, yielding after every optimizer step.

        Args:
            after: steps of this period that were taken before; it goes on behind them.
            state: the optimizer's, by parameter, when it was saved; a period that starts with a
                fresh optimizer does without.
        Raises:
            FkiError: the loss is no longer a finite number, or one example is too much for memory.
        """
        seed = self.config.seed
        epochs = [
            self.method.mix(period, self.review, epoch, seed)
            for epoch in range(self.config.num_train_epochs)
        ]
        lengths = [self.steps(self.encoder.count(examples)) for examples in epochs]
        steps, step, skipped = sum(lengths), 0, 0
        goes_on = after > 0 or not self.config.reset_optimizer_per_period
        optimizer = self._optimizer_for(steps, state if goes_on else None)
        rate = Rate(steps if self.config.use_lr_scheduling else 0)
        self._recall(period, epochs)
        self.model.train()
        for epoch, examples in enumerate(epochs):
            done = min(max(0, after - step), lengths[epoch])
            step += done
            if done == lengths[epoch]:
                continue
            encoded = self.encoder.encode(examples, derived_seed(seed, "text", period.name, epoch))
            for cut in self._cuts(encoded, period.name, epoch, done):
                began, step = time.perf_counter(), step + 1
                for group in optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * rate(step - 1)
                rank = self.accelerator.process_index
                dropout = derived_seed(seed, "dropout", period.name, step, rank)
                loss, norm, note = self._gradients(cut, dropout)
                if math.isfinite(loss) and math.isfinite(norm):
                    optimizer.step()
                    skipped = 0
                else:
                    skipped += 1
                    place = f"{period.name}, epoch {epoch + 1}, step {step} of {steps}"
                    note = self._astray(cut, place, loss, norm, skipped)
                yield Step(
                    period.name,
                    epoch,
                    step,
                    steps,
                    loss,
                    optimizer.param_groups[0]["lr"],
                    norm,
                    len(cut.batch),
                    sum(len(e.source) + len(e.target) for e in cut.batch),
                    time.perf_counter() - began,
                    note,
                )

    def _astray(self, cut: Cut, place: str, loss: float, norm: float, skipped: int) -> str:
        """What to say of a step that is left out. Raises FkiError where none may be."""
        ids = ", ".join(e.id for e in cut.batch[:NAMED])
        more = f" and {len(cut.batch) - NAMED} more" if len(cut.batch) > NAMED else ""
        if self.config.on_nan == "stop" or skipped > MOST_SKIPPED:
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

    def _cuts(
        self, examples: Sequence[Encoded], period: str, epoch: int, after: int = 0
    ) -> Iterator[Cut]:
        """Each optimizer batch of an epoch behind the first `after`."""
        seed = derived_seed(self.config.seed, "order", period, epoch)
        batches = [*islice(optimizer_batches(len(examples), self.batch_size, seed), after, None)]
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        shares = [batch[rank::world] for batch in batches]
        cuts, most = [self._micro_batches(examples, share) for share in shares], self.most
        loader = iter(
            DataLoader(
                RowsOf(examples),
                batch_sampler=[rows for cut in cuts for rows in cut],
                collate_fn=self.encoder.packed,
                num_workers=self.config.num_workers,
                pin_memory=self.accelerator.device.type == "cuda",
            )
        )
        for batch, share, cut in zip(batches, shares, cuts, strict=True):
            whole, own = [examples[i] for i in batch], [examples[i] for i in share]
            micro = [next(loader) for _ in cut] or [unscored(self.encoder.batch(whole[:1]))]
            yield Cut(whole, own, micro, most)

    def _micro_batches(self, examples: Sequence[Encoded], share: Sequence[int]) -> list[Rows]:
        budget = self.config.micro_batch_tokens or math.inf
        rows = packed(examples, share, self.row)
        return micro_batches(examples, rows, most=self.most, budget=budget)

    def _recall(self, period: Period, epochs: Sequence[Sequence[Example]]) -> None:
        """Have the frozen encoder's states of all that the period's epochs ask, but for texts,
        which are another question each epoch."""
        if self.states:
            asked = dict.fromkeys(e.source for epoch in epochs for e in epoch if not e.is_text)
            self.states.drop(TRAINED)
            self.group = self.states.group(TRAINED, self.encoder.sources([*asked]))

    def trial(self, period: Period) -> float:
        """Seconds that the gradients of one optimizer batch take; no weight moves."""
        cut = next(self._cuts(self.encoder.encode(period.examples), period.name, 0))
        if self.states:
            self.group = self.states.group(TRAINED, [example.source for example in cut.batch])
        began = time.perf_counter()
        self.backward(cut)
        self.plain.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began
        if self.states:
            self.states.drop(TRAINED)
        return seconds

    def _gradients(self, cut: Cut, dropout: int) -> tuple[float, float, str]:
        """Loss, norm and a note: where memory is short, forward passes are halved from here on.

        The effective batch stays the same. Raises FkiError where one example is too much.
        """
        note = ""
        while True:
            if cut.most > self.most:
                cut = self._cut_again(cut)
            torch.manual_seed(dropout)
            try:
                return *self.backward(cut), note
            except torch.OutOfMemoryError:
                if self.most == 1 or self.accelerator.num_processes > 1:
                    raise FkiError(
                        f"Memory is too small for a forward pass of {self.most} examples.",
                        hint="Try --set train_batch_size=... smaller and "
                        "gradient_accumulation_steps larger, or mixed_precision=bf16.",
                    ) from None
            self.most, self.row = max(1, self.most // 2), 0
            note = f"out of memory: forward passes have at most {self.most} examples from here on"

    def _cut_again(self, cut: Cut) -> Cut:
        """The same batch in smaller forward passes; what the large ones held is given back."""
        self.plain.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        parts = self._micro_batches(cut.share, range(len(cut.share)))
        rows = RowsOf(cut.share)
        micro = [self.encoder.packed([rows[row] for row in part]) for part in parts]
        return cut._replace(micro=micro, most=self.most)

    def backward(self, cut: Cut) -> tuple[float, float]:
        """Fill the gradients. Returns the whole batch's loss, and their norm before clipping."""
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
            trainable(self.plain).values(), self.config.max_grad_norm or math.inf
        )
        loss, norm = torch.stack(
            [total / scored, torch.as_tensor(norm, device=total.device)]
        ).tolist()
        return loss, norm

    def _nll(self, micro: Batch) -> Tensor:
        """Negative log-likelihood summed over the batch's target tokens, in nats and fp32."""
        batch = micro.to(self.accelerator.device)
        groups = [self.group] * len(micro.input_ids)
        with self.states.recalled(micro, groups) if self.states else nullcontext():
            logits = scored_logits(self.model, batch, self.plain)
        labels = batch.labels.flatten()[batch.places]
        return functional.cross_entropy(logits.float(), labels, reduction="sum")


class RowsOf(Dataset[list[Encoded]]):
    """The examples of each row."""

    def __init__(self, examples: Sequence[Encoded]) -> None:
        self.examples = examples

    def __getitem__(self, row: Sequence[int]) -> list[Encoded]:
        return [self.examples[i] for i in row]


def unscored(batch: Batch) -> Batch:
    """The same batch with no label scored: what a process without a share trains on."""
    return batch._replace(labels=torch.full_like(batch.labels, IGNORE), places=batch.places[:0])
