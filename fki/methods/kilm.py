"""KILM: facts are learned by text infilling (after Xu et al., 2023).

The source is the statement of a fact with spans hidden: always the object's span, and further
random spans, until `mask_share` of the statement's tokens are hidden. Their lengths follow a
Poisson distribution with mean `mean_span`. The target lists the hidden spans in the form of T5's
pretraining, the object first. Spans depend on (seed, period, epoch, example), so each epoch hides
others. Probes are asked as for every method: only their answer is hidden.

CFInjectBench hid 30 % of the source with spans of mean length 3; its target was the whole
statement. An object that already exceeds `mask_share` of a short statement is hidden alone, and the
example is then that of vanilla. Spans that would exceed `output_length` are dropped. Documents and
replayed examples stay as they are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from fki.core.errors import ConfigError
from fki.core.types import Example, Infilling, Period
from fki.methods import base


class KilmOptions(base.Options):
    """The table `[kilm]`."""

    mask_share: float = Field(0.3, ge=0, le=1)
    """Share of a statement's tokens that is hidden, the object included. 0: only the object."""
    mean_span: float = Field(3.0, ge=1, le=100)
    """Mean length of the hidden spans beside the object, in tokens."""


class Kilm(base.Method):
    """Fine-tuning on statements with hidden spans."""

    table: ClassVar[str] = "kilm"
    Options: ClassVar[type[base.Options]] = KilmOptions
    options: KilmOptions

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """As vanilla. Raises ConfigError for a decoder, and for a prompt without a blank."""
        base.require_encoder(model, self.config, "hides spans and lets the decoder fill them in")
        if self.config.prompt_format != "sentinel":
            raise ConfigError(
                "kilm trains the model to fill blanks; the probes of prompt_format = "
                f"'{self.config.prompt_format}' have none.",
                hint="Add: --set prompt_format=sentinel",
            )
        return super().prepare(model)

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        """The period's examples; the tokenizer hides further spans of each fact."""
        infilling = Infilling(self.options.mask_share, self.options.mean_span)
        return [e if e.is_text else replace(e, infilling=infilling) for e in period.examples]
