"""The losses of examples: those of an epoch, collected while it trains, or measured untrained."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional

from fki.core.types import ScoringWeights
from fki.data.collator import TokenizedExample
from fki.modeling.architecture import architecture_of
from fki.modeling.encoder_cache import CachedStates, EncoderCache
from fki.modeling.sharded_scoring import scoring_passes
from fki.training.batching import OptimizerBatch


class LossRecord:
    """The nats of each example at its last training pass, by the example's number in the epoch."""

    def __init__(self, sums: Tensor) -> None:
        """
        Args:
            sums: [3, N]: the worst token's nats, the sum over target tokens, their number.
        """
        self.sums = sums

    @classmethod
    def of_size(cls, examples: int, device: torch.device) -> "LossRecord":
        """An empty record of this many examples."""
        return cls(torch.zeros(3, examples, device=device))

    def restart(self, examples: Sequence[TokenizedExample]) -> None:
        """Forget an earlier pass over these examples: a step that is repeated or tried again."""
        numbers = [e.number for e in examples]
        self.sums[:, torch.tensor(numbers, dtype=torch.long, device=self.sums.device)] = 0.0

    def add(self, members: Sequence[TokenizedExample], nats: Tensor) -> None:
        """Add a forward pass.

        Args:
            members: the examples of the batch, in the order of their target tokens.
            nats: [scored tokens]
        """
        numbers = [e.number for e in members for _ in e.target]
        places = torch.tensor(numbers, dtype=torch.long, device=nats.device)
        nats = nats.detach().float()
        self.sums[0].scatter_reduce_(0, places, nats, "amax")
        self.sums[1].index_add_(0, places, nats)
        self.sums[2].index_add_(0, places, torch.ones_like(nats))

    def gather(self, accelerator: Accelerator) -> "LossRecord":
        """The record of all processes; an example is trained by one of them."""
        if accelerator.num_processes == 1:
            return self
        return LossRecord(accelerator.reduce(self.sums.clone(), "sum"))

    def losses(self) -> tuple[Tensor, Tensor]:
        """Nats of the worst token [N] and the mean over the tokens [N], on the CPU.

        NaN if the example was not trained; infinite if its loss was not finite.
        """
        worst, total, tokens = self.sums.cpu()

        def mark(nats: Tensor) -> Tensor:
            finite = torch.where(total.isfinite(), nats, torch.inf)
            return torch.where(tokens > 0, finite, torch.nan)

        return mark(worst), mark(total / tokens)


def measure_losses(
    model: Any,
    batch: OptimizerBatch,
    scoring_weights: ScoringWeights,
    accelerator: Accelerator,
    encoder_cache: EncoderCache | None,
    cached: CachedStates | None,
) -> LossRecord:
    """The losses of a batch without dropout and training; all processes share the work.

    Args:
        model: without a wrapper for several processes.
        batch: its examples are numbered from 0.
        scoring_weights: as the setting.
        cached: states of the examples in the encoder cache.
    """
    record = LossRecord.of_size(len(batch.examples), accelerator.device)
    was_training, architecture = model.training, architecture_of(model)
    model.eval()
    with torch.no_grad(), scoring_passes(model, scoring_weights):
        for part, members in zip(batch.micro_batches, batch.members, strict=True):
            states = [cached] * len(part.input_ids)
            patched = encoder_cache.patch_encoder(part, states) if encoder_cache else nullcontext()
            on_device = part.to(accelerator.device)
            with patched, accelerator.autocast():
                logits = architecture.scored_logits(model, on_device, model).float()
            labels = on_device.labels.flatten()[on_device.scored_positions]
            record.add(members, functional.cross_entropy(logits, labels, reduction="none"))
    model.train(was_training)
    return record.gather(accelerator)
