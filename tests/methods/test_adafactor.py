"""Adafactor is transformers' to the rounding, in the configuration of the originals."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.optimization import Adafactor as Reference

from fki.methods.adafactor import Adafactor

SHAPES = [(), (5,), (1,), (7, 3), (1, 4), (4, 1), (2, 3, 4), (64, 48)]


def pair(
    weight_decay: float = 0.0, lr: float = 1e-2
) -> tuple[list[Tensor], list[Tensor], Any, Any]:
    """The same parameters twice, ours and the reference."""
    torch.manual_seed(0)
    ours = [torch.randn(shape).requires_grad_() for shape in SHAPES]
    theirs = [p.detach().clone().requires_grad_() for p in ours]
    reference = Reference(
        theirs, lr=lr, weight_decay=weight_decay, scale_parameter=False, relative_step=False
    )
    return ours, theirs, Adafactor(ours, lr=lr, weight_decay=weight_decay), reference


def gradients(step: int) -> list[Tensor | None]:
    """Of each shape, over four orders of magnitude; now and then all 0, or none."""
    found: list[Tensor | None] = [
        torch.randn(shape) * 10 ** torch.empty(()).uniform_(-3, 1) for shape in SHAPES
    ]
    if step == 3:
        return [torch.zeros(shape) for shape in SHAPES]
    if step % 4 == 2:
        found[step % len(SHAPES)] = None
    return found


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_it_is_transformers_to_two_millionths(weight_decay: float) -> None:
    ours, theirs, optimizer, reference = pair(weight_decay)
    for step in range(20):
        for p, q, gradient in zip(ours, theirs, gradients(step), strict=True):
            p.grad, q.grad = (None if gradient is None else gradient.clone() for _ in range(2))
        optimizer.step()
        reference.step()
        for p, q in zip(ours, theirs, strict=True):
            assert (p - q).abs().max() <= 2e-6 * q.abs().max()


def test_it_goes_on_from_the_state_of_transformers() -> None:
    ours, theirs, optimizer, reference = pair()
    for step in range(6):
        if step == 3:
            with torch.no_grad():
                for p, q in zip(ours, theirs, strict=True):
                    p.copy_(q)
            state = copy.deepcopy(reference.state_dict()["state"])
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        for p, q, gradient in zip(ours, theirs, gradients(0), strict=True):
            assert gradient is not None
            p.grad, q.grad = gradient.clone(), gradient.clone()
        reference.step()
        if step >= 3:
            optimizer.step()
    for p, q in zip(ours, theirs, strict=True):
        assert torch.allclose(p, q, atol=2e-6, rtol=2e-6)


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


def test_its_state_is_rows_and_columns_and_not_the_whole() -> None:
    p = torch.zeros(30, 20).requires_grad_()
    optimizer = Adafactor([p], lr=1.0)
    p.grad = torch.ones(30, 20)
    optimizer.step()
    held = [v for v in optimizer.state[p].values() if isinstance(v, Tensor)]
    assert sum(t.numel() for t in held) == 50
