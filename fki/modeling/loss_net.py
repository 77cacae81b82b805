"""The loss prediction module of active learning (Yoo and Kweon, 2019: LL4AL).

It predicts an example's loss from the encoder's hidden states, without the answer. Each block's
states are averaged over the source's tokens and mapped to `UNIT_WIDTH` features; one linear layer
maps the features of all blocks to the prediction. It is trained with the paper's ranking loss: of
two examples, the one with the larger loss must have the larger prediction. The hidden states are
inputs only: no gradient reaches the model.

CFInjectBench read embeddings and all blocks but the last, averaged over padding too, and let the
gradient flow into the model.

Shapes: B examples, L blocks, T tokens, D hidden width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fki.core.types import Batch
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.packing import split_micro_batches

UNIT_WIDTH = 128  # features of each block, as in the paper
MARGIN = 1.0  # of the ranking loss, as in the paper
BATCH_TOKENS = 4096  # padded source tokens of a pass of the encoder


class LossNet(nn.Module):
    """Predicts the losses of examples from pooled hidden states."""

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(nn.Linear(width, UNIT_WIDTH) for _ in range(blocks))
        self.head = nn.Linear(blocks * UNIT_WIDTH, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Predicted losses [B] for features [B, L, D]."""
        units = [
            functional.relu(unit(states))
            for unit, states in zip(self.units, features.unbind(1), strict=True)
        ]
        prediction: Tensor = self.head(torch.cat(units, -1))[:, 0]
        return prediction


def ranking_loss(predicted: Tensor, losses: Tensor) -> Tensor:
    """The paper's loss of B predictions; 0 for fewer than two.

    Example i is paired with example B - 1 - i; the middle one of an odd number has no pair.

    Args:
        losses: [B], the real losses; no gradient flows into them.
    """
    pairs = len(predicted) // 2
    if pairs == 0:
        return 0.0 * predicted.sum()
    difference = (predicted - predicted.flip(0))[:pairs]
    real = (losses - losses.flip(0))[:pairs].detach()
    sign = torch.where(real > 0, 1.0, -1.0)
    return functional.relu(MARGIN - sign * difference).mean()


def encoder_shape(model: Any) -> tuple[int, int]:
    """The number of the encoder's blocks, and its width."""
    return int(model.config.num_hidden_layers), int(model.config.hidden_size)


@torch.no_grad()
def pool_encoder_states(
    model: Any, examples: Sequence[TokenizedExample], tokenizer: ExampleTokenizer
) -> Tensor:
    """Each block's hidden states, averaged over the tokens of each source: [B, L, D] in fp32.

    The encoder runs without dropout. The states of the last block are the encoder's output.
    """
    rows = [[i] for i in range(len(examples))]
    parts = split_micro_batches(examples, rows, most=len(examples), budget=BATCH_TOKENS)
    was_training = model.training
    model.eval()
    pooled: list[Tensor] = []
    order: list[int] = []
    for part in parts:
        order += [i for row in part for i in row]
        batch = tokenizer.collate([examples[i] for row in part for i in row])
        pooled.append(_pool_batch(model, batch))
    model.train(was_training)
    restored = torch.empty(len(order), dtype=torch.long)
    restored[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(pooled)[restored.to(pooled[0].device)]


def _pool_batch(model: Any, batch: Batch) -> Tensor:
    """[B, L, D] of a padded batch."""
    encoder = model.get_encoder()
    batch = batch.to(next(encoder.parameters()).device)
    out = encoder(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True
    )
    # a branch beside the encoder is part of its output only
    states = torch.stack([*out.hidden_states[1:-1], out.last_hidden_state], 1).float()
    mask = batch.attention_mask[:, None, :, None].float()
    return (states * mask).sum(2) / mask.sum(2)
