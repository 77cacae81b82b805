"""Load a base model and its tokenizer by name: embedded, local folder or Hugging Face Hub.

A folder takes precedence over the Hub. Code that comes with a model is never run.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import constants, get_session, try_to_load_from_cache
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.utils import logging as transformers_logging

from fki.config.schema import Config
from fki.core.errors import ConfigError, FkiError, NotDownloaded, did_you_mean
from fki.core.formatting import format_command
from fki.core.paths import asset_folder, data_home, expand_path
from fki.core.types import CAUSAL_FORMATS, LoadIn
from fki.data import token_cache
from fki.data.causal_tokenizer import CausalTokenizer, PlainText
from fki.data.collator import ExampleTokenizer
from fki.data.prompts import END_SENTINEL, SENTINEL
from fki.data.token_cache import TokenCache
from fki.data.tokenization import make_tokenize
from fki.modeling.device import select_device
from fki.modeling.gguf_model import is_gguf, locate_gguf
from fki.modeling.modeling_fki import FkiT5Config, FkiT5ForConditionalGeneration
from fki.modeling.quantized import count_weights, keep_stored_values, loading_options

EMBEDDED_MODELS = ("t5-mini", "llama-mini")
DEFAULT_RUNS = "runs"  # the folder of runs where none is named
TOKENIZER_FILES = ("tokenizer.json", "spiece.model")
HUB_TIMEOUT = 5  # seconds to wait for the Hub's first response
transformers_logging.disable_progress_bar()  # the command line draws its own
# for an exported folder with its own code, fki's classes are used, never the folder's
AutoConfig.register(FkiT5Config.model_type, FkiT5Config, exist_ok=True)
AutoModelForSeq2SeqLM.register(FkiT5Config, FkiT5ForConditionalGeneration, exist_ok=True)


class BaseModel(NamedTuple):
    """A base model in fp32, its tokenizer, and where they come from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: str  # a folder, or a name on the Hub


def load_base_model(name: str, load_in: LoadIn = "fp32") -> BaseModel:
    """Load the model and tokenizer of this name.

    Args:
        load_in: the storage of linear maps; quantized ones are on the device of this process.
    Raises:
        NotDownloaded: the model is not on this machine and cannot be fetched.
        ConfigError: the model is not a language model that fki can train.
        DataError: a quantized model needs bitsandbytes, which is not installed.
    """
    source = locate_model(name)
    _check_reachable(name, source)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        if not config.is_encoder_decoder:
            _check_decoder(config, name)
        tokenizer = load_tokenizer(source)
        model = load_model(source, torch.float32, **loading_options(load_in, select_device()))
    except FkiError:
        raise
    except Exception as error:  # the libraries raise many types for a malformed file
        raise _loading_error(name, source, error) from error
    keep_stored_values(model)
    if config.is_encoder_decoder:
        _check_sentinels(tokenizer, name)
    _check_vocabulary(tokenizer, model, name)
    _check_finite(model, name)
    check_special_tokens(model, name)
    model.generation_config = strip_generation_config(model.generation_config)
    return BaseModel(model, tokenizer, source)


def load_model(source: str | Path, dtype: torch.dtype | str, **options: Any) -> PreTrainedModel:
    """The model of a folder or of the Hub, by transformers' class for its architecture.

    Args:
        options: further arguments of `from_pretrained`.
    """
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    is_seq2seq = config.is_encoder_decoder
    loader: Any = AutoModelForSeq2SeqLM if is_seq2seq else AutoModelForCausalLM
    return loader.from_pretrained(source, dtype=dtype, trust_remote_code=False, **options)


def _check_decoder(config: PreTrainedConfig, name: str) -> None:
    """Raises ConfigError unless the config is that of a decoder with a language model's head."""
    kind = config.model_type
    is_encoder = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    )
    if is_encoder or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        what = "an encoder without a decoder" if is_encoder else "no language model"
        raise ConfigError(
            f"'{name}' is a '{kind}', {what}: it cannot write answers.",
            hint="Use a decoder such as GPT-2, Llama or Qwen, or an encoder-decoder such as T5.",
        )


