"""A GGUF file of the toy Llama, written without fki: an independent reference."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

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
