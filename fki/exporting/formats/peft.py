"""`peft`: the weights of LoRA or of another method of peft, as an adapter folder.

The base model is in the subfolder `base`, unless it is a model of the Hub that the run has neither
changed nor quantized. At freeze levels 0 and 1 a run trains base weights too, which an adapter
cannot hold.
"""

import warnings
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel

from fki.core.errors import ConfigError
from fki.core.formatting import quote_python
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import Format
from fki.exporting.formats.hf import find_auto_class, write_plain
from fki.exporting.formats.plain_decoder import generate_code
from fki.modeling.load import load_model, locate_model
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import LoadedModel

BASE = "base"  # subfolder of the base model


def write(loaded: LoadedModel, folder: Path) -> None:
    """Raises ConfigError where the method has no adapter."""
    model = loaded.model
    if not isinstance(model, PeftModel):
        raise ConfigError(
            f"--to peft exports adapters of peft; method '{loaded.config.method}' has none.",
            hint="Try: --to hf",
        )
    config = loaded.config
    is_changed = config.freeze_level < 2 or config.load_in != "fp32"
    ships_base = is_changed or Path(locate_model(config.model)).is_dir()
    for settings in model.peft_config.values():
        if isinstance(getattr(settings, "init_lora_weights", True), str):
            # such as PiSSA: the base was split once, and loading must not split it again
            settings.init_lora_weights = True
            ships_base = True
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = BASE if ships_base else config.model
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # an empty form of peft
    if ships_base:
        write_plain(model.unload(), folder / BASE, config.output_length, config.num_beams)


def load(folder: Path, encoder: ExampleTokenizer) -> TorchRuntime:
    """Load by transformers and peft."""
    name = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    source = folder / BASE if name == BASE else name
    base = load_model(source, torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # peft calls a deprecated function of transformers
        return TorchRuntime(PeftModel.from_pretrained(base, str(folder)), encoder)


def loading_code(folder: Path, name: str) -> str:
    """Loads the base model and the adapter.

    Transformers looks for an adapter beside the subfolder too, and would follow it to its base.
    """
    base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    own = quote_python(name)
    place = f'subfolder="{BASE}", adapter_kwargs={{"subfolder": "{BASE}"}}'
    source = f"{own}, {place}" if base == BASE else quote_python(base)
    auto = find_auto_class(folder / BASE if base == BASE else base)
    return (
        "from peft import PeftModel\n"
        f"from transformers import {auto}, AutoTokenizer\n"
        f"base = {auto}.from_pretrained({source})\n"
        f"model = PeftModel.from_pretrained(base, {own})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({own})"
    )


PEFT = Format(
    "peft",
    "peft",
    write,
    load,
    library="peft",
    loading_code=loading_code,
    asking_code=generate_code,
    bytes_per_parameter=5.0,
)
