"""Beam search over one source, for runtimes without their own; equals transformers' `generate`.

Texts are ranked by log-likelihood per token, EOS included. The search ends when the best unfinished
text scores below the worst finished text (`early_stopping=False`).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Step = Callable[[Ids, Ids], Floats]


def log_softmax(logits: Floats) -> Floats:
    """Log-softmax over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def search_beams(
    first: Floats, step: Step, *, length: int, beams: int, ends: Sequence[int]
) -> list[list[int]]:
    """The best texts of at most `length` tokens, best first, one for each beam.

    Args:
        first: logits [1, V] of the first token.
        step: returns logits [K, V] after one more token each. Its arguments are the rows of its
            previous result that continue [K], and their next tokens [K].
        ends: tokens that end a text.
    """
    texts: list[list[int]] = [[]]  # unfinished, with their log-likelihoods in `scores`
    scores = np.zeros(1)
    ended: list[tuple[float, list[int]]] = []  # log-likelihood per token, and text
    logits = first
    for n in range(1, length + 1):
        likely = scores[:, None] + log_softmax(logits)
        order = np.argsort(-likely, axis=None, kind="stable")[: 2 * beams]
        rows, tokens = np.unravel_index(order, likely.shape)
        candidates = likely[rows, tokens]
        is_end = np.isin(tokens, ends) | (n == length)
        ended += [
            (candidates[i] / n, [*texts[rows[i]], int(tokens[i])])
            for i in np.flatnonzero(is_end[:beams])
        ]
        ended = sorted(ended, key=lambda text: -text[0])[:beams]
        going = np.flatnonzero(~is_end)[:beams]
        if n == length or (len(ended) == beams and candidates[going[0]] / n <= ended[-1][0]):
            break
        rows, tokens, scores = rows[going], tokens[going], candidates[going]
        texts = [[*texts[row], int(token)] for row, token in zip(rows, tokens, strict=True)]
        logits = step(rows, tokens)
    return [text for _, text in ended]
