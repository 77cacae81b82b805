"""Adafactor as the originals ran it, without the temporaries (Shazeer and Stern, 2018).

No momentum, no parameter scaling, an absolute learning rate. With R and C the running means of a
gradient's squares over its rows and columns, beta = 1 - t^-0.8 and V = R C / mean(R):

    U = G / sqrt(V);   p -= lr U / max(1, RMS(U))

RMS(U) needs no U: its squares sum to r' (G^2) c with r = mean(R) / R and c = 1 / C. A vector keeps
all of its squares. transformers' Adafactor, whose numbers and names of the state these are, goes
over each gradient some ten times; this one three times.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

TINY = 1e-30  # added to squares
DECAY = -0.8  # of the running means: 1 - t^DECAY
CLIP = 1.0  # RMS of an update, at most


class Adafactor(torch.optim.Optimizer):
    """Factored second moments; `step` overwrites the gradients."""

    def __init__(self, params: Iterable[Any], *, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient, which is used up."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group["lr"], group["weight_decay"])

    def _update(self, p: Tensor, grad: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[p]
        if not state:
            state.update(step=0, **_zeros(p))
        state["step"] += 1
        if weight_decay:
            p.mul_(1 - lr * weight_decay)
        fresh = state["step"] ** DECAY
        (_factored if p.ndim >= 2 else _whole)(p, grad, state, lr, fresh)


def _zeros(p: Tensor) -> dict[str, Tensor]:
    if p.ndim < 2:
        return {"exp_avg_sq": torch.zeros_like(p)}
    rows, columns = p.shape[:-1], (*p.shape[:-2], p.shape[-1])
    return {"exp_avg_sq_row": p.new_zeros(rows), "exp_avg_sq_col": p.new_zeros(columns)}


def _factored(p: Tensor, grad: Tensor, state: dict[str, Tensor], lr: float, fresh: float) -> None:
    """p [..., R, C]."""
    rows, columns = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
    squares = grad.square()
    rows.lerp_(squares.mean(-1).add_(TINY), fresh)
    columns.lerp_(squares.mean(-2).add_(TINY), fresh)
    r, c = rows.mean(-1, keepdim=True) / rows, 1 / columns
    total = torch.einsum("...rc,...r,...c->", squares, r, c)
    r = r.sqrt_().mul_(-lr).div_(_clip(total, grad))
    p.addcmul_(grad.mul_(c.sqrt_().unsqueeze(-2)), r.unsqueeze(-1))


def _whole(p: Tensor, grad: Tensor, state: dict[str, Tensor], lr: float, fresh: float) -> None:
    """p of one dimension or none."""
    mean = state["exp_avg_sq"]
    mean.lerp_(grad.square().add_(TINY), fresh)
    grad.mul_(mean.rsqrt())
    p.addcmul_(grad, -lr / _clip(grad.square().sum(), grad))


def _clip(total: Tensor, update: Tensor) -> Tensor:
    """What an update is divided by, given the sum of its squares."""
    return (total.sqrt() / (math.sqrt(update.numel()) * CLIP)).clamp_(min=1.0)
