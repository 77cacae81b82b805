"""A decoder's forward pass: exact when padded, packed or reduced to scored positions."""

from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    MambaConfig,
    OPTConfig,
    PreTrainedModel,
)

from fki.core.errors import ConfigError
from fki.data.collator import IGNORE_INDEX
from fki.modeling import causal
from fki.modeling.architecture import CAUSAL
from fki.modeling.causal_adapter import decoder_depth
from fki.modeling.causal_decoding import reuses_prompts
from fki.testing import DECODERS, toy_causal_tokenizer, toy_decoder, toy_period

SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2}


def make_unusual(name: str) -> PreTrainedModel:
    """A toy model whose positions are not those of rotary or learned position ids."""
    vocabulary: dict[str, Any] = {"vocab_size": len(toy_causal_tokenizer().tokenizer)}
    own = {"num_attention_heads": 2, "ffn_dim": 32, "word_embed_proj_dim": 16, "init_std": 0.1}
    configs: dict[str, Any] = {
        "opt": lambda: OPTConfig(**vocabulary, **SMALL, **own, max_position_embeddings=256),
        "bloom": lambda: BloomConfig(
            **vocabulary, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.1
        ),
        "mamba": lambda: MambaConfig(**vocabulary, **SMALL, initializer_range=0.1),
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(configs[name]()).eval()


def examples() -> list[Any]:
    """The toy period's examples, tokenized."""
    return toy_causal_tokenizer().encode(toy_period().examples)


@torch.no_grad()
def plain_logits(model: Any, example: Any) -> torch.Tensor:
    """The logits that predict an example's target, by a plain forward pass."""
    return model(torch.tensor([example.source])).logits[0, -len(example.target) :]


@pytest.mark.parametrize("family", DECODERS)
def test_scored_logits_are_those_of_each_example_alone(family: str) -> None:
    model, tokenizer = toy_decoder(family), toy_causal_tokenizer()
    expected = torch.cat([plain_logits(model, example) for example in examples()])
    padded = CAUSAL.scored_logits(model, tokenizer.collate(examples()), model)
    packed = CAUSAL.scored_logits(model, tokenizer.collate_packed([examples()]), model)
    rows = [[examples()[2], examples()[0]], [examples()[1]]]
    mixed = CAUSAL.scored_logits(model, tokenizer.collate_packed(rows), model)
    order = [plain_logits(model, e) for row in rows for e in row]
    torch.testing.assert_close(padded, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(packed, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed, torch.cat(order), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", DECODERS)
def test_packed_gradients_are_those_of_transformers_own_loss(family: str) -> None:
    model, tokenizer = toy_decoder(family), toy_causal_tokenizer()
    total = sum(len(example.target) for example in examples())
    for example in examples():
        prompt = len(example.source) + 1 - len(example.target)
        text = [*example.source, example.target[-1]]
        labels = [IGNORE_INDEX] * prompt + text[prompt:]
        loss = model(torch.tensor([text]), labels=torch.tensor([labels])).loss
        (loss * len(example.target) / total).backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    batch = tokenizer.collate_packed([examples()])
    targets = batch.labels.flatten()[batch.scored_positions]
    functional.cross_entropy(CAUSAL.scored_logits(model, batch, model), targets).backward()
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", DECODERS)
def test_a_trial_finds_that_packing_and_reuse_are_exact(family: str) -> None:
    model = toy_decoder(family).train()
    assert causal.can_pack(model) and reuses_prompts(model)
    assert model.training


@pytest.mark.parametrize(("name", "reuses"), [("opt", True), ("bloom", True), ("mamba", False)])
def test_a_trial_finds_what_a_model_cannot_do(name: str, reuses: bool) -> None:
    model = make_unusual(name)
    assert not causal.can_pack(model)
    assert reuses_prompts(model) is reuses


def test_positions_start_anew_with_each_example() -> None:
    segments = torch.tensor([[1, 1, 1, 2, 3, 3, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]])
    expected = [[0, 1, 2, 0, 0, 1, 0, 1], [0, 1, 2, 3, 4, 5, 6, 7]]
    assert causal.restarting_positions(segments).tolist() == expected


def test_the_blocks_of_a_model_without_a_list_are_an_error() -> None:
    model = toy_decoder("llama")
    model.config.num_hidden_layers = 5
    with pytest.raises(ConfigError, match="blocks of a 'llama' cannot be found") as error:
        causal.find_blocks(model)
    assert "freeze_level=0" in str(error.value.hint)
    with pytest.raises(ConfigError, match="cannot be found for K-Adapter") as error:
        decoder_depth(model)
    assert "freeze_level" not in str(error.value.hint)


@pytest.mark.parametrize(
    ("family", "targets", "expected"),
    [
        ("gpt2", ["q", "v"], ["c_attn"]),
        ("llama", ["q", "v"], ["q_proj", "v_proj"]),
        ("qwen3", ["q", "up_proj"], ["q_proj", "up_proj"]),
    ],
)
def test_query_and_value_maps_are_found_by_the_model_s_names(
    family: str, targets: list[str], expected: list[str]
) -> None:
    assert CAUSAL.find_maps(toy_decoder(family), targets) == expected