def _check_sentinels(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raises ConfigError if the tokenizer of an encoder-decoder has no sentinels."""
    for sentinel in (SENTINEL, END_SENTINEL):
        if tokenizer.convert_tokens_to_ids(sentinel) in (None, tokenizer.unk_token_id):
            raise ConfigError(
                f"The tokenizer of '{name}' has no token {sentinel}.",
                hint="Use a T5 model and tokenizer.",
            )


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or of a model on the Hub.

    Raises ConfigError if a folder has none: transformers would make one that knows no word.
    """
    folder = Path(source)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source, trust_remote_code=False
        )
    except Exception as error:  # the libraries raise many types for a malformed file
        if not folder.is_dir():
            raise
        if any((folder / name).is_file() for name in TOKENIZER_FILES):
            cause = describe_cause(error)
            raise ConfigError(f"The tokenizer in {source} cannot be loaded: {cause}") from error
        raise _missing_tokenizer(source) from error
    files = {*tokenizer.vocab_files_names.values()}
    if folder.is_dir():
        exists = any((folder / name).is_file() for name in files)
    else:  # a partial download
        exists = any(isinstance(try_to_load_from_cache(source, name), str) for name in files)
    if files and not exists:
        raise _missing_tokenizer(source)
    return tokenizer


def _missing_tokenizer(source: str) -> ConfigError:
    kind = "folder" if Path(source).is_dir() else "model"
    return ConfigError(
        f"The {kind} {source} has no tokenizer ({' or '.join(TOKENIZER_FILES)}).",
        hint="Save it beside the model: tokenizer.save_pretrained(FOLDER)"
        if kind == "folder"
        else f"With a network: hf download {source}",
    )


def _check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str
) -> None:
    """Raises ConfigError if the tokenizer has ids that the model has not, or another EOS or pad.

    A decoder needs no padding token: padding is masked.
    """
    tokens = max(tokenizer.get_vocab().values()) + 1
    embeddings = model.get_input_embeddings().num_embeddings
    if tokens > embeddings:
        raise ConfigError(
            f"The tokenizer of '{name}' has {tokens:,} tokens, its weights {embeddings:,}.",
            hint="Use the model's own tokenizer, or add the missing embeddings: "
            f"model.resize_token_embeddings({tokens})",
        )
    for token in _needed_tokens(model.config):
        own, expected = getattr(tokenizer, token), getattr(model.config, token, None)
        if own is None or (isinstance(expected, int) and own != expected):
            raise ConfigError(
                f"The tokenizer of '{name}' has {token} = {own}, its weights {expected}.",
                hint="Use the model's own tokenizer.",
            )


def _needed_tokens(config: PreTrainedConfig) -> tuple[str, ...]:
    """The special tokens that decoding needs, beside the start token of an encoder-decoder."""
    return ("eos_token_id", "pad_token_id") if config.is_encoder_decoder else ("eos_token_id",)


def check_special_tokens(model: PreTrainedModel, name: str) -> None:
    """Raises ConfigError if decoding cannot start, pad or end with the tokens of a config."""
    tokens = range(model.get_input_embeddings().num_embeddings)
    start = ("decoder_start_token_id",) if model.config.is_encoder_decoder else ()
    for config in (model.config, model.generation_config):
        for key in (*start, *_needed_tokens(model.config)):
            value = getattr(config, key, None)
            ids = value if key == "eos_token_id" and isinstance(value, list) else [value]
            if not all(isinstance(i, int) and i in tokens for i in ids):
                raise ConfigError(f"The config of '{name}' has {key} = {value!r}, not a token.")


def locate_model(name: str) -> str:
    """The folder of an embedded, local or converted model; for a Hub model the name itself."""
    if name in EMBEDDED_MODELS:
        return str(asset_folder(name))
    if is_gguf(name):
        return str(locate_gguf(name))
    folder = expand_path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(f"The folder {folder} is not a model: config.json not found.")
        return str(folder)
    if _is_path(name):
        beside = [str(Path(name).parent / other.name) for other in folder.parent.glob("*")]
        raise NotDownloaded(
            f"Folder {folder} not found.{did_you_mean(name, [*beside, *EMBEDDED_MODELS])}"
        )
    return name


