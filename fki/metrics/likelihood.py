"""The negative log-likelihood of tokens under a model's logits."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

UNSCORED = -100  # the label of a position that does not count, as in transformers


def token_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each token.

    Args:
        logits: [N, V].
        labels: [N]; 0 nats where a label is -100, unscored.
    Returns:
        [N], in nats; in float32 or better, whatever the type of the logits.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cross_entropy(precise, labels, ignore_index=UNSCORED, reduction="none")
