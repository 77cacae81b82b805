"""The contract that every method keeps, as checks that a method's author can run.

    from fki.testing import check_method
    check_method("my_method")

or, so that a test is named after each promise:

    @pytest.mark.parametrize("promise", CHECKS)
    def test_my_method(promise):
        CHECKS[promise](Case("my_method"))

Everything runs on the CPU, on T5 models of two layers, in a second or two. A broken promise is an
AssertionError whose text says which one.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from fki.core import registry
from fki.core.config import Config
from fki.methods.base import Method, trainable

STEPS = 4  # optimizer steps of a lesson
NEW_TOKENS = 6
TOLERANCE = 1e-4  # of a logit in fp32, where sums may be taken in another order


class Ready(NamedTuple):
    """A prepared method; `base` are the base model's parameters by their names of before."""

    method: Method
    model: nn.Module
    base: dict[str, nn.Parameter]


@dataclass(frozen=True)
class Case:
    """A registered method with some options on a toy T5, or on copies of a T5 of one's own."""

    name: str
    untied: bool = False
    """v1.1-style: gated feed-forward and a head of its own; else T5's first shape."""
    options: Mapping[str, Any] = field(default_factory=dict)
    model: PreTrainedModel | None = None
    """Instead of the toy; its vocabulary must hold that of t5-mini."""

    def prepare(self, level: int, *, seed: int = 0) -> Ready:
        """The method prepared at a freeze level. Raises ConfigError where it refuses."""
        base = toy_model(untied=self.untied) if self.model is None else copy.deepcopy(self.model)
        cls = registry.method_class(self.name)
        config = Config(
            method=self.name,
            freeze_level=level,  # type: ignore[arg-type]
            optimizer="adamw",
            learning_rate=1e-2,
            seed=seed,
        )
        method = cls(config, cls.Options(**self.options))
        parameters = dict(base.named_parameters())
        torch.manual_seed(seed)
        return Ready(method, method.prepare(base).eval(), parameters)

    def levels(self) -> list[int]:
        """The freeze levels that the method accepts: 0 and 1, and 2 where it adds parameters."""
        added = {id(p) for p in trainable(self.prepare(1).model).values()} - {
            id(p) for p in self.prepare(1).base.values()
        }
        ready = self.prepare(1)
        added = set(map(id, ready.model.parameters())) - set(map(id, ready.base.values()))
        return [0, 1, 2] if added else [0, 1]

    def keep(self, holds: bool, promise: str) -> None:
        """Raise AssertionError with the promise where it does not hold."""
        if not holds:
            kind = "untied, gated T5" if self.untied else "tied T5"
            raise AssertionError(f"method '{self.name}' on a {kind}: {promise}")


CHECKS: dict[str, Callable[[Case], None]] = {}
"""The promises by name; each takes a Case and raises AssertionError where it is broken."""


def check_method(
    name: str, *, model: PreTrainedModel | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Hold a registered method to the whole contract.

    Args:
        model: a T5 to use instead of the two toys, tied and untied; it is copied, not changed.
        options: the method's options, where not the defaults.
    Raises:
        AssertionError: in one sentence, the first promise that is broken.
    """
    kinds = [False, True] if model is None else [False]
    for untied in kinds:
        for check in CHECKS.values():
            check(Case(name, untied, options or {}, model))
