"""K-Adapter beside a decoder's blocks: further blocks of its own kind, causal, and cached alike.

Each block of an adapter is of the kind of the block whose input it reads, and receives the
arguments of that block: mask, positions and the key-value cache, in which it has a place behind
the model's own blocks. The output is added behind the final norm, before the head.

The original GPT-2 code (TemporalWiki) ran its adapters without mask and without cache.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fki.core.errors import ConfigError
from fki.modeling.causal import find_blocks

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


class DecoderAdapter(nn.Module):
    """A stack of blocks, each of which also reads one hidden state of the model."""

    def __init__(self, model: Any, taps: Sequence[int], first_place: int) -> None:
        """
        Args:
            taps: for each block the number of the model's block whose input it reads.
            first_place: of the blocks in the key-value cache.
        """
        super().__init__()
        blocks = _find_blocks(model)
        config = model.config.get_text_config()
        self.taps = tuple(taps)
        self.blocks = nn.ModuleList(type(blocks[tap])(config, layer_idx=tap) for tap in taps)
        self.norm = nn.LayerNorm(config.hidden_size, bias=False)
        self.blocks.apply(model._init_weights)
        for place, block in enumerate(self.blocks, first_place):
            for module in block.modules():
                if hasattr(module, "layer_idx"):
                    module.layer_idx = place  # type: ignore[assignment]

    def forward(self, inputs: dict[int, tuple[tuple[Any, ...], dict[str, Any]]]) -> Tensor:
        """The normalized output [B, T, D]; `inputs` are the arguments of the model's blocks."""
        first: Tensor = inputs[self.taps[0]][0][0]
        x = torch.zeros_like(first)
        for tap, block in zip(self.taps, self.blocks, strict=True):
            (state, *others), named = inputs[tap]
            out = block(state + x, *others, **named)
            x = out[0] if isinstance(out, tuple) else out
        normalized: Tensor = self.norm(x)
        return normalized


class AdapterBranch(nn.Module):
    """The adapters of a decoder, and what its blocks received in the current forward pass."""

    def __init__(self, adapters: Sequence[DecoderAdapter], scale: float) -> None:
        super().__init__()
        self.adapters, self.scale = nn.ModuleList(adapters), scale
        self._inputs: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def remember(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Keep the arguments of the model's block of this number."""
        if not arguments:  # the hidden states have a name
            named = dict(named)
            arguments = (named.pop("hidden_states"),)
        self._inputs[number] = arguments, named

    def add(self, output: Tensor) -> Tensor:
        """The final output [B, T, D] plus the mean of the adapters' outputs, scaled."""
        inputs, self._inputs = self._inputs, {}
        added = torch.stack([adapter(inputs) for adapter in self.adapters]).mean(0)
        return output + self.scale * added


def _find_blocks(model: Any) -> nn.ModuleList:
    return find_blocks(model, "K-Adapter", "Use another method, such as: --method lora")


def decoder_depth(model: Any) -> int:
    """The number of the model's blocks."""
    return len(_find_blocks(model))


def add_decoder_adapters(
    model: Any, scale: float, adapters: Sequence[Sequence[int]]
) -> list[DecoderAdapter]:
    """Add adapters to a decoder. `adapters` are the taps of each.

    Raises ConfigError if the model has no final norm behind a list of blocks.
    """
    blocks = _find_blocks(model)
    owner = next(m for m in model.modules() if any(child is blocks for child in m.children()))
    norm = next((getattr(owner, name) for name in FINAL_NORMS if hasattr(owner, name)), None)
    if norm is None:
        raise ConfigError(
            f"The final norm of a '{model.config.model_type}' was not found, behind which the "
            "adapters are added.",
            hint="Use another method with this model, such as lora.",
        )
    made, place = [], len(blocks)
    for taps in adapters:
        made.append(DecoderAdapter(model, taps, place))
        place += len(taps)
    owner.adapter_branch = branch = AdapterBranch(made, scale).train(model.training)
    for number in {tap for taps in adapters for tap in taps}:
        blocks[number].register_forward_pre_hook(
            lambda _, arguments, named, number=number: branch.remember(number, arguments, named),
            with_kwargs=True,
        )
    norm.register_forward_hook(lambda module, arguments, output: branch.add(output))
    _reserve_cache(model.config.get_text_config(), adapters)
    return made


def _reserve_cache(config: Any, adapters: Sequence[Sequence[int]]) -> None:
    """Let `generate` make a key-value cache with a place for each block of the adapters."""
    taps = [tap for one in adapters for tap in one]
    if layer_types := getattr(config, "layer_types", None):
        config.layer_types = [*layer_types, *(layer_types[tap] for tap in taps)]
    config.num_hidden_layers += len(taps)
