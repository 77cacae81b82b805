"""A T5 with a branch beside its encoder (K-Adapter, Modular), for training and for exports.

The encoder's output H becomes H + scale * branch. The branch is part of the module that the model
calls its encoder. Training, scoring and `generate` therefore all use it, once for each sequence.

This file needs only torch and transformers (5.5 or newer). Every exported folder contains a copy,
so that the loaded model is the trained model:

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
    """Replaces a model's encoder: the encoder itself and a branch beside it."""

    main_input_name = "input_ids"  # `generate` looks for it
    taps: tuple[int, ...] = ()  # the hidden states that the branch reads

    def __init__(self, inner: Any, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def compute_branch(
        self, states: tuple[Tensor, ...], input_ids: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """The branch's output [B, T, D], before scaling.

        Args:
            states: hidden states of the inner encoder, each [B, T, D]: the embeddings, then the
                output of each block, the last one after the final norm. Only `taps` are read.
            input_ids: [B, T], or None if the caller passed embeddings.
            mask: [B, T], 1 where a token is real; None if all are.
        """
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The arguments that rebuild the branch, for the config of an exported model."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """The encoder's output plus the branch; hidden states are those of the inner encoder."""
        out = self.inner(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True, **kwargs
        )
        added = self.compute_branch(out.hidden_states, input_ids, attention_mask)
        out.last_hidden_state = out.last_hidden_state + self.scale * added
        if not output_hidden_states:  # beam search in `generate` cannot repeat them
            out.hidden_states = None
        return out


class Adapter(nn.Module):
    """A stack of T5 blocks, each of which also reads one hidden state of the encoder."""

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
        self.apply(inner._init_weights)  # T5's initialization, not that of nn.Linear

    def forward(self, states: tuple[Tensor, ...], mask: Tensor | None) -> Tensor:
        """The normalized output, [B, T, D]."""
        x, bias = torch.zeros_like(states[self.taps[0]]), None
        attention_mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=x, attention_mask=mask
        )
        for tap, block in zip(self.taps, self.blocks, strict=True):
            x, bias = block(states[tap] + x, attention_mask, bias)[:2]
        return self.norm(x)


class KAdapterEncoder(EncoderWithBranch):
    """An encoder with one adapter beside it, or with the mean of several."""

    def __init__(self, inner: Any, scale: float, adapters: list[list[int]]) -> None:
        """`adapters`: for each adapter, the hidden state that each block reads; 0: embeddings."""
        super().__init__(inner, scale)
        self.adapter_taps = adapters
        self.adapters = nn.ModuleList(Adapter(inner, taps) for taps in adapters)
        self.taps = tuple(sorted({tap for taps in adapters for tap in taps}))

    def compute_branch(
        self, states: tuple[Tensor, ...], input_ids: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """The mean of the adapters' outputs, [B, T, D]."""
        return torch.stack([adapter(states, mask) for adapter in self.adapters]).mean(0)

    def settings(self) -> dict[str, Any]:
        """The scale and the taps of each adapter."""
        return {"kind": "kadapter", "scale": self.scale, "adapters": self.adapter_taps}


class ModularEncoder(EncoderWithBranch):
    """An encoder with a second encoder beside it, of its own or of another shape."""

    def __init__(self, inner: Any, scale: float, shape: dict[str, int]) -> None:
        """`shape`: the differences of the second encoder's config from the first one's.

        With a shape, the second encoder has its own embeddings and a projection to the width of
        the first one. With an empty shape, it shares the first one's embeddings.
        """
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

    def compute_branch(
        self, states: tuple[Tensor, ...], input_ids: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """The second encoder's output, projected to [B, T, D]."""
        if input_ids is None:
            raise ValueError("modular needs input_ids: its second encoder embeds them itself.")
        return self.projection(self.second(input_ids, attention_mask=mask).last_hidden_state)

    def settings(self) -> dict[str, Any]:
        """The scale and the second encoder's shape."""
        return {"kind": "modular", "scale": self.scale, "shape": self.shape}


ENCODERS = {"kadapter": KAdapterEncoder, "modular": ModularEncoder}


class FkiT5Config(T5Config):
    """A T5 config with the `settings` of the branch."""

    model_type = "fki_t5"

    def __init__(self, branch: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branch = branch or {}


class FkiT5ForConditionalGeneration(T5ForConditionalGeneration):
    """A T5 whose encoder has a branch."""

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


# `save_pretrained` then copies this file into the folder
FkiT5Config.register_for_auto_class()
FkiT5ForConditionalGeneration.register_for_auto_class("AutoModelForSeq2SeqLM")
