"""The head of a language model, run at chosen positions only.

The head of a small model is a fifth of a training step: T5's is 32,128 words wide. Within the
context the head reads some positions of its input; gradients stay the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def gather_positions(head: nn.Module, positions: Tensor) -> Iterator[None]:
    """Within the context the head receives [N, 1, D]: these positions of its input [B, U, D].

    Args:
        positions: [N], indices into the flattened [B, U].
    """

    def gather(module: nn.Module, arguments: tuple[Tensor, ...]) -> Tensor:
        return arguments[0].flatten(0, 1).index_select(0, positions)[:, None]

    handle = head.register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()
