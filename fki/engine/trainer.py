"""The one training loop, over Accelerate: a generator of Steps, one period at a time.

An optimizer batch is `train_batch_size` x processes x `gradient_accumulation_steps` examples, and
its gradient is that of the mean loss over all of its target tokens, however it is cut up. The order
of the data, and what is hidden in a text, is a pure function of (seed, period, epoch).
"""

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from fki.core.config import Config
from fki.core.errors import FkiError
from fki.core.types import Batch, Example, Period, Step
from fki.data.collate import IGNORE, Encoded, Encoder
from fki.engine.models import target_logits
from fki.methods.base import Method, trainable

WARM_UP = 0.1  # part of a period's steps over which a scheduled learning rate rises
START = 25  # a scheduled learning rate starts at 1/25 of its peak, as OneCycleLR's default


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
    ) -> None:
        self.method, self.config, self.encoder = method, config, encoder
        self.accelerator, self.review = accelerator, review
        self.plain = model
        self.model = accelerator.prepare_model(model)
        # prepare_model leaves autocast in the model's forward; scoring has to be fp32
        accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.batch_size = (
            config.train_batch_size * config.gradient_accumulation_steps * accelerator.num_processes
        )
        self._optimizer: torch.optim.Optimizer | None = None

    def steps(self, examples: int) -> int:
        """Optimizer steps of one epoch over so many examples."""
        return math.ceil(examples / self.batch_size)

    def learn(self, period: Period) -> Iterator[Step]:
        """Train on a period, yielding after every optimizer step.

        Raises FkiError where the loss is no longer a finite number.
        """
        seed = self.config.seed
        epochs = [
            self.method.mix(period, self.review, epoch, seed)
            for epoch in range(self.config.num_train_epochs)
        ]
        steps = sum(self.steps(self.encoder.count(examples)) for examples in epochs)
        optimizer = self._optimizer_for(steps)
        rate = Rate(steps if self.config.use_lr_scheduling else 0)
        schedule = LambdaLR(optimizer, rate)
        torch.manual_seed(
            derived_seed(seed, "dropout", period.name, self.accelerator.process_index)
        )
        self.model.train()
        step = 0
        for epoch, examples in enumerate(epochs):
            encoded = self.encoder.encode(examples, derived_seed(seed, "text", period.name, epoch))
            for batch, own in self._batches(encoded, period.name, epoch):
                began, step = time.perf_counter(), step + 1
                loss, norm = self.backward(batch, own)
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise FkiError(
                        f"The loss is no longer a finite number: {loss} in {period.name}, epoch "
                        f"{epoch + 1}, step {step} of {steps} (gradient norm {norm}).",
                        hint=f"Try a learning rate below {self.config.learning_rate:g}, or "
                        "--set mixed_precision=no",
                    )
                optimizer.step()
                used = float(schedule.get_last_lr()[0])
                schedule.step()
                tokens = sum(len(e.source) + len(e.target) for e in batch)
                yield Step(
                    period.name,
                    epoch,
                    step,
                    steps,
                    loss,
                    used,
                    norm,
                    len(batch),
                    tokens,
                    time.perf_counter() - began,
                )

    def _optimizer_for(self, steps: int) -> torch.optim.Optimizer:
        """A fresh optimizer, or with `reset_optimizer_per_period` off the one there is.

        Each group starts at the learning rate that the method gave it.
        """
        if self._optimizer is None or self.config.reset_optimizer_per_period:
            self._optimizer = self.method.optimizer(self.plain, steps)
        for group in self._optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"])
        return self._optimizer

    def _batches(
        self, examples: Sequence[Encoded], period: str, epoch: int
    ) -> Iterator[tuple[list[Encoded], list[Batch]]]:
        """Each optimizer batch of an epoch: its examples over all processes, and this process's
        share as micro-batches. Every example is in exactly one."""
        order = shuffled(len(examples), derived_seed(self.config.seed, "order", period, epoch))
        chosen = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        shares = [self._micro_batches(examples, indices[rank::world]) for indices in chosen]
        loader = iter(
            DataLoader(
                examples,  # type: ignore[arg-type]
                batch_sampler=[b for share in shares for b in share],
                collate_fn=self.encoder.batch,
                num_workers=self.config.num_workers,
            )
        )
        for indices, share in zip(chosen, shares, strict=True):
            batch = [examples[i] for i in indices]
            own = [next(loader) for _ in share] or [unscored(self.encoder.batch(batch[:1]))]
            yield batch, own

    def _micro_batches(self, examples: Sequence[Encoded], share: list[int]) -> list[list[int]]:
        """A share sorted by length and cut, so that little is padded and a forward pass stays
        within `train_batch_size` examples and `micro_batch_tokens` padded input tokens."""
        share = sorted(share, key=lambda i: (len(examples[i].source), len(examples[i].target)))
        budget = self.config.micro_batch_tokens or math.inf
        batches: list[list[int]] = []
        for i in share:
            size = len(batches[-1]) + 1 if batches else math.inf
            if size > self.config.train_batch_size or size * len(examples[i].source) > budget:
                batches.append([])
            batches[-1].append(i)
        return batches

    def trial(self, period: Period) -> float:
        """Seconds that the gradients of one optimizer batch take; no weight moves."""
        examples = self.encoder.encode(period.examples)
        batch, own = next(self._batches(examples, period.name, 0))
        began = time.perf_counter()
        self.backward(batch, own)
        self.plain.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    def backward(self, batch: Sequence[Encoded], own: Sequence[Batch]) -> tuple[float, float]:
        """Fill the gradients. Returns the whole batch's loss, and their norm before clipping."""
        scored = sum(len(e.target) for e in batch)
        world = self.accelerator.num_processes
        self.plain.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.accelerator.device)
        for i, micro in enumerate(own):
            last = i == len(own) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                with self.accelerator.autocast():
                    nll = self._nll(micro.to(self.accelerator.device))
                self.accelerator.backward(nll * (world / scored))
            total += nll.detach()
        if world > 1:
            total = self.accelerator.reduce(total, "sum")
        norm = self.accelerator.clip_grad_norm_(
            trainable(self.plain).values(), self.config.max_grad_norm or math.inf
        )
        return float(total) / scored, float(norm)

    def _nll(self, batch: Batch) -> Tensor:
        """Negative log-likelihood summed over the batch's target tokens, in nats and fp32."""
        logits = target_logits(self.model, batch, self.plain.config)
        return functional.cross_entropy(
            logits.flatten(0, 1).float(),
            batch.labels.flatten(),
            ignore_index=IGNORE,
            reduction="sum",
        )


class Rate:
    """The learning rate's factor: from 1/25 to 1 over the first tenth, then linearly to 0.

    The last step's is 0. `steps` = 0 stands for a constant rate; so do fewer than 3 steps, which
    leave nothing to schedule.
    """

    def __init__(self, steps: int) -> None:
        self.last = steps - 1
        self.warm_up = max(1, round(WARM_UP * steps))

    def __call__(self, step: int) -> float:
        """The factor of the optimizer step with this number, from 0."""
        if self.last < 2:
            return 1.0
        if step < self.warm_up:
            return 1 / START + (1 - 1 / START) * step / self.warm_up
        return max(0.0, (self.last - step) / (self.last - self.warm_up))


def derived_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on all parts and on nothing else."""
    text = "|".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def shuffled(n: int, seed: int) -> list[int]:
    """The numbers below n in an order that depends on the seed alone."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()


def unscored(batch: Batch) -> Batch:
    """The same batch with no label scored: what a process without a share trains on."""
    return batch._replace(labels=torch.full_like(batch.labels, IGNORE))
