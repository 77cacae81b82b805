"""Modular is a second encoder whose output is added, also in generate."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Stack

from fki.config.schema import Config
from fki.core.errors import CannotFold
from fki.methods.base import trainable_parameters
from fki.methods.modular import Modular, ModularOptions
from fki.modeling.load import count_parameters
from fki.testing import Case, generate, logits, toy_batch, toy_model

Published = Callable[[str], T5ForConditionalGeneration]
TOTALS = {"t5-small": 60_506_624, "t5-base": 222_903_552, "t5-large": 737_668_096}
DECODERS = {"t5-small": 25_175_808, "t5-base": 113_275_008, "t5-large": 402_728_448}
ADDED = {
    "small": (35_593_472, 35_724_800, 35_856_128),
    "same": (18_881_280, 84_954_240, 302_040_576),
}


def prepared(model: Any, *, level: int = 1, **options: Any) -> Any:
    config = Config(method="modular", freeze_level=level)
    return Modular(config, ModularOptions(**options)).prepare(model)


def random_start(**options: Any) -> Any:
    """A toy whose second encoder does something before it is taught."""
    return Case("modular", options={"branch_init": "random", **options}).prepare(1).model


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("size", TOTALS)
@pytest.mark.parametrize("second", ADDED)
def test_the_published_sizes_have_the_parameters_of_the_table(
    second: str, size: str, level: int, published: Published
) -> None:
    added = ADDED[second][list(TOTALS).index(size)]
    beside = {0: TOTALS[size], 1: DECODERS[size], 2: 0}[level]
    model = prepared(published(size), level=level, size=second)
    assert count_parameters(model) == (TOTALS[size] + added, beside + added)


@pytest.mark.parametrize(("size", "scale"), [("small", 0.05), ("same", 0.1)])
def test_the_output_is_the_sum_at_the_published_scale(size: str, scale: float) -> None:
    encoder = random_start(size=size).encoder
    ids, mask = toy_batch()[:2]
    with torch.no_grad():
        first = encoder.inner(ids, attention_mask=mask).last_hidden_state
        second = encoder.second(ids, attention_mask=mask).last_hidden_state
        if size == "small":
            second = second @ encoder.projection.weight.T + encoder.projection.bias
        found = encoder(ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(found, first + scale * second, atol=1e-6)
    assert (found - first).abs().max() > 1e-2


@pytest.mark.parametrize("size", ["small", "same"])
@pytest.mark.parametrize("untied", [False, True])
def test_with_scale_0_it_is_bitwise_the_base(size: str, untied: bool) -> None:
    options = {"scale": 0.0, "branch_init": "random", "size": size}
    model = Case("modular", untied, options).prepare(1).model
    assert torch.equal(logits(model), logits(toy_model(untied=untied)))


@pytest.mark.parametrize("size", ["small", "same"])
def test_generate_calls_the_second_encoder_once_per_sequence(
    size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # never in the originals
    model = random_start(size=size)
    calls: list[int] = []
    model.encoder.second.register_forward_pre_hook(lambda _, args: calls.append(args[0].shape[0]))
    generate(model, num_beams=2)
    assert calls == [3]


def test_both_encoders_get_the_same_mask() -> None:
    model, (ids, mask) = random_start(scale=1.0), toy_batch()[:2]
    with torch.no_grad():
        padded = model.encoder(ids, attention_mask=mask).last_hidden_state
        for i, length in enumerate(mask.sum(1).tolist()):
            alone = model.encoder(ids[i : i + 1, :length]).last_hidden_state[0]
            assert torch.allclose(padded[i, :length], alone, atol=1e-5)


def test_a_small_second_encoder_has_embeddings_of_its_own_and_the_same_size_shares_them() -> None:
    small, same = prepared(toy_model()), prepared(toy_model(), size="same")
    assert small.encoder.second.embed_tokens is not small.shared
    assert same.encoder.second.embed_tokens.weight is same.shared.weight
    assert any("second.embed_tokens" in name for name in trainable_parameters(small))
    assert not any(
        "embed_tokens" in name or "shared" in name for name in trainable_parameters(same)
    )


def test_small_is_t5_smalls_shape_and_never_above_the_first_encoders(published: Published) -> None:
    def shape(encoder: T5Stack) -> tuple[int, ...]:
        c = encoder.config
        return c.d_model, c.d_ff, c.num_layers, c.num_heads, c.d_kv

    assert shape(prepared(published("t5-large")).encoder.second) == (512, 2048, 6, 8, 64)
    toy = toy_model()
    assert shape(prepared(toy).encoder.second) == shape(toy_model().encoder)


def test_new_weights_have_t5s_own_initialisation(published: Published) -> None:
    torch.manual_seed(0)
    config = toy_model().config.__class__(vocab_size=200, d_model=256, d_kv=64, d_ff=512)
    second = prepared(T5ForConditionalGeneration(config), branch_init="random").encoder.second
    assert second.embed_tokens.weight.std().item() == pytest.approx(1.0, rel=0.05)
    q = second.block[0].layer[0].SelfAttention.q.weight
    assert q.std().item() == pytest.approx((256 * 64) ** -0.5, rel=0.05)


def test_embeddings_in_place_of_tokens_are_refused() -> None:
    model = prepared(toy_model())
    with pytest.raises(ValueError, match="input_ids"):
        model.encoder(inputs_embeds=torch.zeros(1, 3, 16))


def test_it_cannot_be_folded_and_says_so() -> None:
    ready = Case("modular").prepare(1)
    with pytest.raises(CannotFold, match=r"a plain model has none"):
        ready.method.fold(ready.model)
