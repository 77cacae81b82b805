"""Quantized base models: values by hand, gradients beside fp32, and a whole run."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fki.config.schema import Config
from fki.core.errors import ConfigError, DataError
from fki.methods.base import make_method, trainable_parameters
from fki.modeling import load, quantized
from fki.modeling.architecture import CAUSAL
from fki.testing import toy_batch, toy_decoder

pytest.importorskip("bitsandbytes")
CPU = torch.device("cpu")


def linear_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of the linear maps of the blocks."""
    return {n: p for n, p in model.named_parameters() if ".layers." in n and p.ndim == 2}


@pytest.fixture
def folder(decoder_folder: Any) -> str:
    """A folder with a toy Llama."""
    return str(decoder_folder("llama"))


class TestValues:
    """The stored weights."""

    def test_8_bits_are_rows_rounded_to_127_steps(self, folder: str) -> None:
        plain = quantized.dequantize(load.load_base_model(folder, "8bit").model)
        expected = linear_weights(toy_decoder("llama"))
        for name, weight in linear_weights(plain).items():
            step = expected[name].abs().amax(1, keepdim=True) / 127
            assert (weight - expected[name]).abs().max() <= 0.51 * step.max(), name
            multiples = weight / step
            # the scale is stored by absmax, whose fp16 rounding is below a thousandth
            assert (multiples - multiples.round()).abs().max() < 0.2, name

    def test_4_bits_are_16_values_a_block(self, folder: str) -> None:
        plain = quantized.dequantize(load.load_base_model(folder, "4bit").model)
        for name, weight in linear_weights(plain).items():
            blocks = weight.reshape(-1, 64)
            assert max(len(block.unique()) for block in blocks) <= 16, name

    def test_embeddings_norms_and_head_stay(self, folder: str) -> None:
        model = load.load_base_model(folder, "4bit").model
        expected = dict(toy_decoder("llama").named_parameters())
        others = {n: p for n, p in model.named_parameters() if n not in linear_weights(model)}
        assert all(torch.equal(p, expected[n]) for n, p in others.items())
        assert {"model.embed_tokens.weight", "model.norm.weight"} <= set(others)

    def test_4_bit_outputs_are_those_of_the_values(self, folder: str) -> None:
        model = load.load_base_model(folder, "4bit").model
        batch = toy_batch(model=model)
        with torch.no_grad():
            before = CAUSAL.logits(model, batch)
            after = CAUSAL.logits(quantized.dequantize(model), batch)
        assert torch.allclose(before, after, atol=1e-6)

    def test_4_bit_maps_are_not_repacked(self, folder: str) -> None:
        model = load.load_base_model(folder, "4bit").model
        maps = [m for m in model.modules() if hasattr(m, quantized.REPACKS)]
        assert len(maps) == len(linear_weights(model))
        assert not any(getattr(m, quantized.REPACKS) for m in maps)
        before = {n: p.detach().clone() for n, p in linear_weights(model).items()}
        with torch.no_grad():
            CAUSAL.logits(model.eval(), toy_batch(model=model))
        assert all(torch.equal(p, before[n]) for n, p in linear_weights(model).items())

    @pytest.mark.parametrize("load_in", ["8bit", "4bit"])
    def test_weights_are_counted_once_each(self, folder: str, load_in: Any) -> None:
        model = load.load_base_model(folder, load_in).model
        expected = load.count_parameters(toy_decoder("llama"))[0]
        assert load.count_parameters(model)[0] == expected

    def test_the_digest_leaves_out_quantized_weights(self, folder: str) -> None:
        digests = {load.weights_digest(load.load_base_model(folder, "8bit").model)}
        digests.add(load.weights_digest(load.load_base_model(folder, "4bit").model))
        assert len(digests) == 1
        assert load.weights_digest(toy_decoder("llama")) not in digests


def test_gradients_through_8_bits_are_those_of_the_values(folder: str) -> None:
    config = Config(method="lora", freeze_level=2, prompt_format="completion")
    gradients = []
    for is_plain in (False, True):
        base = load.load_base_model(folder, "8bit").model
        base = quantized.dequantize(base) if is_plain else base
        torch.manual_seed(0)
        model = make_method(config).prepare(base).train()
        batch = toy_batch(model=model)
        logits = CAUSAL.scored_logits(model, batch, model)
        labels = batch.labels.flatten()[batch.scored_positions]
        nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        parts = [p.grad for n, p in trainable_parameters(model).items() if "lora_B" in n]
        gradients.append(torch.cat([p.flatten() for p in parts if p is not None]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


class TestRefusals:
    """Settings and machines that do not fit."""

    def test_4_bits_do_not_train_on_a_processor(self) -> None:
        with pytest.raises(ConfigError, match="cannot train on a processor"):
            quantized.check_trainable("4bit", CPU)
        quantized.check_trainable("4bit", torch.device("cuda"))
        quantized.check_trainable("8bit", CPU)

    @pytest.mark.parametrize("level", [0, 1])
    def test_quantized_weights_do_not_train(self, level: int) -> None:
        with pytest.raises(ValueError, match="requires freeze_level = 2"):
            Config.model_validate({"load_in": "8bit", "freeze_level": level})

    def test_without_bitsandbytes_the_extra_is_named(
        self, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
        with pytest.raises(DataError, match="requires bitsandbytes") as caught:
            load.load_base_model(folder, "8bit")
        assert "[quantization]" in str(caught.value.hint)


def test_an_fp32_model_is_its_own_values() -> None:
    model = toy_decoder("llama")
    assert quantized.dequantize(model) is model
    assert quantized.loading_options("fp32", CPU) == {}
