"""Modular: a second, small encoder trains beside the large one (Jang et al., 2022).

    output = Enc(x) + scale * Proj(Enc_2(x))

Both encoders read the same tokens under the same mask. With `size = "small"`, the paper's variant,
the second encoder has the shape of t5-small and its own embeddings. With `size = "same"`, the
variant of CFInjectBench, it has the shape of the first encoder and its embeddings, and Proj is the
identity. T5's own initialization gives it random weights.
"""

from typing import Any, ClassVar, Literal

from torch import nn

from fki.methods import base
from fki.methods.encoder_branch import BranchMethod, BranchOptions
from fki.modeling.modeling_fki import ModularEncoder

SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}  # t5-small
SCALES = {"small": 0.05, "same": 0.1}  # as published for either


class ModularOptions(BranchOptions):
    """The table `[modular]`."""

    size: Literal["small", "same"] = "small"
    """Shape of the second encoder: t5-small's, at most the first one's; or the first one's."""


class Modular(BranchMethod):
    """A second encoder beside the first."""

    table: ClassVar[str] = "modular"
    Options: ClassVar[type[base.Options]] = ModularOptions
    options: ModularOptions
    requirement: ClassVar[str] = "adds a second encoder beside the first"

    def default_scale(self) -> float:
        """0.05 for a small second encoder, 0.1 for one of the same size."""
        return SCALES[self.options.size]

    def build_encoder(self, inner: Any, scale: float) -> ModularEncoder:
        """Add the second encoder beside the first."""
        shape = {}
        if self.options.size == "small":
            shape = {key: min(most, getattr(inner.config, key)) for key, most in SMALL.items()}
        return ModularEncoder(inner, scale, shape)

    def zero_branch(self, encoder: Any) -> None:
        """Set the weights of the projection, or else of the second encoder's last norm, to 0."""
        last = encoder.projection if encoder.shape else encoder.second.final_layer_norm
        nn.init.zeros_(last.weight)
