"""Joint training: in each period, the base model is trained on everything so far.

The usual upper bound of continual learning: what training from scratch on all data reaches, and
what it costs. Each period starts from the base model's weights, with a fresh optimizer, and trains
on the base knowledge, all earlier periods and the new period. Examples whose question a later
period answers anew, or whose answer ends, are left out, so that no outdated answer is trained.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.types import Example, Period
from fki.methods import base
from fki.methods.examples_so_far import ExamplesSoFar
from fki.methods.snapshot import Snapshot


class Joint(base.Method):
    """Fine-tuning of the base model on all examples so far, anew in each period."""

    def __init__(self, config: Config, options: Any = None) -> None:
        super().__init__(config, options)
        self._examples = ExamplesSoFar()

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """As vanilla, with a copy of the base model's trainable weights in memory.

        Raises:
            ConfigError: another setting starts from other weights, or keeps the optimizer.
        """
        self._check_settings()
        prepared = super().prepare(model)
        self._base = Snapshot.take(prepared)
        return prepared

    def _check_settings(self) -> None:
        if self.config.continue_from and not self.config.check_validation:
            raise ConfigError(
                f"continue_from = '{self.config.continue_from}' has no effect with method = "
                "'joint', which starts every period from the weights of model.",
                hint="To start from other weights, export them, then: --model FOLDER",
            )
        if not self.config.reset_optimizer_per_period:
            raise ConfigError(
                "reset_optimizer_per_period = false does not fit method = 'joint': the state of "
                "the optimizer belongs to the weights, which every period resets.",
                hint="Leave it out, or set it to true.",
            )

    def begin_period(self, model: nn.Module, period: Period) -> None:
        """Reset the trainable weights to those of the base model."""
        self._base.restore(model)

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        """The base knowledge, all earlier periods and this one, without outdated examples."""
        if self._examples.begin_period(period, review):
            self._mixed = self._examples.list()
        return self._mixed

    def copied_bytes(self, model: nn.Module) -> int:
        """The base model's trainable weights."""
        return sum(p.nbytes for p in base.trainable_parameters(model).values())
