"""The losses of an epoch's examples, collected on the device while the epoch trains."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from fki.data.collator import TokenizedExample


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
