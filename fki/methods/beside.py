"""A branch beside the encoder: what K-Adapter and Modular have in common.

The encoder's output H becomes H + scale * branch. The branch is inside of what the model calls its
encoder, so that training, scoring and `generate` all use it, once per sequence (the originals had
it in the model's forward, and `generate` passed it by).
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from fki.core.errors import CannotFold, ConfigError
from fki.methods import base


class BesideOptions(base.Options):
    """What the tables of both methods have."""

    scale: float | None = Field(None, ge=0)
    """The factor of the branch; by default the published one. 0: exactly the base model."""
    start: Literal["base", "random"] = "base"
    """How the branch starts: at 0, so that all begins with the base model's answers; or as the
    originals did, with random weights, which cost the model some of them."""


class WithBranch(nn.Module):
    """An encoder with a branch, in the place of the encoder."""

    main_input_name = "input_ids"  # what `generate` looks for
    taps: tuple[int, ...] = ()  # the hidden states that the branch reads

    def __init__(self, inner: PreTrainedModel, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def branch(self, states: tuple[Tensor, ...], ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """What is added to the output, [B, T, D], before it is scaled.

        Args:
            states: the inner encoder's hidden states, each [B, T, D]: the embeddings, each block's
                output, the last one after the final norm. Only those of `taps` need be there.
            ids: [B, T], None where the caller gave embeddings.
            mask: [B, T], 1 where a token is real; None where all are.
        """
        raise NotImplementedError

    def start_at_base(self) -> None:
        """Make the branch 0 for every input, by weights that get a gradient."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """As the encoder's own; hidden states are the inner encoder's, where they are asked for."""
        out = self.inner(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True, **kwargs
        )
        added = self.branch(out.hidden_states, input_ids, attention_mask)
        out.last_hidden_state = out.last_hidden_state + self.scale * added
        if not output_hidden_states:  # `generate` could not repeat them for beams
            out.hidden_states = None
        return out


class Beside(base.Method):
    """A method that puts a branch beside the encoder; subclasses say which."""

    options: BesideOptions

    def published_scale(self) -> float:
        """The factor of the branch where the options state none."""
        return 0.1

    def encoder(self, inner: PreTrainedModel, scale: float) -> WithBranch:
        """The encoder with its branch. Raises ConfigError where the options do not fit it."""
        raise NotImplementedError

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """The model with the branch, which trains beside what `freeze_level` leaves of the base.

        Raises ConfigError where the model is no T5 or the options do not fit it.
        """
        inner: Any = model.get_encoder()
        if not hasattr(inner, "final_layer_norm"):
            raise ConfigError(
                f"method = '{self.config.method}' needs a T5; '{self.config.model}' is "
                f"'{model.config.model_type}'.",
                hint="Use vanilla, lora, mixreview or recadam with this model.",
            )
        beside = base.left_to_train(model, self.config.freeze_level)
        known = set(map(id, model.parameters()))
        stated = self.options.scale
        scale = self.published_scale() if stated is None else stated
        with torch.device(inner.device):
            encoder = self.encoder(inner, scale)
        if self.options.start == "base":
            encoder.start_at_base()
        model.encoder = encoder
        added = [p for p in encoder.parameters() if id(p) not in known]
        base.train_only(model, [*beside, *added])
        return model

    def frozen(self, model: nn.Module) -> base.Frozen | None:
        """The inner encoder, with what the branch reads of it."""
        encoder = model.get_encoder()  # type: ignore[operator]
        return base.frozen_encoder(encoder.inner, encoder.taps)

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """Raises CannotFold: no plain T5 has a second way through its encoder."""
        raise CannotFold(
            f"{self.config.method} adds a branch beside the encoder; no plain model can hold that.",
            hint="Ask the run itself: fki eval RUN. lora, mixreview and recadam can be exported.",
        )
