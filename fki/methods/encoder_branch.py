"""A branch beside the encoder: what K-Adapter and Modular have in common.

The modules are in `modeling_fki.py`, which an exported folder brings along. (The originals had the
branch in the model's forward, and `generate` passed it by.)
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from fki.core.errors import CannotFold, ConfigError
from fki.methods import base
from fki.modeling.encoder_cache import FrozenEncoder, detect_frozen_encoder
from fki.modeling.modeling_fki import EncoderWithBranch, FkiT5Config, FkiT5ForConditionalGeneration


class BranchOptions(base.Options):
    """What the tables of both methods have."""

    scale: float | None = Field(None, ge=0)
    """The factor of the branch; by default the published one. 0: exactly the base model."""
    branch_init: Literal["base", "random"] = "base"
    """How the branch starts: at 0, so that all begins with the base model's answers; or as the
    originals did, with random weights, which cost the model some of them."""


class BranchMethod(base.Method):
    """A method that puts a branch beside the encoder; subclasses say which."""

    options: BranchOptions

    def published_scale(self) -> float:
        """The factor of the branch where the options state none."""
        return 0.1

    def encoder(self, inner: PreTrainedModel, scale: float) -> EncoderWithBranch:
        """The encoder with its branch. Raises ConfigError where the options do not fit it."""
        raise NotImplementedError

    def start_at_base(self, encoder: Any) -> None:
        """Make the branch 0 for every input, by weights that get a gradient."""
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
        beside = base.unfrozen_parameters(model, self.config.freeze_level)
        known = set(map(id, model.parameters()))
        stated = self.options.scale
        scale = self.published_scale() if stated is None else stated
        with torch.device(inner.device):
            encoder = self.encoder(inner, scale)
        if self.options.branch_init == "base":
            self.start_at_base(encoder)
        model.encoder = encoder
        added = [p for p in encoder.parameters() if id(p) not in known]
        base.train_only(model, [*beside, *added])
        return model

    def frozen_encoder(self, model: nn.Module) -> FrozenEncoder | None:
        """The inner encoder, with what the branch reads of it."""
        encoder = model.get_encoder()  # type: ignore[operator]
        return detect_frozen_encoder(encoder.inner, encoder.taps)

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """Raises CannotFold: no plain T5 has a second way through its encoder."""
        raise CannotFold(
            f"{self.config.method} adds a branch beside the encoder; no plain model can hold that.",
            hint="Try: --to hf, which brings a modelling file of its own.",
        )

    def bundle(self, model: nn.Module) -> PreTrainedModel:
        """The same modules as a model that brings its own code.

        Raises CannotFold where the base is neither a T5 nor an mT5.
        """
        assert isinstance(model, PreTrainedModel)
        if model.config.model_type not in ("t5", "mt5"):
            raise CannotFold(
                f"{self.config.method} can be exported with a T5 or mT5 as its base, and "
                f"'{self.config.model}' is '{model.config.model_type}'.",
                hint="Ask the run itself: fki ask RUN ...",
            )
        whole: Any = model
        plain = {"scale_decoder_outputs": False, **model.config.to_dict()}  # an mT5 never scales
        del plain["model_type"]
        config = FkiT5Config(branch=whole.encoder.settings(), **plain)
        with torch.device("meta"):
            found: Any = FkiT5ForConditionalGeneration(config)
        for name in ("shared", "encoder", "decoder", "lm_head"):
            setattr(found, name, getattr(whole, name))
        found.generation_config = model.generation_config
        return found.train(model.training)
