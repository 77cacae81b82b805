"""LoRA: low-rank additions to the attention's query and value maps (Hu et al., 2022).

W x becomes W x + (alpha / r) B A x in every self- and cross-attention, with B = 0 at the start.
The scale alpha / r is the paper's; the original continual-learning code used r / alpha.
`freeze_level` decides which base parameters train as well: none at level 2, the paper's LoRA.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from fki.core.errors import ConfigError
from fki.methods import base
from fki.modeling.architecture import architecture_of

# peft warns of ties by the config; `check_targets` looks at the weights
TIE_WARNING = "Model (has|with) `tie_word_embeddings"
ALL = "all-linear"  # peft's name for every linear map but the head
MAPS = (nn.Linear, nn.Embedding, Conv1D)  # modules that peft can add to


class LoraOptions(base.Options):
    """The table `[lora]`."""

    r: int = Field(4, ge=1)
    """Rank of A and B."""
    alpha: float = Field(16.0, gt=0)
    """The additions are scaled by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of A."""
    target_modules: list[str] = Field(["q", "v"], min_length=1)
    """Names of the linear maps that receive an addition; a map must have weights of its own. `q`
    and `v` are the query and value maps, by the names that the model has for them. `all-linear`:
    every linear map but the head."""


class Lora(base.Method):
    """LoRA through peft."""

    table: ClassVar[str] = "lora"
    Options: ClassVar[type[base.Options]] = LoraOptions
    options: LoraOptions

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """Add A and B, which train beside the unfrozen parameters of the base model.

        Raises ConfigError if a target is not a map of its own in the model.
        """
        architecture = architecture_of(model)
        targets = architecture.find_maps(model, self._named_targets(model))
        check_targets(model, targets, self.config.model)
        unfrozen = base.unfrozen_parameters(model, self.config.freeze_level)
        settings = LoraConfig(
            r=self.options.r,
            lora_alpha=self.options.alpha,
            lora_dropout=self.options.dropout,
            target_modules=targets,
            bias="none",
            fan_in_fan_out=has_turned_maps(model, targets),
            task_type=architecture.task_type,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft uses an old transformers API
            warnings.filterwarnings("ignore", TIE_WARNING, UserWarning)
            wrapped = get_peft_model(model, settings)
        for parameter in unfrozen:
            parameter.requires_grad_(True)
        return wrapped

    def _named_targets(self, model: PreTrainedModel) -> list[str]:
        names = self.options.target_modules
        own = [n for name in names for n in (linear_maps(model) if name == ALL else [name])]
        return [*dict.fromkeys(own)]

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """Add the products B A to the weights of the base model, in fp32."""
        assert isinstance(model, PeftModel)
        with warnings.catch_warnings():  # peft warns for every untied T5; the weights are right
            warnings.filterwarnings("ignore", TIE_WARNING, UserWarning)
            warnings.filterwarnings("ignore", "Input and output embeddings are no longer tied")
            return model.float().merge_and_unload()


def linear_maps(model: PreTrainedModel) -> list[str]:
    """The names of the linear maps, apart from the head."""
    head = model.get_output_embeddings()
    return [
        path.rpartition(".")[2]
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    ]


def check_targets(model: PreTrainedModel, targets: Sequence[str], name: str) -> None:
    """Check that each target names maps of a model, by their names or the ends of their paths.

    Raises ConfigError if a target matches nothing, a module that is no map, or as `check_ties`.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    linear = [path for path, module in modules.items() if isinstance(module, nn.Linear | Conv1D)]
    maps = dict.fromkeys(path.rpartition(".")[2] for path in linear)
    for target in targets:
        found = find_modules(model, target)
        if not found or not all(isinstance(module, MAPS) for module in found):
            raise ConfigError(
                f"lora.target_modules: '{name}' has no linear map '{target}'; it has "
                f"{', '.join(maps)}."
            )
    check_ties(model, targets, name, "lora.target_modules")


def check_ties(model: PreTrainedModel, targets: Sequence[str], name: str, key: str) -> None:
    """Raises ConfigError if a target shares its weights with another module.

    An addition to a tied head alone is lost in a saved model. `key` is the setting in messages.
    """
    modules = model.named_modules(remove_duplicate=False)
    users = Counter(id(m.weight) for path, m in modules if path and isinstance(m, MAPS))
    for target in targets:
        found = find_modules(model, target)
        if any(users[id(m.weight)] > 1 for m in found if isinstance(m, MAPS)):
            raise ConfigError(
                f"{key}: '{target}' of '{name}' shares its weights with another "
                "module (tied embeddings), so an addition to it cannot be folded or exported.",
                hint=f"Leave out '{target}', or train a model whose weights are not tied.",
            )


def has_turned_maps(model: PreTrainedModel, targets: Sequence[str]) -> bool:
    """Are the targets' weights stored as [inputs, outputs], as GPT-2's?"""
    return any(isinstance(m, Conv1D) for name in targets for m in find_modules(model, name))


def find_modules(model: PreTrainedModel, target: str) -> list[nn.Module]:
    """The modules with this path, or with a path that ends in this name."""
    modules = model.named_modules(remove_duplicate=False)
    return [m for path, m in modules if path == target or path.endswith(f".{target}")]
