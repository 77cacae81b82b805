"""Code that the formats for decoders share.

A folder states in `generation_config.json` which tokens end an answer: the end tokens of the model,
and every token with a newline.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import GenerationConfig

from fki.core.errors import CannotFold, ConfigError
from fki.core.formatting import format_list, quote_python
from fki.data.causal_tokenizer import CausalTokenizer
from fki.modeling.causal_decoding import end_tokens
from fki.runs.open_run import LoadedModel

GENERATION = "generation_config.json"
PLAIN_ROPE = "default"  # transformers' name of rotary positions without scaling


def fold_decoder(loaded: LoadedModel, runtime: str) -> Any:
    """The plain decoder that the method folds into.

    Raises CannotFold where the method has no plain model.
    """
    try:
        return loaded.method.fold(loaded.model)
    except CannotFold:
        if isinstance(loaded.model, PeftModel):
            raise  # its hint names --to peft
        raise CannotFold(
            f"{loaded.config.method} adds modules that {runtime}'s decoders cannot hold.",
            hint="Try: --to onnx",
        ) from None


def check_family(loaded: LoadedModel, runtime: str, families: Collection[str]) -> None:
    """Raises ConfigError unless the model is of one of these families of transformers."""
    kind = loaded.base.model.config.model_type
    if kind not in families:
        raise ConfigError(
            f"fki exports these decoders for {runtime}: {format_list(sorted(families))}; "
            f"'{loaded.config.model}' is '{kind}'.",
            hint="Try: --to hf",
        )


def build_refusal(loaded: LoadedModel, runtime: str, why: str) -> ConfigError:
    """The error for a decoder that a runtime cannot hold; `why` completes the sentence."""
    return ConfigError(
        f"'{loaded.config.model}' cannot be exported for {runtime}: {why}.", hint="Try: --to hf"
    )


def read_rope(config: Any, layer: int) -> dict[str, Any]:
    """The parameters of a block's rotary positions; empty where the model has none.

    Models with windows in some blocks, such as Gemma 3, have parameters by the type of a block.
    """
    stated: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    kinds = getattr(config, "layer_types", None) or ()
    return stated.get(kinds[layer], stated) if kinds else stated


def write_endings(model: Any, loaded: LoadedModel, folder: Path) -> None:
    """Write generation_config.json: the tokens that end an answer, and its greatest length."""
    tokenizer = loaded.example_tokenizer()
    own = model.generation_config
    GenerationConfig(
        bos_token_id=own.bos_token_id,
        eos_token_id=end_tokens(model, tokenizer).tolist(),
        pad_token_id=own.pad_token_id,
        max_new_tokens=loaded.config.output_length,
        num_beams=loaded.config.num_beams,
    ).save_pretrained(folder)


def read_endings(folder: Path) -> list[int]:
    """The tokens that end an answer."""
    stated = json.loads((folder / GENERATION).read_text(encoding="utf-8"))["eos_token_id"]
    return stated if isinstance(stated, list) else [stated]


def prompt_text(tokenizer: CausalTokenizer, question: str) -> str:
    """The prompt of a question with its special tokens; "" where its tokens have no such text."""
    [source] = tokenizer.tokenize_sources([question])
    text = str(tokenizer.tokenizer.decode(source, skip_special_tokens=False))
    again = tokenizer.tokenizer(text, add_special_tokens=False).input_ids
    return text if again == source else ""


def generate_code(name: str, prompt: str, length: int) -> str:
    """Prints the answer to a prompt by transformers' `generate`."""
    return (
        f"batch = tokenizer({quote_python(prompt)}, add_special_tokens=False, "
        'return_tensors="pt")\n'
        f"[tokens] = model.generate(**batch, max_new_tokens={length})\n"
        "print(tokenizer.decode(tokens[batch.input_ids.shape[1] :], skip_special_tokens=True))"
    )
