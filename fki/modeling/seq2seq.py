"""The forward pass, teacher-forced: what the model is given, and the head only where it counts.

A hook on the head, not a second implementation of the model, leaves out the places that are not
scored: gradients are the same, and a T5's head over 32,128 words is a fifth of a step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from fki.core.types import Batch
from fki.data.collator import shift_right

PACKABLE_MODELS = {
    "t5",
    "mt5",
    "umt5",
}  # relative positions alone: where an example stands is no matter


def can_pack(model: Any) -> bool:
    """Can a row of this model's hold several examples?"""
    return model.config.model_type in PACKABLE_MODELS


def target_logits(model: nn.Module, batch: Batch, config: PretrainedConfig) -> Tensor:
    """Logits [B, U, V] of the labels' places; `config` is the T5's own."""
    return model(**forward_arguments(batch, config)).logits


def scored_logits(
    model: nn.Module, batch: Batch, plain: Any, *, encoded: BaseModelOutput | None = None
) -> Tensor:
    """Logits [N, V] of the scored places alone, row by row: of `labels.flatten()[places]`.

    Args:
        model: as it is called, such as wrapped for several processes.
        plain: the same model unwrapped.
        encoded: what its encoder says of the batch, where that is known.
    """
    with (
        _gather_positions(plain.get_output_embeddings(), batch.scored_positions),
        _separate_segments(plain, batch),
    ):
        return model(**forward_arguments(batch, plain.config, encoded)).logits[:, 0]


def forward_arguments(
    batch: Batch, config: PretrainedConfig, encoded: BaseModelOutput | None = None
) -> dict[str, Any]:
    """The arguments of the model's forward."""
    found = {
        "attention_mask": batch.attention_mask,
        "decoder_input_ids": shift_right(
            batch.labels, config.decoder_start_token_id, config.pad_token_id, batch.segment_ids
        ),
        "use_cache": False,
    }
    if batch.segment_ids is not None:
        sources, targets = batch.segment_ids
        later = torch.ones(targets.shape[1], targets.shape[1], dtype=torch.bool).triu(1)
        same = _same_segment(targets, targets) & ~later.to(targets.device)
        found["decoder_attention_mask"] = _attention_mask(same, config)
        found["attention_mask"] = _attention_mask(_same_segment(targets, sources), config)
    if encoded is not None:
        return {"encoder_outputs": encoded, **found}
    return {"input_ids": batch.input_ids, **found}


def encoder_attention_mask(batch: Batch, config: PretrainedConfig) -> Tensor:
    """[B, T], or [B, 1, T, T] where rows hold several examples."""
    if batch.segment_ids is None:
        return batch.attention_mask
    return _attention_mask(
        _same_segment(batch.segment_ids.sources, batch.segment_ids.sources), config
    )


def _same_segment(ours: Tensor, theirs: Tensor) -> Tensor:
    """[B, 1, Q, K]: are query and key of one example?"""
    return (ours[:, :, None] == theirs[:, None, :])[:, None]


def _attention_mask(allowed: Tensor, config: PretrainedConfig) -> Tensor:
    """As the attention of this model reads it: eager attention adds its mask."""
    if getattr(config, "_attn_implementation", "eager") != "eager":
        return allowed
    return torch.zeros_like(allowed, dtype=torch.float32).masked_fill(
        ~allowed, torch.finfo(torch.float32).min
    )


@contextmanager
def _gather_positions(head: nn.Module, places: Tensor) -> Iterator[None]:
    """The head is given [N, 1, D], its input at these places of [B, U, D]."""

    def gather(module: nn.Module, arguments: tuple[Tensor, ...]) -> Tensor:
        return arguments[0].flatten(0, 1).index_select(0, places)[:, None]

    handle = head.register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _separate_segments(plain: Any, batch: Batch) -> Iterator[None]:
    """The encoder keeps the examples of a row apart; what it was given is the decoder's mask."""
    if batch.segment_ids is None:
        yield
        return
    mask = encoder_attention_mask(batch, plain.config)

    def replace(module: nn.Module, arguments: Any, named: dict[str, Any]) -> Any:
        return arguments, named | {"attention_mask": mask}

    handle = plain.get_encoder().register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replace_forward(module: nn.Module, answer: Callable[[], BaseModelOutput]) -> Iterator[None]:
    """Inside of this the module computes nothing: whatever it is asked, it gives this answer."""
    module.forward = lambda *_, **__: answer()
    try:
        yield
    finally:
        del module.forward  # the class's own shows again
