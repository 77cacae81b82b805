"""The Method contract: four hooks, `prepare`, `optimizer`, `mix`, `fold`. None overridden: vanilla.

A method never sees the accelerator, the disk or the console. Its settings are its `Options`, read
from the preset's table of the same name. `fki.testing.check_method` holds every method to the
contract.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from transformers import PreTrainedModel

from fki.config.schema import Config
from fki.core import registry
from fki.core.errors import ConfigError
from fki.core.types import Example, Period
from fki.methods.adafactor import Adafactor, adafactor_bytes
from fki.modeling.encoder_cache import FrozenEncoder, detect_frozen_encoder


class Options(BaseModel):
    """A method's own settings; a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OptimizerBytes(NamedTuple):
    """The size of an optimizer's state, in bytes."""

    memory: int  # beside weights and gradients
    saved: int  # the part that a checkpoint stores


class Method:
    """Vanilla: continue training on the period's examples."""

    table: ClassVar[str] = "vanilla"
    supports_packing: ClassVar[bool] = True  # may a row hold several examples (mask [B, 1, T, T])?
    Options: ClassVar[type[Options]] = Options

    def __init__(self, config: Config, options: Any = None) -> None:
        self.config = config
        self.options = self.Options() if options is None else options

    @property
    def corpus(self) -> str:
        """A file of old text that the method reviews; "" for none."""
        return ""

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """The model to train: modules added, `requires_grad` decided. Shapes stay the base's.

        Raises ConfigError where nothing is left to train.
        """
        train_only(model, unfrozen_parameters(model, self.config.freeze_level))
        if not any(p.requires_grad for p in model.parameters()):
            raise ConfigError(
                f"freeze_level = 2 leaves nothing to train with method = '{self.config.method}', "
                "which adds no parameters.",
                hint="Use freeze_level = 0 or 1, or a method that adds parameters, such as lora.",
            )
        return model

    def optimizer(self, model: nn.Module, steps: int) -> torch.optim.Optimizer:
        """An optimizer over the trainable parameters, for a period of `steps` optimizer steps.

        Adafactor has the originals' arguments (methods of CKL and CFInjectBench): an absolute
        learning rate, no parameter scaling. Weights of one dimension (norms) do not decay.
        """
        groups = parameter_groups(model, self.config.weight_decay)
        if self.config.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=self.config.learning_rate, fused=True)
        return Adafactor(groups, lr=self.config.learning_rate)

    def optimizer_bytes(self, model: nn.Module) -> OptimizerBytes:
        """The size of the state of `optimizer(model, ...)` after its first step.

        A method with an optimizer of its own overrides this.
        """
        parameters = trainable_parameters(model).values()
        state_bytes = adamw_bytes if self.config.optimizer == "adamw" else adafactor_bytes
        size = state_bytes(parameters)
        return OptimizerBytes(size, size)

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        """What one epoch of a period trains on, in any order.

        Called for the periods in the stream's order, and of each for the epochs that its budget
        lets begin, or for the last of these alone where a run goes on behind it. `review` is old
        text: the rows of `corpus` where the method names one, else what was known before the
        stream.
        """
        return period.examples

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """The plain model that behaves alike. Raises CannotFold where there is none."""
        assert isinstance(model, PreTrainedModel)
        return model

    def bundle(self, model: nn.Module) -> PreTrainedModel:
        """What transformers can load: the plain model, or where there is none, one that brings its
        code along. Raises CannotFold where there is neither."""
        return self.fold(model)

    def frozen_encoder(self, model: nn.Module) -> FrozenEncoder | None:
        """The part of the prepared model's encoder that is the same for all of a run, if any."""
        return detect_frozen_encoder(model.get_encoder())  # type: ignore[operator]

    def notes(self, steps: int) -> dict[str, float]:
        """Resolved numbers worth showing for a period of `steps` optimizer steps."""
        return {}


def unfrozen_parameters(model: PreTrainedModel, freeze_level: int) -> list[nn.Parameter]:
    """The base parameters that train at a freeze level.

    0: all. 1: all but the encoder and the input embeddings, so a head that is tied to them is
    frozen too, while an untied head, being the decoder's, trains. 2: none.
    """
    if freeze_level == 2:
        return []
    frozen: set[int] = set()
    if freeze_level == 1:
        frozen.update(map(id, model.get_encoder().parameters()))
        frozen.update(map(id, model.get_input_embeddings().parameters()))
    return [p for p in model.parameters() if id(p) not in frozen]


def train_only(model: nn.Module, parameters: Iterable[nn.Parameter]) -> None:
    """Let exactly these parameters of the model train."""
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of all that trains, each once even where it is tied."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters, those of one dimension apart because they do not decay."""
    parameters = list(trainable_parameters(model).values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def adamw_bytes(parameters: Iterable[nn.Parameter]) -> int:
    """Bytes of Adam's state: two moments of each parameter, and its step number in float32."""
    return sum(2 * p.nbytes + 4 for p in parameters)


def make_method(config: Config) -> Method:
    """The configured method with its options."""
    cls = registry.method_class(config.method)
    return cls(config, cls.Options(**config.options_for(registry.table_of(config.method))))
