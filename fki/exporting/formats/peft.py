"""`peft`: LoRA's additions as an adapter folder that peft puts on its base model.

The base is in the folder `base` beside them, unless it is a model of the Hub that the run left as
it is. At freeze levels 0 and 1 a run trains weights of the base too, which no adapter can hold.
"""

import warnings
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoModelForSeq2SeqLM

from fki.core.errors import ConfigError
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import Format
from fki.exporting.formats.hf import write_plain
from fki.modeling.load import locate_model
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import LoadedModel

BASE = "base"  # the folder of the base model


def write(opened: LoadedModel, folder: Path) -> None:
    """Raises ConfigError where the method made no adapter."""
    model = opened.model
    if not isinstance(model, PeftModel):
        raise ConfigError(
            f"--to peft writes LoRA's additions, and the run's method is "
            f"'{opened.config.method}', which makes none.",
            hint="Try: --to hf",
        )
    ships_base = opened.config.freeze_level < 2 or Path(locate_model(opened.config.model)).is_dir()
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = BASE if ships_base else opened.config.model
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's form, not filled in
    if ships_base:
        config = opened.config
        write_plain(model.unload(), folder / BASE, config.output_length, config.num_beams)


def load(folder: Path, encoder: ExampleTokenizer) -> TorchRuntime:
    """By transformers and peft alone."""
    name = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    source = folder / BASE if name == BASE else name
    base = AutoModelForSeq2SeqLM.from_pretrained(
        source, dtype=torch.float32, trust_remote_code=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
        return TorchRuntime(PeftModel.from_pretrained(base, str(folder)), encoder)


def loading_code(folder: Path, name: str) -> str:
    """The base, and the adapter on it."""
    base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    source = f'"{name}", subfolder="{BASE}"' if base == BASE else f'"{base}"'
    return (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer\n"
        f"base = AutoModelForSeq2SeqLM.from_pretrained({source})\n"
        f'model = PeftModel.from_pretrained(base, "{name}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")'
    )


PEFT = Format(
    "peft", "peft", write, load, library="peft", loading_code=loading_code, bytes_per_parameter=5.0
)
