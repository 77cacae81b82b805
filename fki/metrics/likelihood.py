"""How likely a model finds an answer: negative log-likelihood and perplexity."""

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

UNSCORED = -100  # the label of a position that does not count, as in transformers


def token_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each token.

    Args:
        logits: [N, V].
        labels: [N]; 0 nats where one is -100, unscored.
    Returns:
        [N], in nats; in float32 or better, whatever the logits are.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cross_entropy(precise, labels, ignore_index=UNSCORED, reduction="none")


def target_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each example's scored tokens.

    Args:
        logits: [B, U, V]; row t predicts labels[:, t].
        labels: [B, U], -100 where unscored.
    Returns:
        [B], in nats, summed over scored tokens; in float32 or better, whatever the logits are.
    """
    per_token = token_nll(logits.flatten(0, 1), labels.flatten())
    return per_token.view(labels.shape).sum(dim=1)


def perplexity(total_nll: float, tokens: int) -> float | None:
    """exp(total_nll / tokens), in float64; None where no finite number can say it.

    Sum nats and scored tokens over all batches first: a mean of batch means would weigh the
    tokens of a short batch more than those of a long one.

    Args:
        total_nll: nats, summed over the scored tokens of all examples.
        tokens: how many tokens were scored.
    Returns:
        At least 1 for a probability model. None for no tokens, a NaN (a diverged model) or more
        than about 709 nats per token, where float64 ends.
    """
    if tokens <= 0 or not math.isfinite(total_nll):
        return None
    try:
        return math.exp(total_nll / tokens)
    except OverflowError:
        return None
