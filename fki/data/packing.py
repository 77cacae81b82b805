"""Sequence packing, and the split of an optimizer batch into micro-batches: pure functions."""

import heapq
import math
from collections.abc import Sequence

from fki.data.collator import TokenizedExample

Rows = list[list[int]]  # of example indices; a row is a sequence of examples


def pack_rows(examples: Sequence[TokenizedExample], share: Sequence[int], length: int) -> Rows:
    """Pack a share of an optimizer batch into rows of at most `length` input tokens.

    Longest first, each into the emptiest row (Graham, 1969). An example longer than `length` has a
    row of its own; with length 0, every example has.
    """
    ordered = sorted(share, key=lambda i: _lengths(examples[i]), reverse=True)
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


def split_micro_batches(
    examples: Sequence[TokenizedExample], rows: Sequence[Sequence[int]], *, most: int, budget: float
) -> list[Rows]:
    """Sort rows by length and split them into micro-batches with little padding.

    Args:
        rows: of indices into `examples`.
        most: the maximum number of examples in a micro-batch.
        budget: the maximum of its padded input tokens; a single row may exceed it.
    """

    def sizes(row: Sequence[int]) -> tuple[int, int]:
        lengths = [_lengths(examples[i]) for i in row]
        return sum(source for source, _ in lengths), sum(target for _, target in lengths)

    batches: list[Rows] = []
    held = 0
    for row in sorted(rows, key=sizes):
        held += len(row)
        if not batches or held > most or (len(batches[-1]) + 1) * sizes(row)[0] > budget:
            batches.append([])
            held = len(row)
        batches[-1].append([*row])
    return batches


def _lengths(example: TokenizedExample) -> tuple[int, int]:
    return len(example.source), len(example.target)
