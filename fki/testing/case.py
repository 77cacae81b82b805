"""A registered method, prepared on a toy model and trained for a few steps."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from fki.config.schema import Config
from fki.core import registry
from fki.methods.base import Method, trainable_parameters
from fki.modeling.architecture import architecture_of
from fki.testing.toy_decoders import FROZEN_HALF, toy_decoder
from fki.testing.toy_models import toy_batch, toy_model

T5 = "t5"
STEPS = 4  # optimizer steps of `learn`


class PreparedMethod(NamedTuple):
    """A prepared method; `base` are the base model's parameters by their original names."""

    method: Method
    model: nn.Module
    base: dict[str, nn.Parameter]


@dataclass(frozen=True)
class Case:
    """A registered method on a toy model, or on copies of another model."""

    name: str
    untied: bool = False  # as T5 v1.1: gated, with an untied head; else as T5 v1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    model: PreTrainedModel | None = None  # its vocabulary must contain that of the embedded model
    family: str = T5  # or one of DECODERS

    def copy_base(self) -> PreTrainedModel:
        """A copy of the base model, in evaluation mode."""
        if self.model is not None:
            return copy.deepcopy(self.model).eval()
        return toy_model(untied=self.untied) if self.family == T5 else toy_decoder(self.family)

    @property
    def frozen_names(self) -> tuple[str, ...]:
        """The beginnings of the names of the base parameters that freeze_level = 1 freezes."""
        return ("encoder.", "shared.") if self.family == T5 else FROZEN_HALF[self.family]

    def prepare(self, level: int, *, seed: int = 0) -> PreparedMethod:
        """Prepare the method at a freeze level. Raises ConfigError if the method rejects it."""
        base = self.copy_base()
        settings = {"freeze_level": level, "optimizer": "adamw", "learning_rate": 1e-2}
        if self.family != T5:
            settings |= {"prompt_format": "completion", "document_objective": "next_token"}
        config = Config.model_validate({"method": self.name, "seed": seed, **settings})
        cls = registry.method_class(self.name)
        method = cls(config, cls.Options(**self.options))
        parameters = dict(base.named_parameters())
        torch.manual_seed(seed)
        return PreparedMethod(method, method.prepare(base).eval(), parameters)

    def train(self, level: int = 1, *, seed: int = 0) -> PreparedMethod:
        """Prepare the method and take a few optimizer steps, if it trains."""
        ready = self.prepare(level, seed=seed)
        if ready.method.trains:
            learn(ready)
        return ready

    @property
    def trains(self) -> bool:
        """Does the method train the model?"""
        return bool(registry.method_class(self.name).trains)

    def freeze_levels(self) -> list[int]:
        """The freeze levels that the method must accept: 2 only if it adds parameters."""
        ready = self.prepare(1)
        base = set(map(id, ready.base.values()))
        return [0, 1, 2] if any(id(p) not in base for p in ready.model.parameters()) else [0, 1]


def learn(ready: PreparedMethod) -> set[str]:
    """Take a few optimizer steps on the toy batch. Returns the names that received a gradient."""
    method, model, _ = ready
    optimizer, batch, reached = method.optimizer(model, STEPS), toy_batch(model=model), set()
    torch.manual_seed(method.config.seed)
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        outputs = architecture_of(model).logits(model, batch)
        loss = functional.cross_entropy(outputs.flatten(0, 1), batch.labels.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        reached |= {
            n for n, p in trainable_parameters(model).items() if p.grad is not None and p.grad.any()
        }
        optimizer.step()
    model.eval()
    return reached
