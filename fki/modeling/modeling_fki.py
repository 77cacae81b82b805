"""A T5 with a branch beside its encoder: K-Adapter and Modular, as they are trained and shipped.

The encoder's output H becomes H + scale * branch. The branch is inside of what the model calls its
encoder, so that training, scoring and `generate` all use it, once per sequence.

This file needs nothing but torch and transformers (5.5 or newer). It goes into every exported
folder as it is, so that what is loaded there is what was trained:

    AutoModelForSeq2SeqLM.from_pretrained(folder, trust_remote_code=True)

Part of fki, under the Apache License 2.0. Shapes: B texts, T tokens, D hidden width.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5Block, T5LayerNorm, T5Stack


class EncoderWithBranch(nn.Module):
    """An encoder with a branch, in the place of the encoder."""

    main_input_name = "input_ids"  # what `generate` looks for
    taps: tuple[int, ...] = ()  # the hidden states that the branch reads

    def __init__(self, inner: Any, scale: float) -> None:
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

    def settings(self) -> dict[str, Any]:
        """What makes the branch again, as the config of an exported model has it."""
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


class Adapter(nn.Module):
    """T5 blocks in a row, each of which also reads a layer of the encoder."""

    def __init__(self, inner: Any, taps: list[int]) -> None:
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
            x, bias = block(states[tap] + x, blocked, bias)[:2]
        return self.norm(x)


class KAdapterEncoder(EncoderWithBranch):
    """An encoder with one adapter beside it, or several that are averaged."""

    def __init__(self, inner: Any, scale: float, adapters: list[list[int]]) -> None:
        """adapters: the hidden state that each block of each adapter reads, 0: embeddings."""
        super().__init__(inner, scale)
        self.reads = adapters
        self.adapters = nn.ModuleList(Adapter(inner, taps) for taps in adapters)
        self.taps = tuple(sorted({tap for taps in adapters for tap in taps}))

    def branch(self, states: tuple[Tensor, ...], ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """The mean of the adapters, [B, T, D]."""
        return torch.stack([adapter(states, mask) for adapter in self.adapters]).mean(0)

    def settings(self) -> dict[str, Any]:
        """The layers that each adapter reads."""
        return {"kind": "kadapter", "scale": self.scale, "adapters": self.reads}


class ModularEncoder(EncoderWithBranch):
    """An encoder with a second one beside it, of another shape or of its own."""

    def __init__(self, inner: Any, scale: float, shape: dict[str, int]) -> None:
        """shape: where the second encoder's config differs. With a shape it has embeddings of its
        own and a projection to the first one's width; without one it reads the first one's."""
        super().__init__(inner, scale)
        config = copy.deepcopy(inner.config)
        config.is_decoder = config.use_cache = False
        config.update(shape)
        self.shape = dict(shape)
        self.second = T5Stack(config)
        if shape:
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

    def settings(self) -> dict[str, Any]:
        """The second encoder's shape."""
        return {"kind": "modular", "scale": self.scale, "shape": self.shape}


ENCODERS = {"kadapter": KAdapterEncoder, "modular": ModularEncoder}


class FkiT5Config(T5Config):
    """A T5's, and the `settings` of its branch."""

    model_type = "fki_t5"

    def __init__(self, branch: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branch = branch or {}


class FkiT5ForConditionalGeneration(T5ForConditionalGeneration):
    """A T5 whose encoder has a branch beside it."""

    config_class = FkiT5Config

    def __init__(self, config: FkiT5Config) -> None:
        super().__init__(config)
        settings = dict(config.branch)
        cls: Any = ENCODERS[settings.pop("kind")]
        self.encoder: nn.Module = cls(self.encoder, **settings)
        embeddings = ["encoder.inner.embed_tokens", "decoder.embed_tokens", "lm_head"]
        if settings.get("shape") == {}:
            embeddings.append("encoder.second.embed_tokens")
        self._tied_weights_keys = {f"{name}.weight": "shared.weight" for name in embeddings}
        self.post_init()


# so that `save_pretrained` writes this file, too
FkiT5Config.register_for_auto_class()
FkiT5ForConditionalGeneration.register_for_auto_class("AutoModelForSeq2SeqLM")
