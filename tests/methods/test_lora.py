"""LoRA adds what its paper says, where CKL added it, and starts as the base model."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import T5ForConditionalGeneration

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.methods.base import make_method, trainable_parameters
from fki.methods.lora import Lora, LoraOptions
from fki.testing import Case, logits, toy_decoder, toy_model

Published = Callable[[str], T5ForConditionalGeneration]
ADDED = {"t5-small": (36, 147_456), "t5-base": (72, 442_368), "t5-large": (144, 1_179_648)}


def sites(model: Any) -> list[tuple[str, LoraLayer]]:
    return [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer)]


@pytest.mark.parametrize("size", ADDED)
def test_the_published_sizes_get_the_sites_and_parameters_of_the_table(
    size: str, published: Published
) -> None:
    lora = Lora(Config(method="lora", freeze_level=2), LoraOptions())
    model = lora.prepare(published(size))
    added = sum(p.numel() for p in trainable_parameters(model).values())
    assert (len(sites(model)), added) == ADDED[size]


def test_every_attention_gets_additions_to_q_and_v_alone() -> None:
    model = Case("lora").prepare(2).model
    names = [name for name, _ in sites(model)]
    assert {name.rpartition(".")[2] for name in names} == {"q", "v"}
    assert sum("encoder" in n for n in names) == 2 * 2  # two layers, q and v
    assert sum("decoder" in n and "SelfAttention" in n for n in names) == 2 * 2
    assert sum("EncDecAttention" in n for n in names) == 2 * 2


def test_the_scaling_is_alpha_over_r_and_not_its_inverse() -> None:
    # the originals scaled by r / alpha = 0.25
    assert {m.scaling["default"] for _, m in sites(Case("lora").prepare(2).model)} == {4.0}


@pytest.mark.parametrize("untied", [False, True])
def test_before_training_the_logits_are_bitwise_the_bases(untied: bool) -> None:
    model = Case("lora", untied).prepare(2).model
    assert all(not m.lora_B["default"].weight.any() for _, m in sites(model))
    assert torch.equal(logits(model), logits(toy_model(untied=untied)))


def test_training_adds_scaling_times_b_a_to_the_base_map() -> None:
    model = Case("lora").train(2).model
    layer = sites(model)[0][1]
    x = torch.randn(3, 16)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    by_hand = x @ (layer.base_layer.weight + 4.0 * b @ a).T
    assert torch.allclose(layer(x), by_hand, atol=1e-6)
    assert not torch.allclose(layer.base_layer(x), by_hand, atol=1e-6)


@pytest.mark.parametrize("untied", [False, True])
def test_folding_sums_the_additions_into_fp32_weights(untied: bool) -> None:
    ready = Case("lora", untied).train(2)
    before = logits(ready.model)
    folded = ready.method.fold(copy.deepcopy(ready.model).to(torch.float32))
    assert {p.dtype for p in folded.parameters()} == {torch.float32}
    assert not sites(folded)
    assert (logits(folded) - before).abs().max() < 1e-5


@pytest.mark.parametrize("untied", [False, True])
def test_folding_leaves_the_head_tied_or_untied_as_it_was(untied: bool) -> None:
    ready = Case("lora", untied).train(2)
    folded: Any = ready.method.fold(ready.model)
    assert (folded.lm_head.weight is folded.shared.weight) is not untied
    assert folded.config.scale_decoder_outputs is not untied


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_additions_train_at_every_freeze_level(level: int) -> None:
    names = trainable_parameters(Case("lora").prepare(level).model)
    assert sum("lora_" in name for name in names) == 2 * 12  # A and B at 12 sites
    beside = [name for name in names if "lora_" not in name]
    assert bool(beside) == (level < 2)
    assert any("encoder" in name.partition("decoder")[0] for name in beside) == (level == 0)


def test_level_1_trains_the_whole_decoder_beside_the_additions(published: Published) -> None:
    lora = Lora(Config(method="lora", freeze_level=1), LoraOptions())
    trained = sum(
        p.numel() for p in trainable_parameters(lora.prepare(published("t5-large"))).values()
    )
    assert trained == 402_728_448 + 1_179_648


def test_other_targets_can_be_chosen() -> None:
    model = Case("lora", options={"target_modules": ["wo"], "r": 3}).prepare(2).model
    assert {name.rpartition(".")[2] for name, _ in sites(model)} == {"wo"}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (toy_model(), {"q", "k", "v", "o", "wi", "wo"}),
        (toy_decoder("gpt2"), {"c_attn", "c_proj", "c_fc"}),
        (
            toy_decoder("llama"),
            {*(f"{n}_proj" for n in "qkvo"), *(f"{n}_proj" for n in ("gate", "up", "down"))},
        ),
    ],
    ids=["t5", "gpt2", "llama"],
)
def test_all_linear_is_every_map_but_the_head(model: Any, expected: set[str]) -> None:
    config = Config(method="lora", options={"lora": {"target_modules": ["all-linear"]}})
    adapter = make_method(config).prepare(model)
    assert set(adapter.peft_config["default"].target_modules) == expected


@pytest.mark.parametrize("target", ["zzz", "layer_norm", "SelfAttention", "block"])
def test_a_target_that_is_no_map_is_refused_with_the_maps_there_are(target: str) -> None:
    lora = Lora(Config(method="lora", model="toy"), LoraOptions(target_modules=["q", target]))
    with pytest.raises(ConfigError, match=f"'toy' has no linear map '{target}'") as caught:
        lora.prepare(toy_model())
    assert "it has q, k, v, o, wi" in str(caught.value)


@pytest.mark.parametrize(
    ("target", "untied"), [("lm_head", False), ("shared", False), ("embed_tokens", True)]
)
def test_a_target_with_shared_weights_is_refused(target: str, untied: bool) -> None:
    lora = Lora(Config(method="lora"), LoraOptions(target_modules=[target]))
    with pytest.raises(ConfigError, match=f"'{target}' of .* shares its weights"):
        lora.prepare(toy_model(untied=untied))


@pytest.mark.parametrize("target", ["lm_head", "relative_attention_bias", "SelfAttention.q"])
def test_a_target_with_weights_of_its_own_can_be_folded(target: str) -> None:
    lora = Lora(Config(method="lora", freeze_level=2), LoraOptions(target_modules=[target]))
    model = lora.prepare(toy_model(untied=True))
    for parameter in trainable_parameters(model).values():
        nn.init.normal_(parameter, std=0.1)
    before = logits(model)
    assert not torch.allclose(before, logits(toy_model(untied=True)), atol=1e-3)
    assert torch.allclose(logits(lora.fold(model)), before, atol=1e-5)
