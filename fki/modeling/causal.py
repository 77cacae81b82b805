"""The forward pass of a decoder; the head runs at scored positions only.

Packed rows have position ids that start anew for each example and no mask: transformers derives the
block-diagonal mask from the positions. Models without such a mask (state spaces, ALiBi) ignore it
without an error, so that a trial decides: packed examples must have their own logits.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from fki.core.errors import ConfigError
from fki.core.types import Batch, SegmentIds
from fki.data.collator import IGNORE_INDEX, number_segments, pad_rows
from fki.modeling.gather_head import gather_positions

# Of logits in fp32, relative to the largest. Another order of summation changes those of SmolLM2 by
# 2e-6; a wrong mask or position changes those of small random models by 7e-5 to 9e-1.
TOLERANCE = 3e-5
TRIAL_LENGTHS = (5, 9)  # tokens of the examples of a trial
JOINT_MAPS = ("c_attn", "query_key_value", "qkv_proj", "Wqkv")  # query, key and value in one map

Trial = Callable[[nn.Module], tuple[Tensor, Tensor]]


def tried_once(trial: Trial) -> Callable[[nn.Module], bool]:
    """The question if the two tensors of logits that a trial returns differ by rounding only.

    The trial runs once per model, in evaluation mode. No, if it raises an exception.
    """
    answers: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()

    @wraps(trial)
    def ask(model: nn.Module) -> bool:
        if model not in answers:
            answers[model] = _are_close(trial, model)
        return answers[model]

    return ask


@torch.no_grad()
def _are_close(trial: Trial, model: nn.Module) -> bool:
    was_training = model.training
    model.eval()
    try:
        found, expected = trial(model)
    except Exception:  # a model that lacks position ids or a key-value cache fails in its own way
        return False
    finally:
        model.train(was_training)
    allowed = TOLERANCE * float(expected.abs().max())
    return bool((found - expected).abs().max() <= allowed)


@tried_once
def can_pack(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Do packed examples have the logits that they have alone?"""
    short, long = examples = trial_examples(model)
    packed = make_batch([short + long, long], [[*TRIAL_LENGTHS], [len(long)]], model)
    alone = [logits(model, make_batch([ids], [[len(ids)]], model))[0] for ids in examples]
    return logits(model, packed)[0, : sum(TRIAL_LENGTHS)], torch.cat(alone)


def trial_examples(model: nn.Module) -> list[list[int]]:
    """Two token sequences, of tokens all over the vocabulary."""
    size: int = model.get_input_embeddings().num_embeddings  # type: ignore[operator]
    short, long = TRIAL_LENGTHS
    ids = [(number + 1) * size // (short + long + 2) for number in range(short + long)]
    return [ids[:short], ids[short:]]


def make_batch(rows: list[list[int]], lengths: list[list[int]], model: nn.Module) -> Batch:
    """A batch of token ids in which each position is scored.

    Args:
        lengths: of the examples in each row.
    """
    device = next(model.parameters()).device
    segments = [number_segments([[0] * length for length in row]) for row in lengths]
    numbers = pad_rows([[*chain.from_iterable(row)] for row in segments], 0).to(device)
    ids = pad_rows(rows, 0).to(device)
    labels = torch.where(numbers > 0, ids, IGNORE_INDEX)
    scored = (numbers.flatten() > 0).nonzero().flatten()
    is_packed = any(len(row) > 1 for row in lengths)
    segment_ids = SegmentIds(numbers, numbers) if is_packed else None
    return Batch(ids, (numbers > 0).long(), labels, scored, segment_ids)


def logits(model: Any, batch: Batch) -> Tensor:
    """Logits [B, T, V] of all positions."""
    output: Tensor = model(**forward_arguments(batch)).logits
    return output


def scored_logits(model: nn.Module, batch: Batch, unwrapped: Any) -> Tensor:
    """Logits [N, V] of the scored positions, in the order of `batch.scored_positions`.

    Args:
        model: the module to call, for example wrapped for several processes.
        unwrapped: the same model without the wrapper.
    """
    with gather_positions(unwrapped.get_output_embeddings(), batch.scored_positions):
        return logits(model, batch)[:, 0]


def forward_arguments(batch: Batch) -> dict[str, Any]:
    """The keyword arguments of the model's forward pass on a batch."""
    arguments: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.segment_ids is None:
        return {**arguments, "attention_mask": batch.attention_mask}
    return {**arguments, "position_ids": restarting_positions(batch.segment_ids.sources)}


def restarting_positions(segments: Tensor) -> Tensor:
    """[B, T], the position of each token within its example; padding is an example of its own."""
    places = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    is_first = torch.ones_like(segments, dtype=torch.bool)
    is_first[:, 1:] = segments[:, 1:] != segments[:, :-1]
    starts = torch.where(is_first, places, 0).cummax(1).values
    return places - starts


def find_blocks(
    model: Any, reader: str = "freeze_level = 1", hint: str = "Add: --set freeze_level=0"
) -> nn.ModuleList:
    """The transformer blocks.

    Args:
        reader: what needs them, for the error, with a hint at what does not.
    Raises:
        ConfigError: the model has no list of them.
    """
    depth = model.config.get_text_config().num_hidden_layers
    lists = (m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth)
    if (blocks := next(lists, None)) is None:
        raise ConfigError(
            f"The blocks of a '{model.config.model_type}' cannot be found for {reader}.",
            hint=hint,
        )
    return blocks


def lower_half(model: Any) -> list[nn.Parameter]:
    """The parameters of the embeddings and of the lower half of the blocks, rounded down."""
    blocks = find_blocks(model)
    within = {id(module) for module in blocks.modules()}
    frozen = [
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding) and id(module) not in within
        for parameter in module.parameters()
    ]
    return frozen + [p for block in blocks[: len(blocks) // 2] for p in block.parameters()]


def find_maps(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """The targets, with the model's own names of the query and value maps for `q` and `v`.

    A map that is query, key and value at once is both.
    """
    names = {path.rpartition(".")[2] for path, _ in model.named_modules()}
    joint = next((name for name in JOINT_MAPS if name in names), "")
    found = [
        f"{target}_proj" if target in ("q", "v") and f"{target}_proj" in names else target
        for target in targets
    ]
    return [*dict.fromkeys(joint if name in ("q", "v") and joint else name for name in found)]
