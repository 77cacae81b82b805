"""The teacher-forced forward pass of an encoder-decoder; the head runs at scored positions only.

Two hooks change one forward pass and leave the model's own code in use. The first hook reduces the
head's input to the scored positions. The second hook gives the encoder a block-diagonal mask, so
that packed examples do not attend to each other.
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
from fki.modeling.gather_head import gather_positions

PACKABLE_MODELS = {"t5", "mt5", "umt5"}  # relative positions only: an offset in the row is harmless


def can_pack(model: Any) -> bool:
    """Does the architecture allow several examples in one row?"""
    return model.config.model_type in PACKABLE_MODELS


def target_logits(model: nn.Module, batch: Batch, config: PretrainedConfig) -> Tensor:
    """Logits [B, U, V] of all label positions; `config` is the config of the T5 itself."""
    return model(**forward_arguments(batch, config)).logits


def scored_logits(
    model: nn.Module,
    batch: Batch,
    unwrapped: Any,
    *,
    encoder_outputs: BaseModelOutput | None = None,
) -> Tensor:
    """Logits [N, V] of the scored positions, in the order of `batch.scored_positions`.

    Args:
        model: the module to call, for example wrapped for several processes.
        unwrapped: the same model without the wrapper.
        encoder_outputs: the encoder's output for the batch, if it is known already.
    """
    head = unwrapped.get_output_embeddings()
    with gather_positions(head, batch.scored_positions), _separate_segments(unwrapped, batch):
        arguments = forward_arguments(batch, unwrapped.config, encoder_outputs)
        return model(**arguments).logits[:, 0]


def forward_arguments(
    batch: Batch, config: PretrainedConfig, encoder_outputs: BaseModelOutput | None = None
) -> dict[str, Any]:
    """The keyword arguments of the model's forward pass on a batch."""
    arguments = {
        "attention_mask": batch.attention_mask,
        "decoder_input_ids": shift_right(
            batch.labels, config.decoder_start_token_id, config.pad_token_id, batch.segment_ids
        ),
        "use_cache": False,
    }
    if batch.segment_ids is not None:
        sources, targets = batch.segment_ids
        later = torch.ones(targets.shape[1], targets.shape[1], dtype=torch.bool).triu(1)
        causal = _same_segment(targets, targets) & ~later.to(targets.device)
        arguments["decoder_attention_mask"] = _attention_mask(causal, config)
        arguments["attention_mask"] = _attention_mask(_same_segment(targets, sources), config)
    if encoder_outputs is not None:
        return {"encoder_outputs": encoder_outputs, **arguments}
    return {"input_ids": batch.input_ids, **arguments}


def encoder_attention_mask(batch: Batch, config: PretrainedConfig) -> Tensor:
    """The encoder's mask: [B, T], or block-diagonal [B, 1, T, T] for packed rows."""
    if batch.segment_ids is None:
        return batch.attention_mask
    return _attention_mask(
        _same_segment(batch.segment_ids.sources, batch.segment_ids.sources), config
    )


def _same_segment(queries: Tensor, keys: Tensor) -> Tensor:
    """[B, 1, Q, K]: do query and key belong to the same example?"""
    return (queries[:, :, None] == keys[:, None, :])[:, None]


def _attention_mask(allowed: Tensor, config: PretrainedConfig) -> Tensor:
    """The mask in the model's form: eager attention adds its mask to the scores."""
    if getattr(config, "_attn_implementation", "eager") != "eager":
        return allowed
    return torch.zeros_like(allowed, dtype=torch.float32).masked_fill(
        ~allowed, torch.finfo(torch.float32).min
    )


@contextmanager
def _separate_segments(unwrapped: Any, batch: Batch) -> Iterator[None]:
    """Within the context the encoder's mask separates packed examples.

    The model passes the decoder's cross-attention mask to its encoder; the hook replaces that mask.
    """
    if batch.segment_ids is None:
        yield
        return
    mask = encoder_attention_mask(batch, unwrapped.config)

    def replace(module: nn.Module, arguments: Any, named: dict[str, Any]) -> Any:
        return arguments, named | {"attention_mask": mask}

    handle = unwrapped.get_encoder().register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replace_forward(
    module: nn.Module, make_output: Callable[[], BaseModelOutput]
) -> Iterator[None]:
    """Within the context the module computes nothing: each call returns `make_output()`."""
    module.forward = lambda *_, **__: make_output()
    try:
        yield
    finally:
        del module.forward  # the method of the class is visible again
