"""What large models need on many GPUs, by arithmetic: memory, bytes moved, operations, seconds.

    python -m benchmarks.scaling

Nothing is measured and nothing is downloaded: the weights are counted on torch's meta device, from
the published shapes. Weights, gradients and Adam's moments are in fp32, as `fki` keeps them.
Activations are not counted; `fki plan` measures them by a trial.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

GIB = 2**30
BYTES = 4  # of a number in fp32
GPUS = (1, 8, 64, 512)
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
    scoring: float  # bytes: whole weights, and the states that stay beside them
    moved: float  # bytes that it sends in an optimizer step
    operations: float  # for each token of the step, of all GPUs together


def count_weights(name: str) -> int:
    """The weights of a model, without memory for them."""
    config, model, sizes = SHAPES[name]
    with torch.device("meta"):
        return sum(p.numel() for p in model(config(**sizes)).parameters())


def need(weights: int, gpus: int, *, sharded: bool, trained: float = 1.0) -> Need:
    """The need of each of these GPUs.

    Args:
        sharded: by `fully_shard`; else each GPU has everything.
        trained: the share of the weights that train, such as LoRA's.
    """
    parts = gpus if sharded else 1
    own = weights * BYTES / parts
    training = 3 * trained * weights * BYTES / parts  # gradients and two moments
    others = (gpus - 1) / gpus
    if sharded:  # gather for the forward and for the backward pass, scatter the gradients
        moved = others * BYTES * weights * (2 + trained)
    else:  # a ring all-reduce of the gradients
        moved = 2 * others * BYTES * weights * trained
    operations = weights * (OPERATIONS if trained == 1 else OPERATIONS - 2)
    return Need(own + training, weights * BYTES + training, moved, operations)


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
    heads = ("states, GiB", "scoring, GiB", "sent in a step, GiB", "GFLOP/token")
    print(f"| model | training | GPUs | {' | '.join(heads)} |")
    print("|---|---|---|---|---|---|---|")
    for name, way, gpus, found in rows():
        gib = (f"{value / GIB:,.1f}" for value in (found.states, found.scoring, found.moved))
        print(f"| {name} | {way} | {gpus} | {' | '.join(gib)} | {found.operations / 1e9:,.0f} |")


if __name__ == "__main__":
    main()
