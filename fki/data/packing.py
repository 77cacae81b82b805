"""The order of the data, and how an optimizer batch is cut: pure functions of seeds and lengths."""

import heapq
import math
from collections.abc import Sequence

from fki.data.collator import TokenizedExample

Rows = list[list[int]]  # of examples' numbers, one behind another in a row


def pack_rows(examples: Sequence[TokenizedExample], share: Sequence[int], length: int) -> Rows:
    """A share of an optimizer batch in rows of at most `length` input tokens, as even as can be.

    The longest comes first and goes into the emptiest row (Graham, 1969). A longer one has a row
    of its own; with length 0 each has.
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
    """Rows, sorted by length and cut, so that little is padded.

    Args:
        rows: of indices into `examples`.
        most: examples of a micro-batch, at most.
        budget: padded input tokens of one, at most, but that one row is always enough.
    """

    def sizes(row: Sequence[int]) -> tuple[int, int]:
        found = [_lengths(examples[i]) for i in row]
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


def _lengths(example: TokenizedExample) -> tuple[int, int]:
    return len(example.source), len(example.target)
