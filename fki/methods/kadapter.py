"""K-Adapter for T5: k transformer blocks that read the encoder's layers and add to its output.

K-Adapter (Wang et al., 2021) trains small adapters beside a frozen model. This is the variant of
Jang et al. (2022): k of T5's own encoder blocks, without a bottleneck. With H[i] the encoder's
hidden states (0: embeddings, i: output of block i - 1) and H its final output:

    x_0 = 0;   x_{j+1} = Block_j(H[tap_j] + x_j);   output = H + scale * Norm(x_k)

The blocks receive the padding mask and share the position bias of the first one, as T5's own
blocks do. `mode = "parallel"` is the kadapter2 and kadapter3 of CFInjectBench: the mean of k
modules of two blocks each, which differ only in their random initialization.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from fki.core.errors import ConfigError
from fki.methods import base
from fki.methods.encoder_branch import BranchMethod, BranchOptions
from fki.modeling.modeling_fki import KAdapterEncoder


class KAdapterOptions(BranchOptions):
    """The table `[kadapter]`, which kadapter_2 and kadapter_3 share."""

    layers: list[int] = Field([])
    """Hidden state that each block reads, 0 to the encoder's depth; empty: chosen by the depth."""
    mode: Literal["stacked", "parallel"] = "stacked"
    """One module of k blocks, or k modules of two blocks each."""


class KAdapter(BranchMethod):
    """K-Adapter with `k` blocks in a row, or `k` modules in parallel."""

    table: ClassVar[str] = "kadapter"
    Options: ClassVar[type[base.Options]] = KAdapterOptions
    options: KAdapterOptions
    k: ClassVar[int]

    def build_encoder(self, inner: PreTrainedModel, scale: float) -> KAdapterEncoder:
        """Add the adapters to the encoder. Raises ConfigError if a tap is outside of the model."""
        is_stacked = self.options.mode == "stacked"
        taps = self.taps(self.k if is_stacked else 2, inner.config.num_layers)
        modules = 1 if is_stacked else self.k
        return KAdapterEncoder(inner, scale, [taps] * modules)

    def zero_branch(self, encoder: Any) -> None:
        """Set the weights of the adapters' norms to 0."""
        for adapter in encoder.adapters:
            nn.init.zeros_(adapter.norm.weight)

    def taps(self, blocks: int, depth: int) -> list[int]:
        """The hidden state that each block reads, in an encoder of `depth` blocks.

        The default is the published 1 and 11, limited to the depth; a third block in the middle
        reads the state half way. Raises ConfigError if a stated one is outside of the model.
        """
        last = max(1, depth - 1)
        chosen = self.options.layers
        if not chosen:
            return [1, min(11, last)] if blocks == 2 else [1, max(1, depth // 2), last]
        if len(chosen) != blocks or not all(0 <= tap <= depth for tap in chosen):
            raise ConfigError(
                f"kadapter.layers must be {blocks} numbers from 0 to {depth}, the encoder's depth, "
                f"not {chosen}.",
                hint="Leave it out to choose them by the depth.",
            )
        return chosen


class KAdapter2(KAdapter):
    """kadapter_2."""

    k = 2


class KAdapter3(KAdapter):
    """kadapter_3."""

    k = 3
