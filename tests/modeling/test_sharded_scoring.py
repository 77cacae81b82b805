"""Turns of processes whose votes are scripted; `test_sharding.py` has several processes."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from fki.modeling.decoding import PassKind
from fki.modeling.sharded_scoring import _Turns, fits_gathered, scoring_passes
from fki.testing import toy_model

CPU = torch.device("cpu")


class World:
    """An encoder and a decoder, and the votes of another process, [for the one, the other]."""

    def __init__(self, patch: pytest.MonkeyPatch, others: Iterable[list[float]]) -> None:
        self.log: list[str] = []
        self.encoder, self.decoder = nn.Identity(), nn.Identity()
        for name in ("encoder", "decoder"):
            getattr(self, name).register_forward_hook(lambda *_, name=name: self.log.append(name))
        votes = iter(others)

        def all_reduce(own: Tensor) -> None:
            own += torch.tensor(next(votes))

        patch.setattr(torch.distributed, "all_reduce", all_reduce)
        kinds = [
            PassKind([module], lambda module=module: self.run_empty(module))
            for module in (self.encoder, self.decoder)
        ]
        self.turns = _Turns(kinds, CPU)

    def run_empty(self, module: nn.Module) -> None:
        self.log.append("empty")
        module(torch.zeros(1))


def test_a_pass_waits_for_the_kinds_that_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [[1, 0], [1, 0], [0, 1], [1, 0]])
    world.decoder(torch.zeros(1))  # two passes of the other's encoder first
    assert world.log == ["empty", "encoder", "empty", "encoder", "decoder"]
    world.encoder(torch.zeros(1))  # both at once
    assert world.log[5:] == ["encoder"]


def test_a_process_that_is_done_goes_on_until_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [[0, 1], [1, 0], [0, 0]])
    world.turns.wait(None)
    assert world.log == ["empty", "decoder", "empty", "encoder"]
    world.turns.remove()
    world.decoder(torch.zeros(1))  # without a vote, of which none is left


def test_a_module_within_a_pass_has_no_turn_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [[0, 0], [0, 0]])
    inner = world.decoder.register_forward_pre_hook(
        lambda *_: world.encoder(torch.zeros(1)) and None
    )
    world.decoder(torch.zeros(1))
    inner.remove()
    assert world.log == ["encoder", "decoder"]
    with pytest.raises(AttributeError):
        world.decoder.register_forward_pre_hook(lambda *_: None.missing)  # type: ignore[attr-defined]
        world.decoder(torch.zeros(1))
    assert world.turns.depth == 0


def test_whole_weights_fit_if_they_leave_half_of_the_memory() -> None:
    model = toy_model()
    size = sum(p.nbytes for p in model.parameters())
    assert fits_gathered(model, 2 * size) and fits_gathered(model, torch.inf)
    assert not fits_gathered(model, 2 * size - 1)


def test_a_whole_model_needs_nothing() -> None:
    model = toy_model()
    with scoring_passes(model, "sharded"):
        model(input_ids=torch.ones(1, 2).long(), labels=torch.ones(1, 2).long())
