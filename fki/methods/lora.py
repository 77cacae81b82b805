"""LoRA: low-rank additions to the attention's query and value maps (Hu et al., 2022).

W x becomes W x + (alpha / r) B A x, with B = 0 at the start, in every self- and cross-attention.
The continual-learning code that this re-makes scaled by r / alpha; alpha / r is the paper's.
`freeze_level` says how much of the base trains beside it: 2, the paper's LoRA, is nothing.
"""

import warnings
from typing import ClassVar

from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from fki.methods import base


class LoraOptions(base.Options):
    """The table `[lora]`."""

    r: int = Field(4, ge=1)
    """The rank of each addition."""
    alpha: float = Field(16.0, gt=0)
    """The additions are scaled by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of the additions' input."""
    target_modules: list[str] = Field(["q", "v"], min_length=1)
    """Names of the linear maps that get an addition."""


class Lora(base.Method):
    """LoRA through peft."""

    table: ClassVar[str] = "lora"
    Options: ClassVar[type[base.Options]] = LoraOptions
    options: LoraOptions

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """The model with additions, which train beside what `freeze_level` leaves of the base."""
        beside = base.unfrozen_parameters(model, self.config.freeze_level)
        added = LoraConfig(
            r=self.options.r,
            lora_alpha=self.options.alpha,
            lora_dropout=self.options.dropout,
            target_modules=list(self.options.target_modules),
            bias="none",
            task_type="SEQ_2_SEQ_LM",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
            wrapped = get_peft_model(model, added)
        for parameter in beside:
            parameter.requires_grad_(True)
        return wrapped

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """The base model with the additions summed into its weights, in fp32."""
        assert isinstance(model, PeftModel)
        with warnings.catch_warnings():  # peft says so of every untied T5; the weights are right
            warnings.filterwarnings("ignore", "Input and output embeddings are no longer tied")
            return model.float().merge_and_unload()
