"""K-Adapter: k transformer blocks that read a model's layers and add to their output.

K-Adapter (Wang et al., 2021) trains small adapters beside a frozen model. This is the variant of
Jang et al. (2022): k of the model's own blocks, without a bottleneck, beside the encoder of a T5
or beside the blocks of a decoder. With H[i] the hidden states (0: embeddings, i: output of block
i - 1) and H the final output:

    x_0 = 0;   x_{j+1} = Block_j(H[tap_j] + x_j);   output = H + scale * Norm(x_k)

T5's blocks receive the padding mask and share the position bias of the first one. A decoder's
blocks are causal and receive what the model's own blocks receive. `mode = "parallel"` is the
kadapter2 and kadapter3 of CFInjectBench: the mean of k modules of two blocks each, which differ
only in their random initialization.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from fki.core.errors import ConfigError
from fki.methods import base
from fki.methods.encoder_branch import BranchMethod, BranchOptions
from fki.modeling.architecture import architecture_of
from fki.modeling.causal_adapter import add_decoder_adapters, decoder_depth
from fki.modeling.modeling_fki import KAdapterEncoder


class KAdapterOptions(BranchOptions):
    """The table `[kadapter]`, which kadapter_2 and kadapter_3 share."""

    layers: list[int] = Field([])
    """Hidden state that each block reads, 0 to the model's depth; empty: chosen by the depth. The
    last one that a decoder's block can read is the input of its last block."""
    mode: Literal["stacked", "parallel"] = "stacked"
    """One module of k blocks, or k modules of two blocks each."""


class KAdapter(BranchMethod):
    """K-Adapter with `k` blocks in a row, or `k` modules in parallel."""

    table: ClassVar[str] = "kadapter"
    Options: ClassVar[type[base.Options]] = KAdapterOptions
    options: KAdapterOptions
    k: ClassVar[int]

    def add_branch(self, model: Any, scale: float) -> None:
        """Add the adapters. Raises ConfigError if the model has no place for them."""
        if architecture_of(model).has_encoder:
            super().add_branch(model, scale)
            return
        adapters = add_decoder_adapters(model, scale, self.all_taps(decoder_depth(model) - 1))
        if self.options.branch_init == "base":
            for adapter in adapters:
                nn.init.zeros_(adapter.norm.weight)

    def all_taps(self, depth: int) -> list[list[int]]:
        """The hidden states that the blocks of each adapter read; `depth` is the last one."""
        is_stacked = self.options.mode == "stacked"
        taps = self.taps(self.k if is_stacked else 2, depth)
        return [taps] * (1 if is_stacked else self.k)

    def build_encoder(self, inner: PreTrainedModel, scale: float) -> KAdapterEncoder:
        """Add the adapters to the encoder. Raises ConfigError if a tap is outside of the model."""
        return KAdapterEncoder(inner, scale, self.all_taps(inner.config.num_layers))

    def zero_branch(self, encoder: Any) -> None:
        """Set the weights of the adapters' norms to 0."""
        for adapter in encoder.adapters:
            nn.init.zeros_(adapter.norm.weight)

    def taps(self, blocks: int, depth: int) -> list[int]:
        """The hidden state that each block reads, from 0 to `depth`.

        The default is the published 1 and 11, limited to the depth; a third block in the middle
        reads the state half way. Raises ConfigError if a stated one is outside of the model.
        """
        last = max(1, depth - 1)
        chosen = self.options.layers
        if not chosen:
            return [1, min(11, last)] if blocks == 2 else [1, max(1, depth // 2), last]
        if len(chosen) != blocks or not all(0 <= tap <= depth for tap in chosen):
            raise ConfigError(
                f"kadapter.layers must be {blocks} numbers from 0 to {depth}, the model's depth, "
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
