"""Adafactor with an absolute learning rate, in few passes over memory (Shazeer and Stern, 2018).

The second moment of a matrix is stored as the means of its rows and of its columns. As in the
original research code, this is algorithm 4 of the paper with clipping and the decay 1 - t^-0.8, but
without a first moment and without scaling by the parameter's size.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-30  # added to the squared gradient: epsilon 1 of the paper
CLIP_THRESHOLD = 1.0  # maximum root mean square of an update, before the learning rate
DECAY_RATE = -0.8  # the second moment decays with 1 - t^DECAY_RATE
CHUNK_SIZE = 2**18  # squares that fit into a processor's cache


class Adafactor(torch.optim.Optimizer):
    """Equal to `transformers.optimization.Adafactor(scale_parameter=False, relative_step=False)`.

    The two optimizers can exchange their states. A step consumes the gradients: the update is
    computed in their memory, and `.grad` contains no gradient afterwards. Parameters must be
    float32 or float64.
    """

    def __init__(self, params: Iterable[Any], *, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                state["step"] = state.get("step", 0) + 1
                if group["weight_decay"]:
                    p.mul_(1 - group["weight_decay"] * group["lr"])
                update = _update_matrix if p.ndim >= 2 else _update_vector
                update(p, p.grad, state, group["lr"], 1 - state["step"] ** DECAY_RATE)


def _update_matrix(p: Tensor, g: Tensor, state: dict[str, Any], lr: float, beta: float) -> None:
    """Update a matrix (the last two dimensions of p); `beta` is the decay of the second moment."""
    if "exp_avg_sq_row" not in state:
        state["exp_avg_sq_row"] = g.new_zeros(g.shape[:-1])
        state["exp_avg_sq_col"] = g.new_zeros(g.shape[:-2] + g.shape[-1:])
    rows, columns = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
    for moment, squares in zip((rows, columns), _mean_squares(g), strict=True):
        moment.lerp_(squares, 1 - beta)
    by_row = (rows / rows.mean(-1, keepdim=True)).rsqrt_()
    g.mul_(columns.rsqrt().unsqueeze(-2))
    # the update is g times by_row; its norm follows from the norms of the rows
    size = (torch.linalg.vector_norm(g, dim=-1) * by_row).norm() / g.numel() ** 0.5
    by_row.mul_(lr / (size / CLIP_THRESHOLD).clamp_(min=1.0))
    p.addcmul_(g, by_row.unsqueeze(-1), value=-1)


def _mean_squares(g: Tensor) -> tuple[Tensor, Tensor]:
    """The mean squares of each row and each column (of the last two dimensions)."""
    height, width = g.shape[-2:]
    piece = max(1, CHUNK_SIZE // width) if g.device.type == "cpu" else height
    rows = []
    columns = g.new_zeros(g.shape[:-2] + g.shape[-1:])
    for part in torch.split(g, piece, dim=-2):
        squares = part.square()
        rows.append(squares.mean(-1))
        columns.add_(squares.sum(-2))
    return torch.cat(rows, -1).add_(EPSILON), columns.div_(height).add_(EPSILON)


def _update_vector(p: Tensor, g: Tensor, state: dict[str, Any], lr: float, beta: float) -> None:
    """Update a vector or scalar, whose second moment is stored in full."""
    if "exp_avg_sq" not in state:
        state["exp_avg_sq"] = torch.zeros_like(g)
    squares = state["exp_avg_sq"]
    squares.mul_(beta).add_(EPSILON * (1 - beta)).addcmul_(g, g, value=1 - beta)
    g.mul_(squares.rsqrt())
    size = g.norm() / g.numel() ** 0.5
    p.sub_(g.mul_(lr / (size / CLIP_THRESHOLD).clamp_(min=1.0)))


def adafactor_bytes(parameters: Iterable[Tensor]) -> int:
    """Bytes of Adafactor's state: row and column means of each matrix, all squares of a vector."""
    return sum(p.element_size() * _state_numbers(p.shape) for p in parameters)


def _state_numbers(shape: torch.Size) -> int:
    if len(shape) < 2:
        return shape.numel()
    return shape[:-1].numel() + (shape[:-2] + shape[-1:]).numel()
