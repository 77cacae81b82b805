"""Toy decoders of four families for tests, with two layers and width 16."""

from functools import cache
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from fki.data.causal_tokenizer import CausalTokenizer
from fki.modeling import load

DECODERS = ("gpt2", "llama", "qwen3", "gemma3_text")
FROZEN_HALF = {  # the beginnings of the names that freeze_level = 1 freezes, written out
    "gpt2": ("transformer.wte.", "transformer.wpe.", "transformer.h.0."),
    **dict.fromkeys(DECODERS[1:], ("model.embed_tokens.", "model.layers.0.")),
}
GPT2_SHAPE: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256}
SHAPE: dict[str, Any] = {  # of the others: grouped queries; Gemma's windows of 8 tokens
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 256,
}


def toy_decoder(family: str) -> PreTrainedModel:
    """A decoder of a family in DECODERS, with the same random weights each time."""
    tokenizer = toy_causal_tokenizer().tokenizer
    tokens = {
        name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
    shape = GPT2_SHAPE if family == "gpt2" else SHAPE
    windows = {"sliding_window": 8} if family == "gemma3_text" else {}
    config = CONFIG_MAPPING[family](
        vocab_size=len(tokenizer), initializer_range=0.1, **shape, **windows, **tokens
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval()


@cache
def toy_causal_tokenizer() -> CausalTokenizer:
    """A CausalTokenizer over the embedded decoder's tokenizer."""
    return CausalTokenizer(load.load_tokenizer(load.locate_model("llama-mini")), 64, 32)
