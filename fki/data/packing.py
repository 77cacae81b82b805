"""The order of the data, and how an optimizer batch is cut: pure functions of seeds and lengths."""

import hashlib
import heapq
import math
from collections.abc import Iterator, Sequence

import torch

from fki.data.collator import Encoded


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


Rows = list[list[int]]  # of examples' numbers, one behind another in a row


def packed(examples: Sequence[Encoded], share: Sequence[int], length: int) -> Rows:
    """A share of an optimizer batch in rows of at most `length` input tokens, as even as can be.

    The longest comes first and goes into the emptiest row (Graham, 1969). A longer one has a row
    of its own; with length 0 each has.
    """
    ordered = sorted(share, key=lambda i: _size(examples[i]), reverse=True)
    rows: Rows = []
    fill: list[tuple[int, int]] = []  # a heap of (tokens, row)
    fewest = math.ceil(sum(len(examples[i].source) for i in share) / length) if length else 0
    for i in ordered:
        size = len(examples[i].source)
        if len(rows) < fewest or not fill or fill[0][0] + size > length:
            heapq.heappush(fill, (size, len(rows)))
            rows.append([i])
        else:
            tokens, row = heapq.heappop(fill)
            rows[row].append(i)
            heapq.heappush(fill, (tokens + size, row))
    return rows


def micro_batches(
    examples: Sequence[Encoded], rows: Sequence[Sequence[int]], *, most: int, budget: float
) -> list[Rows]:
    """Rows, sorted by length and cut, so that little is padded.

    Args:
        rows: of indices into `examples`.
        most: examples of a micro-batch, at most.
        budget: padded input tokens of one, at most, but that one row is always enough.
    """

    def sizes(row: Sequence[int]) -> tuple[int, int]:
        found = [_size(examples[i]) for i in row]
        return sum(source for source, _ in found), sum(target for _, target in found)

    batches: list[Rows] = []
    held = 0
    for row in sorted(rows, key=sizes):
        held += len(row)
        if not batches or held > most or (len(batches[-1]) + 1) * sizes(row)[0] > budget:
            batches.append([])
            held = len(row)
        batches[-1].append([*row])
    return batches


def _size(example: Encoded) -> tuple[int, int]:
    return len(example.source), len(example.target)
