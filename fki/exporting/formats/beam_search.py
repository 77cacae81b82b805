"""Beam search for runtimes that have none, of one source, as transformers' `generate` does it.

Texts are compared by their log-likelihood per token, the end counted, and the search is over when
the best text that goes on is behind the worst that has ended (`early_stopping=False`).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Step = Callable[[Ids, Ids], Floats]


def log_softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def search_beams(
    first: Floats, step: Step, *, length: int, beams: int, ends: Sequence[int]
) -> list[list[int]]:
    """Texts of at most `length` tokens, the best one first, as many as there are beams.

    Args:
        first: logits [1, V] of the first token.
        step: logits [K, V] after one more token each, of those rows of its last answer that go on,
            and the tokens that they go on with.
        ends: the tokens that end a text.
    """
    texts: list[list[int]] = [[]]  # those that go on, and their log-likelihoods
    scores = np.zeros(1)
    ended: list[tuple[float, list[int]]] = []  # log-likelihood per token, and text
    logits = first
    for n in range(1, length + 1):
        likely = scores[:, None] + log_softmax(logits)
        order = np.argsort(-likely, axis=None, kind="stable")[: 2 * beams]
        rows, tokens = np.unravel_index(order, likely.shape)
        found = likely[rows, tokens]
        is_end = np.isin(tokens, ends) | (n == length)
        ended += [
            (found[i] / n, [*texts[rows[i]], int(tokens[i])])
            for i in np.flatnonzero(is_end[:beams])
        ]
        ended = sorted(ended, key=lambda text: -text[0])[:beams]
        going = np.flatnonzero(~is_end)[:beams]
        if n == length or (len(ended) == beams and found[going[0]] / n <= ended[-1][0]):
            break
        rows, tokens, scores = rows[going], tokens[going], found[going]
        texts = [[*texts[row], int(token)] for row, token in zip(rows, tokens, strict=True)]
        logits = step(rows, tokens)
    return [text for _, text in ended]
