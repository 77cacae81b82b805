"""What large models need on many GPUs, by arithmetic: memory, bytes moved, operations, seconds.

    python -m benchmarks.scaling

Nothing is measured and nothing is downloaded: the weights are counted on torch's meta device, from
the published shapes. Weights, gradients and Adam's moments are in fp32, as `fki` keeps them.
Activations are not counted; `fki plan` measures them by a trial. `scaling_runs` compares this
arithmetic with runs.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from fki.modeling.sharding import find_blocks, find_untied_ends

GIB = 2**30
BYTES = 4  # of a number in fp32
GPUS = (1, 8, 16, 64, 512)
COPIES = 3  # of a block, while it is gathered: what is received, its predecessor, and the weights
OPERATIONS = 6  # for each weight and token of a step: 2 forward, 4 backward
SHAPES: dict[str, tuple[Any, Any, dict[str, int]]] = {
    "t5-base": (T5Config, T5ForConditionalGeneration, {
        "vocab_size": 32128, "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12,
        "num_heads": 12,
    }),
    "t5-11b": (T5Config, T5ForConditionalGeneration, {
        "vocab_size": 32128, "d_model": 1024, "d_kv": 128, "d_ff": 65536, "num_layers": 24,
        "num_heads": 128,
    }),
    "llama-8b": (LlamaConfig, LlamaForCausalLM, {
        "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    }),
    "llama-70b": (LlamaConfig, LlamaForCausalLM, {
        "vocab_size": 128256, "hidden_size": 8192, "intermediate_size": 28672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    }),
}  # fmt: skip


@dataclass(frozen=True)
class Need:
    """What one GPU needs."""

    states: float  # bytes: weights, gradients, Adam's moments
    gathered: float  # bytes of scoring: whole weights, and the states that stay beside them
    sharded: float  # bytes of scoring a block at a time
    moved: float  # bytes that it sends in an optimizer step
    operations: float  # for each token of the step, of all GPUs together


class Weights(NamedTuple):
    """Numbers of weights."""

    total: int
    block: int  # the largest number that is gathered at once
    rest: int = 0  # outside of all blocks, gathered throughout a pass


def count_weights(name: str) -> Weights:
    """The weights of a model, without memory for them."""
    config, model, sizes = SHAPES[name]
    with torch.device("meta"):
        return count_parts(model(config(**sizes)))


def count_parts(model: nn.Module) -> Weights:
    """The weights of a model, as `fully_shard` groups them."""
    total, *parts = (
        sum(p.numel() for p in module.parameters())
        for module in (model, *find_blocks(model), *find_untied_ends(model))
    )
    return Weights(total, max(parts), total - sum(parts))


def need(weights: Weights, gpus: int, *, sharded: bool, trained: float = 1.0) -> Need:
    """The need of each of these GPUs.

    Args:
        sharded: by `fully_shard`; else each GPU has everything.
        trained: the share of the weights that train, such as LoRA's.
    """
    total = weights.total
    parts = gpus if sharded else 1
    own = total * BYTES / parts
    training = 3 * trained * total * BYTES / parts  # gradients and two moments
    others = (gpus - 1) / gpus
    if sharded:  # gather for the forward and for the backward pass, scatter the gradients
        moved = others * BYTES * total * (2 + trained)
    else:  # a ring all-reduce of the gradients
        moved = 2 * others * BYTES * total * trained
    operations = total * (OPERATIONS if trained == 1 else OPERATIONS - 2)
    states = own + training
    if not sharded:
        return Need(states, states, states, moved, operations)
    gathered = states + total * BYTES  # the shards stay
    part = states + BYTES * (COPIES * weights.block + weights.rest)
    return Need(states, gathered, part, moved, operations)


def step_seconds(need: Need, tokens: float, gpus: int, *, speed: float, bandwidth: float) -> float:
    """Seconds of an optimizer step: it computes, and then moves.

    Args:
        tokens: of the step, over all GPUs.
        speed: operations per second of a GPU, for the share of its peak that it reaches.
        bandwidth: bytes per second that a GPU sends.
    """
    return need.operations * tokens / (gpus * speed) + need.moved / bandwidth


def rows(lora: float = 0.005) -> Iterator[tuple[str, str, int, Need]]:
    """The model, the way of training, the GPUs and what each of them needs."""
    for name in SHAPES:
        weights = count_weights(name)
        for gpus in GPUS:
            yield name, "all weights, DDP", gpus, need(weights, gpus, sharded=False)
            if gpus > 1:
                yield name, "all weights, fsdp", gpus, need(weights, gpus, sharded=True)
                yield name, "LoRA, fsdp", gpus, need(weights, gpus, sharded=True, trained=lora)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    heads = ("states", "scoring, gathered", "scoring, sharded", "sent in a step")
    units = " | ".join(f"{head}, GiB" for head in heads)
    print(f"| model | training | GPUs | {units} | GFLOP/token |")
    print(f"|{'---|' * 8}")
    for name, way, gpus, found in rows():
        sizes = (found.states, found.gathered, found.sharded, found.moved)
        gib = (f"{value / GIB:,.1f}" for value in sizes)
        print(f"| {name} | {way} | {gpus} | {' | '.join(gib)} | {found.operations / 1e9:,.0f} |")


if __name__ == "__main__":
    main()
