"""`hf`: the plain model that behaves alike, as a folder that transformers loads."""

from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from fki.data.collate import Encoder
from fki.engine.formats.base import Format, TorchRuntime
from fki.engine.opener import Opened


def write(opened: Opened, folder: Path) -> None:
    """Raises CannotFold where the method's model has no plain equivalent."""
    write_plain(opened, opened.method.fold(opened.model), folder)


def write_plain(opened: Opened, model: PreTrainedModel, folder: Path) -> None:
    """Weights, config and generation config of a plain model."""
    model.config.use_cache = True
    model.generation_config.max_new_tokens = opened.config.output_length
    model.generation_config.num_beams = opened.config.num_beams
    model.save_pretrained(folder)


def load(folder: Path, encoder: Encoder) -> TorchRuntime:
    """By transformers alone."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    return TorchRuntime(model, encoder)


HF = Format("hf", "transformers", write, load)
