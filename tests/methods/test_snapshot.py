"""A snapshot replaces the trainable weights for a while, or for good."""

import pytest
import torch
from torch import Tensor

from fki.core.errors import DataError
from fki.methods.snapshot import Snapshot
from fki.testing import Case
from fki.testing.toy_models import logits


def change(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)


@pytest.mark.parametrize("method", ["vanilla", "lora", "kadapter_2"])
def test_the_copied_weights_apply_within_the_context_only(method: str) -> None:
    model = Case(method).prepare(1).model
    before, snapshot = logits(model), Snapshot.take(model)
    change(model)
    after: Tensor = logits(model)
    model.train()
    with snapshot.applied(model):
        assert torch.equal(logits(model), before) and not model.training
        assert not torch.is_grad_enabled()
    assert model.training and torch.is_grad_enabled()
    assert torch.equal(logits(model.eval()), after) and not torch.equal(before, after)


def test_gradients_of_a_pass_before_it_are_those_of_the_current_weights() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    snapshot = Snapshot.take(model)
    change(model)
    wanted = torch.autograd.grad(model(torch.ones(1, 2)).square().sum(), model.weight)[0]
    loss = model(torch.ones(1, 2)).square().sum()
    with snapshot.applied(model):
        model(torch.ones(1, 2))
    loss.backward()
    assert torch.equal(model.weight.grad, wanted)


def test_an_error_within_the_context_brings_the_current_weights_back() -> None:
    model = torch.nn.Linear(2, 1)
    snapshot, current = Snapshot.take(model), model.weight.detach().clone()
    change(model)
    with pytest.raises(RuntimeError), snapshot.applied(model):
        raise RuntimeError
    assert torch.equal(model.weight, current + 0.1)


def test_restoring_writes_the_weights_into_the_same_parameters() -> None:
    model = torch.nn.Linear(2, 1)
    snapshot, parameter = Snapshot.take(model), model.weight
    before = parameter.detach().clone()
    change(model)
    snapshot.restore(model)
    assert model.weight is parameter and torch.equal(parameter, before)


def test_weights_of_another_model_are_refused() -> None:
    snapshot = Snapshot.take(torch.nn.Linear(2, 1))
    for other in (torch.nn.Linear(2, 2), torch.nn.Linear(2, 1, bias=False)):
        with pytest.raises(DataError, match="does not fit"), snapshot.applied(other):
            pass
