"""`hf`: a folder that transformers loads: the plain model that behaves alike, or where a method has
none, the model with `modeling_fki.py`, which `trust_remote_code=True` runs.

Sums are fp32 up to the end: LoRA is folded, and only what is then written is cast to `dtype`.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from fki.core.atomic_io import write_json
from fki.core.errors import ConfigError
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import Format
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import LoadedModel

CONFIG, MODELLING = "config.json", "modeling_fki.py"
SIZE = re.compile(r"[1-9]\d*[KMGT]B")
ROUNDED = {  # nats by which an answer may differ, the share of texts that stay, and why
    "float32": (1e-3, 1.0, "fp32 sums in another order differ by some 1e-5 nats"),
    "bfloat16": (1.0, 0.9, "bf16 keeps 8 bits of a weight: t5-mini's answers differ by 0.4"),
    "float16": (
        0.2,
        0.95,
        "fp16 keeps 11 bits of a weight: t5-mini's answers differ by 0.04",
    ),
}


def write(
    opened: LoadedModel, folder: Path, *, dtype: str = "float32", max_shard_size: str = "50GB"
) -> None:
    """Raises CannotFold where transformers has no place for the method's model."""
    model = opened.method.bundle(opened.model).to(getattr(torch, dtype))
    write_plain(model, folder, opened.config.output_length, opened.config.num_beams, max_shard_size)


def write_plain(
    model: PreTrainedModel, folder: Path, length: int, beams: int, max_shard_size: str = "50GB"
) -> None:
    """A model of transformers, with the length and beams that it is to generate with."""
    model.config.use_cache = True
    model.generation_config.max_new_tokens = length
    model.generation_config.num_beams = beams
    scales = model.config.model_type != "mt5"  # which has no word for it
    is_unscaled = not getattr(model.config, "scale_decoder_outputs", scales)
    if is_unscaled:
        _write_head(model)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    if is_unscaled:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        write_json(folder / CONFIG, config | {"tie_word_embeddings": False})


def _write_head(model: Any) -> None:
    """Have `lm_head.weight` written even where it equals the embeddings.

    Before transformers 5, and in converters, `tie_word_embeddings` also said whether the head's
    input is scaled. Transformers 5 writes `true` for every T5 and reads it as it pleases; with
    `false` and a head of its own, every reader has the same logits.
    """
    if model.lm_head.weight is model.shared.weight:
        model.lm_head.weight = torch.nn.Parameter(model.shared.weight.detach().clone())


def load(folder: Path, encoder: ExampleTokenizer) -> TorchRuntime:
    """By transformers, in the precision of the files. `modeling_fki.py` is not run: fki has it."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype="auto", trust_remote_code=False)
    return TorchRuntime(model, encoder)


def loading_code(folder: Path, name: str) -> str:
    """With leave to run the modelling file, where there is one."""
    trust = ", trust_remote_code=True" if (folder / MODELLING).is_file() else ""
    return (
        "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer\n"
        f'model = AutoModelForSeq2SeqLM.from_pretrained("{name}"{trust})\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{name}"{trust})'
    )


def make_format(dtype: str = "float32", max_shard_size: str = "50GB") -> Format:
    """The format in a precision, in files of at most so many bytes, such as 2GB.

    Raises ConfigError where that is no size.
    """
    if not SIZE.fullmatch(max_shard_size):
        raise ConfigError(
            f"--max-shard-size must be a size such as 500MB or 2GB, not '{max_shard_size}'."
        )
    tolerance, least_same, reason = ROUNDED[dtype]
    return Format(
        "hf",
        "transformers",
        partial(write, dtype=dtype, max_shard_size=max_shard_size),
        load,
        tolerance,
        least_same,
        reason=reason,
        loading_code=loading_code,
        precision=dtype.replace("bfloat", "bf").replace("float", "fp"),
        bytes_per_parameter=torch.finfo(getattr(torch, dtype)).bits / 8,
        with_options=make_format,
    )


HF = make_format()
