"""Adafactor is that of transformers, as the originals called it, in fewer passes over memory."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.optimization import Adafactor as Reference

from fki.methods.adafactor import CHUNK_SIZE, Adafactor

SHAPES = [(), (7,), (5, 3), (1, 4), (2, 4, 3), (CHUNK_SIZE // 64 + 30, 100)]
LR = 1e-2


def reference(parameters: list[Tensor], weight_decay: float = 0.0) -> Reference:
    return Reference(
        parameters, lr=LR, weight_decay=weight_decay, scale_parameter=False, relative_step=False
    )


def started() -> tuple[list[Tensor], list[Tensor]]:
    """Twice the same parameters, of every shape."""
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in SHAPES]
    return [p.clone().requires_grad_() for p in start], [p.clone().requires_grad_() for p in start]


def give(parameters: list[Tensor], step: int) -> None:
    """Gradients of this step: sparse, of every size, some none at all and some all zero."""
    torch.manual_seed(step)
    for i, p in enumerate(parameters):
        g = torch.randn(p.shape) * 10.0 ** float(torch.randint(-4, 3, ()))
        g = g * (torch.rand(p.shape) < 0.8)
        g = torch.zeros(p.shape) if (step + i) % 5 == 0 else g
        p.grad = None if (step + i) % 4 == 0 else g


def take(optimizer: torch.optim.Optimizer, parameters: list[Tensor], steps: range) -> None:
    for step in steps:
        give(parameters, step)
        optimizer.step()


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Of two weights, relative to the larger of 1 and the largest weight."""
    return max(
        float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1))
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_20_steps_are_those_of_transformers(weight_decay: float) -> None:
    ours, theirs = started()
    take(Adafactor(ours, lr=LR, weight_decay=weight_decay), ours, range(20))
    take(reference(theirs, weight_decay), theirs, range(20))
    start, _ = started()
    assert largest_difference(ours, theirs) <= 2e-6
    assert all(not torch.equal(p, before) for p, before in zip(ours, start, strict=True))


def test_the_learning_rate_is_the_groups_at_each_step() -> None:
    ours, theirs = started()
    optimizers: list[tuple[Any, list[Tensor]]] = [
        (Adafactor(ours, lr=LR), ours),
        (reference(theirs), theirs),
    ]
    for step in range(1, 6):
        for optimizer, parameters in optimizers:
            optimizer.param_groups[0]["lr"] = LR / step
            take(optimizer, parameters, range(step, step + 1))
    assert largest_difference(ours, theirs) <= 2e-6


def test_a_gradient_of_zeros_moves_nothing() -> None:
    parameters, start = started()
    for p in parameters:
        p.grad = torch.zeros_like(p)
    Adafactor(parameters, lr=LR).step()
    assert all(torch.equal(p, before) for p, before in zip(parameters, start, strict=True))


def test_the_state_of_transformers_is_gone_on_with() -> None:
    ours, theirs = started()
    old = reference(theirs)
    take(old, theirs, range(1, 5))
    optimizer = Adafactor(ours, lr=LR)
    state = deepcopy(old.state_dict()["state"])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    with torch.no_grad():
        for p, q in zip(ours, theirs, strict=True):
            p.copy_(q)
    take(old, theirs, range(5, 10))
    take(optimizer, ours, range(5, 10))
    assert largest_difference(ours, theirs) <= 2e-6


def test_a_state_holds_the_means_of_rows_and_columns_and_the_step() -> None:
    p = torch.zeros(5, 3).requires_grad_()
    p.grad = torch.ones(5, 3)
    optimizer = Adafactor([p], lr=LR)
    optimizer.step()
    state = optimizer.state[p]
    assert state.keys() == {"step", "exp_avg_sq_row", "exp_avg_sq_col"}
    assert (state["exp_avg_sq_row"].shape, state["exp_avg_sq_col"].shape) == ((5,), (3,))


def test_an_update_by_hand() -> None:
    # one step from nothing: R and C are the means of G^2, and RMS(U) is about 1
    p = torch.zeros(2, 2).requires_grad_()
    p.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    Adafactor([p], lr=0.5).step()
    rows, columns = torch.tensor([2.5, 12.5]), torch.tensor([5.0, 10.0])
    v = rows[:, None] * columns[None] / rows.mean()
    u = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) / v.sqrt()
    u /= max(1.0, u.square().mean().sqrt().item())
    assert torch.allclose(p, -0.5 * u, atol=1e-6)
