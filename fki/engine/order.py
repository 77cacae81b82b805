"""The order of the data, and how an optimizer batch is cut: pure functions of seeds and lengths."""

import hashlib
import math
from collections.abc import Iterator, Sequence

import torch

from fki.data.collate import Encoded


def derived_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on all parts and on nothing else."""
    text = "|".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def shuffled(n: int, seed: int) -> list[int]:
    """The numbers below n in an order that depends on the seed alone."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()


def optimizer_batches(n: int, size: int, seed: int) -> Iterator[list[int]]:
    """The numbers below n, shuffled, `size` at a time; each is in exactly one batch."""
    order = shuffled(n, seed)
    return (order[i : i + size] for i in range(0, n, size))


def micro_batches(
    examples: Sequence[Encoded], share: Sequence[int], *, most: int, budget: float
) -> list[list[int]]:
    """A share of an optimizer batch, sorted by length and cut, so that little is padded.

    Args:
        share: indices into `examples`.
        most: examples of a micro-batch, at most.
        budget: padded input tokens of one, at most, but that one example is always enough.
    """
    ordered = sorted(share, key=lambda i: (len(examples[i].source), len(examples[i].target)))
    batches: list[list[int]] = []
    for i in ordered:
        size = len(batches[-1]) + 1 if batches else math.inf
        if size > most or size * len(examples[i].source) > budget:
            batches.append([])
        batches[-1].append(i)
    return batches
