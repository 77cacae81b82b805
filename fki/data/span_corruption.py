"""Span corruption, T5's pretraining objective, on words or on tokens.

Raffel et al. (2020), section 3.1.4: 15 % of the text, in spans of mean length 3, is replaced by
numbered sentinels; the target is the spans, each behind its sentinel, and a final sentinel.
"""

import random
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

T = TypeVar("T")
Span = tuple[int, int]  # first index, and the one after the last

DENSITY, MEAN_LENGTH = 0.15, 3.0
SENTINELS = 100  # in T5's vocabulary


def corrupt_spans(
    text: str, rng: random.Random, *, density: float = DENSITY, mean_length: float = MEAN_LENGTH
) -> tuple[str, str]:
    """(source, target) of a text of at least two words; at least one word is always kept."""
    words = text.split()
    if len(words) < 2:
        raise ValueError(f"span corruption needs at least two words, not '{text}'")
    mask = noise_mask(len(words), rng, density=density, mean_length=mean_length)
    source, target = hide_spans(words, mask_to_spans(mask), "<extra_id_{}>".format)
    return " ".join(source), " ".join(target)


def hide_spans(
    tokens: Sequence[T], spans: Sequence[Span], sentinel: Callable[[int], T]
) -> tuple[list[T], list[T]]:
    """(source, target): a sentinel replaces each span; the target has it after the same sentinel.

    Args:
        spans: in order, without overlap; adjacent spans have a sentinel each.
        sentinel: the token of a number, from 0; the target ends with one more sentinel.
    """
    source: list[T] = []
    target: list[T] = []
    at = 0
    for number, (start, end) in enumerate(spans):
        source += [*tokens[at:start], sentinel(number)]
        target += [sentinel(number), *tokens[start:end]]
        at = end
    return [*source, *tokens[at:]], [*target, sentinel(len(spans))]


def mask_to_spans(mask: Sequence[bool]) -> list[Span]:
    """The runs of True in a mask."""
    runs, at = [], 0
    for is_noise, run in groupby(mask):
        end = at + len(list(run))
        if is_noise:
            runs.append((at, end))
        at = end
    return runs


def noise_mask(
    length: int, rng: random.Random, *, density: float = DENSITY, mean_length: float = MEAN_LENGTH
) -> list[bool]:
    """[length], True for noise; kept and noise spans alternate.

    As T5's `random_spans_noise_mask`, except that either kind may come first.
    """
    noise, spans = noise_counts(length, density=density, mean_length=mean_length)
    noise_lengths = split_randomly(noise, spans, rng)
    kept_lengths = split_randomly(length - noise, spans, rng)
    mask: list[bool] = []
    for kept, noisy in zip(kept_lengths, noise_lengths, strict=True):
        mask += [False] * kept + [True] * noisy
    return mask if rng.random() < 0.5 else mask[::-1]


def noise_counts(
    length: int, *, density: float = DENSITY, mean_length: float = MEAN_LENGTH
) -> tuple[int, int]:
    """The number of noise tokens and of their spans; both grow with the length."""
    noise = min(max(round(length * density), 1), length - 1)
    return noise, min(max(round(noise / mean_length), 1), noise, length - noise)


def split_randomly(total: int, parts: int, rng: random.Random) -> list[int]:
    """`total` split at random into `parts` lengths of at least 1."""
    cuts = sorted(rng.sample(range(1, total), parts - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
