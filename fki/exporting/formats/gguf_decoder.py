"""`gguf` of decoders: a model of the Llama family as one fp32 file for llama.cpp.

Where llama-cpp-python is installed, llama.cpp runs the file in the parity check. Elsewhere
transformers reads it back: its weights are then the run's, bit by bit.
"""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from fki.core.formatting import quote_python
from fki.core.optional import describe_extra_install
from fki.data.causal_tokenizer import CausalTokenizer
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import Format
from fki.exporting.formats.gguf_file import FILE, finish_file, gguf
from fki.exporting.formats.gguf_tokens import add_tokens, describe_tokenizer
from fki.exporting.formats.plain_decoder import (
    PLAIN_ROPE,
    build_refusal,
    check_family,
    fold_decoder,
    generate_code,
    read_rope,
    write_endings,
)
from fki.modeling.gguf_model import load_gguf
from fki.modeling.runtime import Runtime, TorchRuntime
from fki.runs.open_run import LoadedModel

NAME = "GGUF"
HAS_LLAMA_CPP = find_spec("llama_cpp") is not None
FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
ROPE_TYPES = (PLAIN_ROPE, "llama3")
QWEN3_WIDTH = 128  # of a head, of every published Qwen3; transformers reads no other from GGUF


def check(loaded: LoadedModel) -> None:
    """Raises ConfigError for a decoder that a GGUF file cannot hold, or that nothing here runs."""
    check_family(loaded, NAME, FAMILIES)
    config: Any = loaded.base.model.config
    kind = read_rope(config, 0).get("rope_type", PLAIN_ROPE)
    whys = {
        f"its activation is '{config.hidden_act}', not 'silu'": config.hidden_act != "silu",
        f"its rotary positions are scaled by '{kind}'": kind not in ROPE_TYPES,
        "its attention has windows": bool(getattr(config, "sliding_window", None)),
    }
    for why, holds in whys.items():
        if holds:
            raise build_refusal(loaded, NAME, why)
    try:
        describe_tokenizer(loaded.base.tokenizer)
    except ValueError as error:
        raise build_refusal(loaded, NAME, f"its tokenizer {error}") from None
    if not HAS_LLAMA_CPP:
        _check_transformers(loaded, config, kind)


def _check_transformers(loaded: LoadedModel, config: Any, rope: str) -> None:
    """Raises ConfigError where transformers leaves out a part of the model that it reads back."""
    whys = {
        "the scaling of its rotary positions": rope != PLAIN_ROPE,
        "its biases": bool(getattr(config, "attention_bias", False))
        or bool(getattr(config, "mlp_bias", False)),
        f"the width of its heads, {getattr(config, 'head_dim', None)}": (
            config.model_type == "qwen3" and config.head_dim != QWEN3_WIDTH
        ),
    }
    for why, holds in whys.items():
        if holds:
            error = build_refusal(
                loaded, NAME, f"transformers does not read {why}, and llama.cpp is not installed"
            )
            error.hint = f"{describe_extra_install('gguf')}   or try: --to hf"
            raise error


def write(loaded: LoadedModel, folder: Path) -> None:
    """Raises CannotFold where the method has no plain model."""
    model = fold_decoder(loaded, NAME)
    write_file(model, loaded.example_tokenizer(), folder / FILE)
    write_endings(model, loaded, folder)


def write_file(model: Any, tokenizer: ExampleTokenizer, file: Path) -> None:
    """Write a decoder of FAMILIES and its tokenizer."""
    assert isinstance(tokenizer, CausalTokenizer)
    config = model.config
    writer = gguf.GGUFWriter(str(file), FAMILIES[config.model_type])
    _add_settings(writer, config)
    add_tokens(writer, tokenizer, config.vocab_size)
    _add_weights(writer, model)
    finish_file(writer)


def _head_width(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _add_settings(writer: Any, config: Any) -> None:
    width = _head_width(config)
    writer.add_name(FAMILIES[config.model_type])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(read_rope(config, 0)["rope_theta"])


def _add_weights(writer: Any, model: Any) -> None:
    """Add the weights under llama.cpp's names; a tied head is left out.

    Llama's query and key maps are in llama.cpp's order of rotary dimensions.
    """
    config = model.config
    architecture = getattr(gguf.MODEL_ARCH, FAMILIES[config.model_type].upper())
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    is_tied = model.lm_head.weight is model.model.embed_tokens.weight
    for name, weight in model.state_dict().items():
        if is_tied and name == "lm_head.weight":
            continue
        tensor, kind = weight.detach().float().cpu(), name.split(".")[-2]
        if architecture == gguf.MODEL_ARCH.LLAMA and kind in heads:
            tensor = interleave_halves(tensor, heads[kind])
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), tensor.numpy())
    rope = read_rope(config, 0)
    if rope["rope_type"] != PLAIN_ROPE:
        factors = scale_frequencies(rope, _head_width(config))
        writer.add_tensor("rope_freqs.weight", factors.numpy())


def interleave_halves(tensor: Tensor, heads: int) -> Tensor:
    """The rows of a query or key map [heads * width, ...], the halves of each head interleaved.

    Transformers rotates dimension i with i + width / 2, llama.cpp 2 i with 2 i + 1.
    """
    halves = tensor.reshape(heads, 2, -1, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape).contiguous()


def scale_frequencies(rope: dict[str, Any], width: int) -> Tensor:
    """Llama 3's divisors [width / 2] of the rotary frequencies (Grattafiori et al., 2024).

    Short waves stay, long ones are divided by `factor`, and those between by values between.
    """
    theta = rope["rope_theta"] ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    turns = rope["original_max_position_embeddings"] / (2 * math.pi * theta)  # within the context
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    share = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 / (share + (1 - share) / rope["factor"])).float()


def load(folder: Path, encoder: ExampleTokenizer) -> Runtime:
    """Load by llama.cpp where it is installed, otherwise by transformers."""
    if HAS_LLAMA_CPP:
        from fki.exporting.formats.llama_cpp_runtime import LlamaDecoderRuntime

        return LlamaDecoderRuntime(folder / FILE, encoder)
    model = load_gguf(folder / FILE)
    model.generation_config = GenerationConfig.from_pretrained(folder)
    return TorchRuntime(model, encoder)


def loading_code(folder: Path, name: str) -> str:
    """Loads the file by transformers."""
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig\n"
        f"model = AutoModelForCausalLM.from_pretrained({quote_python(name)}, "
        f"gguf_file={quote_python(FILE)})\n"
        f"model.generation_config = GenerationConfig.from_pretrained({quote_python(name)})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({quote_python(name)})"
    )


DECODER = Format(
    "gguf",
    "llama.cpp" if HAS_LLAMA_CPP else "transformers",
    write,
    load,
    library="gguf",
    check=check,
    loading_code=loading_code,
    asking_code=generate_code,
    bytes_per_parameter=8.0,
)
