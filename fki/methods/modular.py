"""Modular: a second, small encoder learns beside the big one (Jang et al., 2022).

    output = Enc(x) + scale * Proj(Enc_2(x))

Both encoders read the same tokens under the same mask. `size = "small"`, the paper's, gives the
second one the shape of t5-small and embeddings of its own; `size = "same"`, CFInjectBench's
`modular`, the shape of the first one, its embeddings, and no projection. It starts at random, with
T5's own initialisation.
"""

import copy
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.t5.modeling_t5 import T5Stack

from fki.methods import base
from fki.methods.beside import Beside, BesideOptions, WithBranch

SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}  # t5-small
SCALES = {"small": 0.05, "same": 0.1}  # as published for either


class ModularOptions(BesideOptions):
    """The table `[modular]`."""

    size: Literal["small", "same"] = "small"
    """The second encoder's shape: t5-small's, never above the first one's; or the first one's."""


class ModularEncoder(WithBranch):
    """An encoder with a second one beside it."""

    def __init__(self, inner: Any, size: str, scale: float) -> None:
        super().__init__(inner, scale)
        config = copy.deepcopy(inner.config)
        config.is_decoder = config.use_cache = False
        if size == "small":
            config.update({k: min(v, getattr(config, k)) for k, v in SMALL.items()})
        self.second = T5Stack(config)
        if size == "small":
            std = config.initializer_factor  # T5's for embeddings
            nn.init.normal_(self.second.embed_tokens.weight, std=std)
            self.projection: nn.Module = nn.Linear(config.d_model, inner.config.d_model)
            nn.init.normal_(self.projection.weight, std=std * config.d_model**-0.5)
            nn.init.zeros_(self.projection.bias)
        else:
            self.second.set_input_embeddings(inner.embed_tokens)
            self.projection = nn.Identity()

    def branch(self, states: tuple[Tensor, ...], ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """The second encoder's output, [B, T, D]."""
        if ids is None:
            raise ValueError("modular needs input_ids: its encoders have embeddings of their own.")
        return self.projection(self.second(ids, attention_mask=mask).last_hidden_state)

    def start_at_base(self) -> None:
        """The projection, or else the second encoder's last norm, is 0."""
        last = self.projection if isinstance(self.projection, nn.Linear) else None
        nn.init.zeros_(last.weight if last else self.second.final_layer_norm.weight)


class Modular(Beside):
    """A second encoder beside the first."""

    table: ClassVar[str] = "modular"
    Options: ClassVar[type[base.Options]] = ModularOptions
    options: ModularOptions

    def published_scale(self) -> float:
        """0.05 for a small second encoder, 0.1 for one of the same size."""
        return SCALES[self.options.size]

    def encoder(self, inner: PreTrainedModel, scale: float) -> ModularEncoder:
        """The encoder with the second one."""
        return ModularEncoder(inner, self.options.size, scale)
