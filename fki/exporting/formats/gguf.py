"""`gguf`: a plain T5 as one fp32 file for llama.cpp. Decoders have a module of their own.

llama.cpp does not scale the head's input, so the factor is multiplied into the head's weights. Its
tokenizer has no byte fallback and no normalization except SentencePiece's table: a text with
characters outside the vocabulary gets other tokens than in training. The folder's tokenizer files
are right.
"""

import base64
import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from fki.core.errors import ConfigError
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats import gguf_decoder
from fki.exporting.formats.base import Format, import_library
from fki.exporting.formats.gguf_file import FILE, finish_file, gguf
from fki.exporting.formats.plain_t5 import fold_to_t5, list_vocabulary, measure_head_scale
from fki.modeling.runtime import Runtime
from fki.runs.open_run import LoadedModel

NEVER = -1000.0  # score of tokens that the tokenizer must not produce
MAX_DISTANCE = 128  # largest relative position that llama.cpp distinguishes
SHARED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")


def write(loaded: LoadedModel, folder: Path) -> None:
    """Raises CannotFold where the method has no plain model, ConfigError where it is not a T5."""
    model = fold_to_t5(loaded, "llama.cpp")
    if model.config.relative_attention_max_distance != MAX_DISTANCE:
        raise ConfigError(
            f"llama.cpp supports relative_attention_max_distance = {MAX_DISTANCE}; this model has "
            f"{model.config.relative_attention_max_distance}.",
            hint="Try: --to onnx",
        )
    writer = gguf.GGUFWriter(str(folder / FILE), "t5")
    _add_settings(writer, model.config, loaded.config.input_length)
    _add_tokens(writer, model.config, loaded.base.tokenizer)
    _add_weights(writer, model)
    finish_file(writer)


def check(loaded: LoadedModel) -> None:
    """Raises ConfigError where llama.cpp is not installed: nothing else runs the file."""
    import_library("llama_cpp", extra="gguf")


def load(folder: Path, encoder: ExampleTokenizer) -> Runtime:
    """Load by llama.cpp. Raises ConfigError where it is not installed."""
    from fki.exporting.formats.llama_cpp_runtime import LlamaRuntime

    return LlamaRuntime(folder / FILE, encoder)


def _add_settings(writer: Any, config: Any, length: int) -> None:
    writer.add_name("T5")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(max(length, 512))
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_block_count(config.num_layers)
    writer.add_decoder_block_count(config.num_decoder_layers)
    writer.add_head_count(config.num_heads)
    writer.add_key_length(config.d_kv)
    writer.add_value_length(config.d_kv)
    writer.add_layer_norm_rms_eps(config.layer_norm_epsilon)
    writer.add_relative_attn_buckets_count(config.relative_attention_num_buckets)
    writer.add_decoder_start_token_id(config.decoder_start_token_id)


def _add_tokens(writer: Any, config: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add the tokenizer as far as GGUF can hold it. Raises ConfigError unless it is Unigram."""
    tokenizer_json = json.loads(tokenizer.backend_tokenizer.to_str())
    if tokenizer_json["model"]["type"] != "Unigram":
        raise ConfigError(
            f"llama.cpp needs a Unigram tokenizer for T5, not {tokenizer_json['model']['type']}.",
            hint="Try: --to onnx",
        )
    tokens = list_vocabulary(tokenizer, config.vocab_size)
    scores = dict(tokenizer_json["model"]["vocab"])
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([float(scores.get(token, NEVER)) for token in tokens])
    writer.add_token_types([_kind(token, tokenizer) for token in tokens])
    for part in (
        tokenizer_json["normalizer"] or {},
        *(tokenizer_json["normalizer"] or {}).get("normalizers", []),
    ):
        if table := part.get("precompiled_charsmap"):
            writer.add_precompiled_charsmap(base64.b64decode(table))
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)


def _kind(token: str, tokenizer: PreTrainedTokenizerBase) -> Any:
    kinds = gguf.TokenType
    if token == tokenizer.unk_token:
        return kinds.UNKNOWN
    if token in (tokenizer.eos_token, tokenizer.pad_token):
        return kinds.CONTROL
    if token.startswith("<extra_id_"):
        return kinds.USER_DEFINED
    if token.startswith("<unused_"):
        return kinds.UNUSED
    return kinds.BYTE if token.startswith("<0x") and len(token) == 6 else kinds.NORMAL


def _add_weights(writer: Any, model: Any) -> None:
    depth = max(model.config.num_layers, model.config.num_decoder_layers)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5, depth)
    for name, weight in model.state_dict().items():
        if name not in SHARED:
            gguf_name = names.get_name(name, try_suffixes=(".weight",))
            writer.add_tensor(gguf_name, weight.detach().float().cpu().numpy())
    head = model.lm_head.weight.detach() * measure_head_scale(model)
    writer.add_tensor("output.weight", head.float().cpu().numpy())


GGUF = Format(
    "gguf",
    "llama.cpp",
    write,
    load,
    tolerance=0.05,
    least_same=0.98,
    reason="llama.cpp reads GELU from an fp16 table, which changes logits by some 0.002",
    library="gguf",
    bytes_per_parameter=8.0,
    check=check,
    decoder=gguf_decoder.DECODER,
)
