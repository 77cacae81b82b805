"""Decoders as GGUF files: read back bit by bit, with the metadata of an independent writer."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from fki.config.schema import Config
from fki.core.errors import CannotFold, CheckFailed, ConfigError
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.modeling.gguf_model import load_gguf
from fki.runs.open_run import open_run
from fki.testing import toy_causal_tokenizer, toy_decoder

gguf: Any = pytest.importorskip("gguf")

from fki.exporting.formats import gguf_decoder as form  # noqa: E402

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
    "rms_norm_eps": 1e-5,
}
KINDS: dict[str, dict[str, Any]] = {  # name: family and settings
    "llama, tied": {"family": "llama", "tie_word_embeddings": True, "head_dim": 16},
    "llama, untied": {"family": "llama"},
    "mistral": {"family": "mistral", "sliding_window": None},
    "qwen2": {"family": "qwen2"},
    "qwen3": {"family": "qwen3", "head_dim": form.QWEN3_WIDTH},
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def random_decoder(family: str, **settings: Any) -> PreTrainedModel:
    """A decoder with norms and biases that are not neutral."""
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    size = len(toy_causal_tokenizer().tokenizer)
    config = CONFIG_MAPPING[family](vocab_size=size, **{**SHAPE, **tokens, **settings})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("name", KINDS)
def test_transformers_reads_every_weight_back_bit_by_bit(name: str, tmp_path: Path) -> None:
    model = random_decoder(**KINDS[name])
    form.write_file(model, toy_causal_tokenizer(), tmp_path / "model.gguf")
    back = load_gguf(tmp_path / "model.gguf")
    expected = model.state_dict()
    found = back.state_dict()
    assert {*found} == {*expected}
    assert [n for n, tensor in expected.items() if not torch.equal(tensor, found[n])] == []
    ids = torch.tensor([[1, 50, 60, 70, 80]])
    with torch.no_grad():
        assert torch.equal(back(ids).logits, model(ids).logits)


def test_metadata_and_tensors_are_those_of_an_independent_writer(tmp_path: Path) -> None:
    from tests.support.gguf_file import write_llama

    write_llama(tmp_path / "theirs.gguf")
    form.write_file(toy_decoder("llama"), toy_causal_tokenizer(), tmp_path / "ours.gguf")
    ours, theirs = (gguf.GGUFReader(tmp_path / name) for name in ("ours.gguf", "theirs.gguf"))
    unknown = "tokenizer.ggml.unknown_token_id"  # of a tokenizer that spells all texts as bytes
    for name, field in theirs.fields.items():
        if not name.startswith("GGUF.") and name != unknown:
            assert ours.fields[name].contents() == field.contents(), name
    tensors = {tensor.name: tensor for tensor in ours.tensors}
    assert {*tensors} == {tensor.name for tensor in theirs.tensors}
    assert all((tensors[t.name].data == t.data).all() for t in theirs.tensors)


@pytest.mark.parametrize("width", [16, 64, 128])
def test_llama_3_divides_the_frequencies_as_transformers_does(width: int) -> None:
    config = LlamaConfig(head_dim=width, rope_parameters=LLAMA3)
    frequencies, scale = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 5e5 ** -(torch.arange(0, width, 2, dtype=torch.float32) / width)
    assert scale == 1
    torch.testing.assert_close(plain / form.scale_frequencies(LLAMA3, width), frequencies)


def test_scaled_frequencies_are_a_tensor_of_their_own(tmp_path: Path) -> None:
    model = random_decoder("llama", rope_parameters=LLAMA3)
    form.write_file(model, toy_causal_tokenizer(), tmp_path / "model.gguf")
    tensors = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert tensors["rope_freqs.weight"].tolist() == form.scale_frequencies(LLAMA3, 8).tolist()


def fake(family: str, tokenizer: PreTrainedTokenizerBase | None = None, **settings: Any) -> Any:
    """What `check` reads of an opened run."""
    model = SimpleNamespace(config=CONFIG_MAPPING[family](**settings))
    own = tokenizer or toy_causal_tokenizer().tokenizer
    base = SimpleNamespace(model=model, tokenizer=own)
    return SimpleNamespace(base=base, config=Config(model="some/model"))


@pytest.mark.parametrize(
    ("family", "settings", "why"),
    [
        ("gpt2", {}, "these decoders for GGUF: llama, mistral, qwen2 and qwen3; .* is 'gpt2'"),
        ("llama", {"hidden_act": "gelu"}, "its activation is 'gelu', not 'silu'"),
        ("mistral", {"sliding_window": 8}, "its attention has windows"),
        ("qwen2", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "scaled by 'yarn'"),
    ],
)
def test_a_model_that_a_file_cannot_hold_is_told_where_to_go(
    family: str, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        form.check(fake(family, **settings))
    assert caught.value.hint == "Try: --to hf"


@pytest.mark.parametrize(
    ("family", "settings", "why"),
    [
        ("llama", {"rope_parameters": LLAMA3}, "the scaling of its rotary positions"),
        ("llama", {"attention_bias": True}, "its biases"),
        ("qwen3", {"head_dim": 64}, "the width of its heads, 64"),
    ],
)
def test_what_only_llama_cpp_reads_needs_llama_cpp(
    family: str, settings: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "HAS_LLAMA_CPP", True)
    form.check(fake(family, **settings))
    monkeypatch.setattr(form, "HAS_LLAMA_CPP", False)
    with pytest.raises(ConfigError, match=f"does not read {why}, and llama.cpp") as caught:
        form.check(fake(family, **settings))
    assert "[gguf]" in str(caught.value.hint) and "--to hf" in str(caught.value.hint)


@pytest.mark.parametrize("method", ["vanilla", "lora"])
def test_a_run_is_answered_alike(decoder_run: Any, tmp_path: Path, method: str) -> None:
    settings = {"freeze_level": 2} if method == "lora" else {}
    run = decoder_run("llama", method=method, **settings)
    parity = export(open_run(run), load_format("gguf"), tmp_path / "out")
    assert parity.asked == parity.same_answers == parity.same_beams > 0
    assert parity.largest_difference < 1e-4
    assert parity.tolerance == load_format("hf").tolerance  # no other than that of fp32
    stated = json.loads((tmp_path / "out" / "generation_config.json").read_text("utf-8"))
    assert stated["eos_token_id"] == sorted(toy_causal_tokenizer().ends)


def test_maps_in_transformers_order_are_caught(
    decoder_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "interleave_halves", lambda tensor, heads: tensor)
    with pytest.raises(CheckFailed, match="log-likelihoods differ"):
        export(open_run(decoder_run("llama")), load_format("gguf"), tmp_path / "out")


def test_adapters_beside_the_blocks_are_told_where_to_go(decoder_run: Any, tmp_path: Path) -> None:
    run = decoder_run("llama", method="kadapter_2", freeze_level=1)
    with pytest.raises(CannotFold, match="kadapter_2 adds modules") as caught:
        export(open_run(run), load_format("gguf"), tmp_path / "out")
    assert caught.value.hint == "Try: --to onnx" and not [*tmp_path.glob("*out*")]
