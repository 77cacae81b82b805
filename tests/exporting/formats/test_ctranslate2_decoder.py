"""Decoders for CTranslate2: every family has torch's logits; what it cannot hold is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from fki.config.schema import Config
from fki.core.errors import CannotFold, CheckFailed, ConfigError
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import open_run
from fki.testing import toy_causal_tokenizer

library: Any = pytest.importorskip("ctranslate2")

from fki.exporting.formats import ctranslate2_decoder as form  # noqa: E402

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 256,
}
OLD_SHAPE = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAR = {"rope_type": "default", "rope_theta": 1e6}
KINDS: dict[str, dict[str, Any]] = {  # by family: settings beside its shape
    "bloom": OLD_SHAPE,
    "codegen": {**OLD_SHAPE, "rotary_dim": 8},
    "gemma": {**SHAPE, "rope_parameters": FAR},
    "gemma3_text": {
        **SHAPE,
        "layer_types": ["sliding_attention", "full_attention"],
        "rms_norm_eps": 1e-2,
    },
    "gpt2": {**OLD_SHAPE, "layer_norm_epsilon": 1e-2},
    "gpt_bigcode": OLD_SHAPE,
    "gptj": {**OLD_SHAPE, "rotary_dim": 4},
    "llama": {**SHAPE, "rope_parameters": LLAMA3, "head_dim": 24, "tie_word_embeddings": True},
    "mistral": {**SHAPE, "sliding_window": 128, "rope_parameters": FAR},
    "opt": {**SHAPE, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "qwen2": {**SHAPE, "rope_parameters": FAR, "rms_norm_eps": 1e-2},
    "qwen3": {**SHAPE, "rope_parameters": FAR, "attention_bias": True},
}


def random_decoder(family: str, **settings: Any) -> PreTrainedModel:
    """A decoder with more embeddings than tokens; its norms and biases are not neutral."""
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    size = len(toy_causal_tokenizer().tokenizer) + 3
    config = CONFIG_MAPPING[family](
        vocab_size=size, initializer_range=0.2, **{**tokens, **KINDS[family], **settings}
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("family", form.FAMILIES)
def test_a_family_has_the_logits_of_torch(family: str, tmp_path: Path) -> None:
    model = random_decoder(family)
    ids = torch.randint(3, model.config.vocab_size, (2, 120))
    with torch.no_grad():
        expected = model(ids).logits.numpy()
    spec = form.build_spec(model, toy_causal_tokenizer().tokenizer)
    spec.validate()
    spec.optimize(quantization="float32")
    spec.save(str(tmp_path))
    generator = library.Generator(str(tmp_path), compute_type="float32")
    np.testing.assert_allclose(generator.forward_batch(ids.tolist()), expected, atol=1e-4)
    with torch.no_grad():  # the loaders delete modules, and one permutes weights: of a copy
        np.testing.assert_array_equal(model(ids).logits.numpy(), expected)


def fake(family: str, **settings: Any) -> Any:
    """What `check` reads of an opened run."""
    base = SimpleNamespace(model=SimpleNamespace(config=CONFIG_MAPPING[family](**settings)))
    return SimpleNamespace(base=base, config=Config(model="some/model"))


@pytest.mark.parametrize(
    ("family", "settings", "why"),
    [
        ("gemma2", {}, "these decoders for CTranslate2: bloom, .* 'some/model' is 'gemma2'"),
        ("mamba", {}, "is 'mamba'"),
        ("llama", {"hidden_act": "gelu"}, "its activation is 'gelu', not 'silu'"),
        ("mistral", {"sliding_window": 8}, "its attention window of 8 tokens is shorter"),
        ("qwen3", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "scaled by 'yarn'"),
    ],
)
def test_a_model_that_the_library_cannot_hold_is_told_where_to_go(
    family: str, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        form.check(fake(family, **settings))
    assert caught.value.hint == "Try: --to hf"


def test_windows_that_nothing_uses_are_no_obstacle() -> None:
    form.check(fake("qwen2", sliding_window=8, use_sliding_window=False))
    form.check(fake("gemma3_text"))


def test_a_converter_that_fails_is_an_error_in_words(
    decoder_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("a setting")

    monkeypatch.setattr(form, "build_spec", fail)
    with pytest.raises(ConfigError, match="its converter fails with KeyError: 'a setting'"):
        export(open_run(decoder_run("gpt2")), load_format("ctranslate2"), tmp_path / "out")


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_a_run_is_answered_alike_up_to_its_end_tokens(
    decoder_run: Any, tmp_path: Path, family: str
) -> None:
    opened = open_run(decoder_run(family))
    parity = export(opened, load_format("ctranslate2"), tmp_path / "out")
    assert parity.asked == parity.same_answers == parity.same_beams > 0
    assert parity.largest_difference < 1e-4
    assert {row.differing for row in parity.probe_sets} == {0}
    tokenizer = toy_causal_tokenizer()
    sources = tokenizer.tokenize_sources(["The mayor of Avalon is ___.", "The mayor of Oz is ___."])
    ours, its = (
        runtime.generate(sources, length=10)
        for runtime in (
            TorchRuntime(open_run(decoder_run(family)).model, tokenizer),
            form.FLOAT32.load(tmp_path / "out", tokenizer),
        )
    )
    assert ours == its
    assert (its[0][0][-1] == tokenizer.end_id) is (family != "gpt2")  # which has not learned it


def test_each_token_with_a_newline_ends_an_answer(decoder_run: Any, tmp_path: Path) -> None:
    opened = open_run(decoder_run("llama"))
    form.FLOAT32.write(opened, tmp_path)
    stated = json.loads((tmp_path / "generation_config.json").read_text("utf-8"))
    tokenizer = toy_causal_tokenizer()
    assert stated["eos_token_id"] == sorted(tokenizer.ends)
    assert stated["max_new_tokens"] == 10
    [newline] = tokenizer.ends - {tokenizer.end_id}
    with torch.no_grad():  # the head prefers a newline to everything
        opened.model.lm_head.weight.zero_()  # type: ignore[union-attr]
        opened.model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(tokenizer.tokenizer)))  # type: ignore[union-attr]
        opened.model.lm_head.bias[newline] = 1  # type: ignore[union-attr, index]
    form.FLOAT32.write(opened, tmp_path)
    sources = tokenizer.tokenize_sources(["The mayor of Oz is ___."])
    found = form.FLOAT32.load(tmp_path, tokenizer).generate(sources, length=5)
    assert (
        found == [[[newline]]] == TorchRuntime(opened.model, tokenizer).generate(sources, length=5)
    )


def test_targets_are_scored_after_prompts_of_any_length(decoder_run: Any, tmp_path: Path) -> None:
    opened, tokenizer = open_run(decoder_run("gpt2")), toy_causal_tokenizer()
    form.FLOAT32.write(opened, tmp_path)
    sources = [[1], [1, 50, 60], [1, *range(100, 140)]]
    targets = [[5, 6, 7], [5], [5, 6, tokenizer.end_id]]
    ours, its = (
        runtime.score(sources, targets)
        for runtime in (
            form.FLOAT32.load(tmp_path, tokenizer),
            TorchRuntime(opened.model, tokenizer),
        )
    )
    assert ours == pytest.approx(its, abs=1e-4)


def test_one_altered_tensor_is_caught(
    decoder_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(model: Any, tokenizer: Any, *, right: Any = form.build_spec) -> Any:
        spec = right(model, tokenizer)
        spec.decoder.layer_norm.gamma = spec.decoder.layer_norm.gamma * 1.05
        return spec

    monkeypatch.setattr(form, "build_spec", altered)
    with pytest.raises(CheckFailed, match="log-likelihoods differ"):
        export(open_run(decoder_run("llama")), load_format("ctranslate2"), tmp_path / "out")


def test_int8_has_the_room_that_it_has_for_t5(decoder_run: Any, tmp_path: Path) -> None:
    run, sizes = decoder_run("llama"), []
    for name in ("ctranslate2", "ctranslate2_int8"):
        parity = export(open_run(run), load_format(name), tmp_path / name)
        sizes.append((tmp_path / name / "model.bin").stat().st_size)
    assert 1e-3 < parity.largest_difference <= parity.tolerance
    assert sizes[1] < 0.4 * sizes[0]  # the factors of its rows take a fifth, in a model this narrow
    t5, decoder = load_format("ctranslate2_int8"), form.INT8
    for name in ("tolerance", "least_same", "em_tolerance", "precision"):
        assert getattr(t5, name) == getattr(decoder, name)


def test_adapters_beside_the_blocks_are_told_where_to_go(decoder_run: Any, tmp_path: Path) -> None:
    run = decoder_run("llama", method="kadapter_2", freeze_level=1)
    with pytest.raises(CannotFold, match="kadapter_2 adds modules") as caught:
        export(open_run(run), load_format("ctranslate2"), tmp_path / "out")
    assert caught.value.hint == "Try: --to onnx" and not [*tmp_path.glob("*out*")]


def test_a_model_is_refused_before_it_answers_any_probe(
    decoder_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(*_: Any, **__: Any) -> None:
        pytest.fail("a probe was answered")

    monkeypatch.setattr("fki.exporting.export.ParityCheck", answered)
    opened = open_run(decoder_run("llama"))
    opened.base.model.config.hidden_act = "gelu"
    with pytest.raises(ConfigError, match="its activation is 'gelu'"):
        export(opened, load_format("ctranslate2"), tmp_path / "out")
