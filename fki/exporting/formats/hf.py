"""`hf`: a folder for transformers.

It contains the plain model that the method folds into. For a method without a plain model it
contains the method's model with `modeling_fki.py`, which `trust_remote_code=True` runs. Folding is
in fp32; only the written weights are cast to `dtype`.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from fki.core.atomic_io import write_json
from fki.core.errors import ConfigError
from fki.core.formatting import quote_python
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import Format
from fki.exporting.formats.plain_decoder import generate_code
from fki.modeling.architecture import CAUSAL, SEQ2SEQ
from fki.modeling.load import check_special_tokens, load_model
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import LoadedModel

CONFIG, MODELING = "config.json", "modeling_fki.py"
SIZE = re.compile(r"[1-9]\d*[KMGT]B")
ROUNDING = {  # tolerance in nats, the share of equal texts, and the reason
    "float32": (1e-3, 1.0, "fp32 sums in another order differ by some 1e-5 nats"),
    "bfloat16": (1.0, 0.9, "bf16 keeps 8 bits of a weight: t5-mini's answers differ by 0.4"),
    "float16": (
        0.2,
        0.95,
        "fp16 keeps 11 bits of a weight: t5-mini's answers differ by 0.04",
    ),
}


def write(
    loaded: LoadedModel, folder: Path, *, dtype: str = "float32", max_shard_size: str = "50GB"
) -> None:
    """Raises CannotFold where transformers cannot hold the method's model."""
    model = loaded.method.bundle(loaded.model).to(getattr(torch, dtype))
    write_plain(model, folder, loaded.config.output_length, loaded.config.num_beams, max_shard_size)


def write_plain(
    model: PreTrainedModel, folder: Path, length: int, beams: int, max_shard_size: str = "50GB"
) -> None:
    """Write a model of transformers with its default generation length and beams."""
    model.config.use_cache = True
    model.generation_config.max_new_tokens = length
    model.generation_config.num_beams = beams
    scales = model.config.model_type != "mt5"  # whose config has no such key
    is_unscaled = not getattr(model.config, "scale_decoder_outputs", scales)
    if is_unscaled:
        _write_head(model)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    if is_unscaled:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        write_json(folder / CONFIG, config | {"tie_word_embeddings": False})


def _write_head(model: Any) -> None:
    """Make transformers write `lm_head.weight` even where it equals the embeddings.

    Before transformers 5, and in converters, `tie_word_embeddings` also decides if the head's input
    is scaled. Transformers 5 writes `true` for every T5. With `false` and a separate head, every
    reader computes the same logits.
    """
    if model.lm_head.weight is model.shared.weight:
        model.lm_head.weight = torch.nn.Parameter(model.shared.weight.detach().clone())


def load(folder: Path, encoder: ExampleTokenizer) -> TorchRuntime:
    """Load by transformers in the files' precision, without running `modeling_fki.py`."""
    model = load_model(folder, "auto")
    check_special_tokens(model, str(folder))
    return TorchRuntime(model, encoder)


def loading_code(folder: Path, name: str) -> str:
    """Sets `trust_remote_code` where the folder has a modeling file."""
    trust = ", trust_remote_code=True" if (folder / MODELING).is_file() else ""
    auto = find_auto_class(folder)
    return (
        f"from transformers import {auto}, AutoTokenizer\n"
        f"model = {auto}.from_pretrained({quote_python(name)}{trust})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({quote_python(name)}{trust})"
    )


def find_auto_class(folder: Path | str) -> str:
    """The class of transformers that loads the model of a folder or of the Hub."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return (SEQ2SEQ if config.is_encoder_decoder else CAUSAL).auto_class


def make_format(dtype: str = "float32", max_shard_size: str = "50GB") -> Format:
    """The format with a data type of the weights and a largest weight file, such as 2GB.

    Raises ConfigError where the size is malformed.
    """
    if not SIZE.fullmatch(max_shard_size):
        raise ConfigError(
            f"--max-shard-size must be a size such as 500MB or 2GB, not '{max_shard_size}'."
        )
    tolerance, least_same, reason = ROUNDING[dtype]
    return Format(
        "hf",
        "transformers",
        partial(write, dtype=dtype, max_shard_size=max_shard_size),
        load,
        tolerance,
        least_same,
        reason=reason,
        loading_code=loading_code,
        asking_code=generate_code,
        precision=dtype.replace("bfloat", "bf").replace("float", "fp"),
        bytes_per_parameter=torch.finfo(getattr(torch, dtype)).bits / 8,
        with_options=make_format,
    )


HF = make_format()
