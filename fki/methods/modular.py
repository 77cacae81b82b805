"""Modular: a second, small encoder learns beside the big one (Jang et al., 2022).

    output = Enc(x) + scale * Proj(Enc_2(x))

Both encoders read the same tokens under the same mask. `size = "small"`, the paper's, gives the
second one the shape of t5-small and embeddings of its own; `size = "same"`, CFInjectBench's
`modular`, the shape of the first one, its embeddings, and no projection. It starts at random, with
T5's own initialisation.
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
    """The second encoder's shape: t5-small's, never above the first one's; or the first one's."""


class Modular(BranchMethod):
    """A second encoder beside the first."""

    table: ClassVar[str] = "modular"
    Options: ClassVar[type[base.Options]] = ModularOptions
    options: ModularOptions

    def published_scale(self) -> float:
        """0.05 for a small second encoder, 0.1 for one of the same size."""
        return SCALES[self.options.size]

    def encoder(self, inner: Any, scale: float) -> ModularEncoder:
        """The encoder with the second one."""
        shape = {}
        if self.options.size == "small":
            shape = {key: min(most, getattr(inner.config, key)) for key, most in SMALL.items()}
        return ModularEncoder(inner, scale, shape)

    def start_at_base(self, encoder: Any) -> None:
        """The projection, or else the second encoder's last norm, is 0."""
        last = encoder.projection if encoder.shape else encoder.second.final_layer_norm
        nn.init.zeros_(last.weight)