def _is_path(name: str) -> bool:
    """Does a name that is no existing folder mean a path rather than a model on the Hub?

    `runs/typo` does where a folder `runs` exists, unless the Hub's model of that name is cached.
    """
    if name.count("/") > 1 or name.startswith((".", "~", "/")) or name.endswith("/"):
        return True
    owner, slash, _ = name.partition("/")
    is_below_folder = bool(slash) and (owner == DEFAULT_RUNS or expand_path(owner).is_dir())
    return is_below_folder and not isinstance(try_to_load_from_cache(name, "config.json"), str)


def _check_reachable(name: str, source: str) -> None:
    """Raises NotDownloaded at once if a Hub model is not cached and the Hub does not respond."""
    try:
        if Path(source).is_dir() or isinstance(try_to_load_from_cache(source, "config.json"), str):
            return
        get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT)
    except Exception as error:  # the type depends on the HTTP library in use
        raise _loading_error(name, source, error) from None


def _loading_error(name: str, source: str, error: Exception) -> FkiError:
    cause = describe_cause(error)
    if Path(source).is_dir():
        return ConfigError(f"The model in {source} cannot be loaded: {cause}")
    return NotDownloaded(
        f"Model '{name}' is not on this machine and cannot be fetched."
        f"{did_you_mean(name, EMBEDDED_MODELS)} ({cause})",
        hint=f"With a network: {format_command('hf', 'download', name)}   "
        "Offline: use t5-mini or llama-mini, which are part of fki",
    )


def describe_cause(error: Exception) -> str:
    """The first line of an error, preceded by its type where the line alone is no sentence."""
    cause = next(iter(str(error).strip().splitlines()), "")
    is_sentence = isinstance(error, (OSError, ValueError))
    return cause if is_sentence else f"{type(error).__name__}: {cause}"


def strip_generation_config(own: GenerationConfig) -> GenerationConfig:
    """A generation config with the model's special tokens and nothing else.

    A minimal length, a penalty or a forbidden token would change the output of greedy decoding.
    """
    tokens = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
    return GenerationConfig(**{name: getattr(own, name) for name in tokens})


def _check_finite(model: PreTrainedModel, name: str) -> None:
    bad = [n for n, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    if bad:
        raise ConfigError(f"The weights of '{name}' contain NaN or infinity, first in {bad[0]}.")


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over the names and bytes of all parameters, apart from quantized ones, whose bits
    depend on the device."""
    total = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.is_floating_point():
            continue
        total.update(name.encode())
        total.update(
            parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        )
    return total.hexdigest()


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """The numbers of all and of trainable parameters."""
    parameters = list(model.parameters())
    trainable = (p for p in parameters if p.requires_grad)
    return sum(map(count_weights, parameters)), sum(map(count_weights, trainable))


def make_example_tokenizer(
    tokenizer: PreTrainedTokenizerBase, config: Config, device: torch.device | None = None
) -> ExampleTokenizer:
    """The ExampleTokenizer of a config, for a decoder if its prompt format is a decoder's.

    Args:
        device: of training or scoring: token ids are then cached on disk, and on a GPU lengths are
            padded to a multiple of 8. None: token ids are cached in memory.
    """
    is_causal = config.prompt_format in CAUSAL_FORMATS
    digest = token_cache.tokenizer_digest(tokenizer) if device else ""
    folder = data_home() / "tokens" / f"{digest}{'-plain' * is_causal}" if digest else None
    lengths = config.input_length, config.output_length
    pad_multiple = 8 if device and device.type == "cuda" else 1
    if is_causal:
        return CausalTokenizer(
            tokenizer,
            *lengths,
            pad_multiple=pad_multiple,
            prompt_format=config.prompt_format,
            start_token=config.start_token,
            loss_on=config.loss_on,
            token_cache=TokenCache(PlainText(tokenizer), folder),
        )
    return ExampleTokenizer(
        tokenizer,
        *lengths,
        pad_multiple=pad_multiple,
        objective=config.document_objective,
        prompt_format=config.prompt_format,
        token_cache=TokenCache(make_tokenize(tokenizer), folder),
    )
