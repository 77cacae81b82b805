"""K-Adapter for T5: k transformer blocks that read the encoder's layers and add to its output.

K-Adapter (Wang et al., 2021) trains small adapters beside a frozen model. Jang et al. (2022), whose
variant this is, use k of T5's own encoder blocks without a bottleneck. With H[i] the encoder's
hidden states (0: embeddings, i: output of block i - 1) and H its final output:

    x_0 = 0;   x_{j+1} = Block_j(H[tap_j] + x_j);   output = H + scale * Norm(x_k)

The blocks get the padding mask, and share the first one's position bias, as T5's own do.
`mode = "parallel"` is CFInjectBench's kadapter2 and kadapter3: k whole modules of two blocks each,
which differ by their random start alone, averaged.
"""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.t5.modeling_t5 import T5Block, T5LayerNorm

from fki.core.errors import ConfigError
from fki.methods import base
from fki.methods.beside import Beside, BesideOptions, WithBranch


class KAdapterOptions(BesideOptions):
    """The table `[kadapter]`, which kadapter_2 and kadapter_3 share."""

    layers: list[int] = Field([])
    """Which hidden state each block reads, 0 to the encoder's depth; empty: by the depth."""
    mode: Literal["stacked", "parallel"] = "stacked"
    """One module of k blocks, or k modules of two blocks each."""


class Adapter(nn.Module):
    """Blocks in a row, each of which also reads a layer of the encoder."""

    def __init__(self, inner: Any, taps: Sequence[int]) -> None:
        super().__init__()
        config = copy.deepcopy(inner.config)
        config.is_decoder = False
        self.config, self.taps = config, tuple(taps)
        self.blocks = nn.ModuleList(
            T5Block(config, has_relative_attention_bias=(i == 0), layer_idx=i)
            for i in range(len(taps))
        )
        self.norm = T5LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.apply(inner._init_weights)  # T5's, unlike the linear layers' own

    def forward(self, states: tuple[Tensor, ...], mask: Tensor | None) -> Tensor:
        """[B, T, D], normalised."""
        x, bias = torch.zeros_like(states[self.taps[0]]), None
        blocked = create_bidirectional_mask(
            config=self.config, inputs_embeds=x, attention_mask=mask
        )
        for tap, block in zip(self.taps, self.blocks, strict=True):
            x, bias, _ = block(states[tap] + x, blocked, bias)
        return self.norm(x)


class KAdapterEncoder(WithBranch):
    """An encoder with one adapter beside it, or several that are averaged."""

    def __init__(self, inner: PreTrainedModel, adapters: Sequence[Adapter], scale: float) -> None:
        super().__init__(inner, scale)
        self.adapters = nn.ModuleList(adapters)
        self.taps = tuple(sorted({tap for adapter in adapters for tap in adapter.taps}))

    def branch(self, states: tuple[Tensor, ...], ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """The mean of the adapters, [B, T, D]."""
        return torch.stack([adapter(states, mask) for adapter in self.adapters]).mean(0)

    def start_at_base(self) -> None:
        """The norms' weights are 0."""
        for adapter in self.adapters:
            assert isinstance(adapter, Adapter)
            nn.init.zeros_(adapter.norm.weight)


class KAdapter(Beside):
    """K-Adapter with `k` blocks, or `k` modules in parallel."""

    table: ClassVar[str] = "kadapter"
    Options: ClassVar[type[base.Options]] = KAdapterOptions
    options: KAdapterOptions
    k: ClassVar[int]

    def encoder(self, inner: PreTrainedModel, scale: float) -> KAdapterEncoder:
        """The encoder with its adapters. Raises ConfigError for taps outside of the model."""
        is_stacked = self.options.mode == "stacked"
        taps = self.taps(self.k if is_stacked else 2, inner.config.num_layers)
        modules = 1 if is_stacked else self.k
        return KAdapterEncoder(inner, [Adapter(inner, taps) for _ in range(modules)], scale)

    def taps(self, blocks: int, depth: int) -> list[int]:
        """The hidden state that each block reads, in an encoder of `depth` blocks.

        By default the published 1 and 11, as far as the model goes; the middle one of three is
        half way. Raises ConfigError where a stated one is outside of the model.
        """
        last = max(1, depth - 1)
        chosen = self.options.layers
        if not chosen:
            return [1, min(11, last)] if blocks == 2 else [1, max(1, depth // 2), last]
        if len(chosen) != blocks or not all(0 <= tap <= depth for tap in chosen):
            raise ConfigError(
                f"kadapter.layers must be {blocks} numbers from 0 to {depth}, the encoder's depth, "
                f"not {chosen}.",
                hint="Leave it out to have them chosen by the model's depth.",
            )
        return chosen


class KAdapter2(KAdapter):
    """kadapter_2."""

    k = 2


class KAdapter3(KAdapter):
    """kadapter_3."""

    k = 3
