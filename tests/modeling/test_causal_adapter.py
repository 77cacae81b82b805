"""Adapters beside a decoder's blocks: by the formula, causal, and equal with and without cache."""

from typing import Any

import pytest
import torch

from fki.core.errors import CannotFold, ConfigError
from fki.modeling.causal_adapter import add_decoder_adapters
from fki.testing import DECODERS, Case, toy_decoder

IDS = torch.tensor([[1, 50, 60, 70, 80, 90, 33]])


def add(family: str, taps: list[list[int]], scale: float = 0.5) -> tuple[Any, Any]:
    """A toy model with adapters, and the adapters."""
    torch.manual_seed(1)
    model = toy_decoder(family)
    return model, add_decoder_adapters(model, scale, taps)


@torch.no_grad()
def test_the_output_is_that_of_the_formula() -> None:
    # Llama by hand: x = Block_1(H[1] + Block_0(H[0])); output = norm(H) + scale * LayerNorm(x)
    model, [adapter] = add("llama", [[0, 1]])
    seen: dict[str, Any] = {}
    model.lm_head.register_forward_pre_hook(lambda _, given: seen.update(head=given[0]))
    model(IDS)
    plain = toy_decoder("llama")
    out = plain.model(IDS, output_hidden_states=True)
    states = out.hidden_states
    positions = torch.arange(IDS.shape[1])[None]
    rotary = plain.model.rotary_emb(states[0], positions)
    below = torch.full((IDS.shape[1],) * 2, float("-inf")).triu(1)[None, None]
    x = torch.zeros_like(states[0])
    for state, block in zip(states, adapter.blocks, strict=False):
        x = block(state + x, attention_mask=below, position_embeddings=rotary)
    expected = out.last_hidden_state + 0.5 * adapter.norm(x)
    torch.testing.assert_close(seen["head"], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_several_adapters_are_averaged() -> None:
    model, [first, second] = add("qwen3", [[0, 1], [0, 1]])
    seen: dict[str, Any] = {}
    for name, adapter in (("first", first), ("second", second)):
        adapter.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    model.lm_head.register_forward_pre_hook(lambda _, given: seen.update(head=given[0]))
    model(IDS)
    plain = toy_decoder("qwen3").model(IDS).last_hidden_state
    added = 0.5 * (seen["first"] + seen["second"]) / 2
    torch.testing.assert_close(seen["head"], plain + added, atol=1e-5, rtol=1e-5)
    assert not torch.equal(seen["first"], seen["second"])


@pytest.mark.parametrize("family", DECODERS)
@torch.no_grad()
def test_a_later_token_changes_nothing_before_it(family: str) -> None:
    model, _ = add(family, [[0, 1]])
    other = IDS.clone()
    other[0, -1] += 1
    before, after = model(IDS).logits, model(other).logits
    torch.testing.assert_close(before[:, :-1], after[:, :-1], atol=1e-5, rtol=0)
    assert not torch.equal(before[:, -1], after[:, -1])


def test_a_model_without_a_final_norm_is_refused() -> None:
    model = toy_decoder("llama")
    del model.model.norm
    with pytest.raises(ConfigError, match="final norm of a 'llama' was not found"):
        add_decoder_adapters(model, 0.1, [[0, 1]])


def test_no_plain_model_holds_the_adapters() -> None:
    ready = Case("kadapter_2", family="llama").prepare(1)
    for name in ("fold", "bundle"):
        with pytest.raises(CannotFold, match="transformers has no such model"):
            getattr(ready.method, name)(ready.model)


def test_a_tap_behind_the_last_block_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 numbers from 0 to 1"):
        Case("kadapter_2", family="llama", options={"layers": [1, 2]}).prepare(1)
