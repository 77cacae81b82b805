"""The common part of K-Adapter and Modular: a branch beside the encoder.

The encoder's output H becomes H + scale * branch, inside the module that the model calls its
encoder; an export contains the code of that module. In the original code the branch was part of the
model's forward pass, and `generate` did not use it.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from fki.core.errors import CannotFold, ConfigError
from fki.methods import base
from fki.modeling.encoder_cache import FrozenEncoder, detect_frozen_encoder
from fki.modeling.modeling_fki import EncoderWithBranch, FkiT5Config, FkiT5ForConditionalGeneration


class BranchOptions(base.Options):
    """Settings that both methods share."""

    scale: float | None = Field(None, ge=0)
    """Factor of the branch's output; default: the published one. 0 gives the base model."""
    branch_init: Literal["base", "random"] = "base"
    """Initial output of the branch: `base` is 0, so that the answers are the base model's; `random`
    is the original code's, which changes some answers before training."""


class BranchMethod(base.Method):
    """A method with a branch beside the encoder; subclasses define the branch."""

    options: BranchOptions
    requirement: ClassVar[str] = "adds a branch beside the encoder"

    def default_scale(self) -> float:
        """The scale if the options do not set one."""
        return 0.1

    def build_encoder(self, inner: PreTrainedModel, scale: float) -> EncoderWithBranch:
        """Wrap the encoder with its branch. Raises ConfigError if the options do not fit it."""
        raise NotImplementedError

    def zero_branch(self, encoder: Any) -> None:
        """Set weights to 0 so that the branch outputs 0; these weights must receive a gradient."""
        raise NotImplementedError

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """Add the branch, which trains beside the unfrozen parameters of the base model.

        Raises ConfigError if the method cannot add it to the model.
        """
        unfrozen = base.unfrozen_parameters(model, self.config.freeze_level)
        base_ids = set(map(id, model.parameters()))
        scale = self.default_scale() if self.options.scale is None else self.options.scale
        with torch.device(model.device):
            self.add_branch(model, scale)
        added = [p for p in model.parameters() if id(p) not in base_ids]
        base.train_only(model, [*unfrozen, *added])
        return model

    def add_branch(self, model: Any, scale: float) -> None:
        """Replace the encoder by one with the branch. Raises ConfigError unless it is a T5's."""
        base.require_encoder(model, self.config, self.requirement)
        inner: Any = model.get_encoder()
        if not hasattr(inner, "final_layer_norm"):
            raise ConfigError(
                f"method = '{self.config.method}' requires a T5; '{self.config.model}' is "
                f"'{model.config.model_type}'.",
                hint="Use vanilla, lora, mixreview or recadam with this model.",
            )
        encoder = self.build_encoder(inner, scale)
        if self.options.branch_init == "base":
            self.zero_branch(encoder)
        model.encoder = encoder

    def frozen_encoder(self, model: nn.Module) -> FrozenEncoder | None:
        """The inner encoder, with the hidden states that the branch reads."""
        encoder = getattr(model, "encoder", None)
        if not isinstance(encoder, EncoderWithBranch):
            return super().frozen_encoder(model)
        return detect_frozen_encoder(encoder.inner, encoder.taps)

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """Raises CannotFold: a plain model has no branch."""
        if not isinstance(getattr(model, "encoder", None), EncoderWithBranch):
            raise self._no_such_decoder()
        raise CannotFold(
            f"{self.config.method} adds a branch beside the encoder; a plain model has none.",
            hint="Try: --to hf, which exports the code of the model too.",
        )

    def _no_such_decoder(self) -> CannotFold:
        return CannotFold(
            f"{self.config.method} adds blocks beside the decoder's own; transformers has no such "
            "model.",
            hint="Try: --to onnx   or ask the run itself: fki ask RUN ...",
        )

    def bundle(self, model: nn.Module) -> PreTrainedModel:
        """The same modules in a model class with its own code.

        Raises CannotFold if the base model is neither a T5 nor an mT5.
        """
        assert isinstance(model, PreTrainedModel)
        if not isinstance(getattr(model, "encoder", None), EncoderWithBranch):
            raise self._no_such_decoder()
        if model.config.model_type not in ("t5", "mt5"):
            raise CannotFold(
                f"{self.config.method} can be exported only with a T5 or mT5 as its base; "
                f"'{self.config.model}' is '{model.config.model_type}'.",
                hint="Ask the run itself: fki ask RUN ...",
            )
        trained: Any = model
        plain = {"scale_decoder_outputs": False, **model.config.to_dict()}  # an mT5 never scales
        del plain["model_type"]
        config = FkiT5Config(branch=trained.encoder.settings(), **plain)
        with torch.device("meta"):
            bundled: Any = FkiT5ForConditionalGeneration(config)
        for name in ("shared", "encoder", "decoder", "lm_head"):
            setattr(bundled, name, getattr(trained, name))
        bundled.generation_config = model.generation_config
        return bundled.train(model.training)
