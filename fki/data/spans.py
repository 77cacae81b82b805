"""Span corruption, T5's pretraining objective, on whitespace-separated words.

Raffel et al. (2020), section 3.1.4: 15 % of the text, in spans of mean length 3, is replaced by
numbered sentinels; the target is the spans, each behind its sentinel, and a final sentinel.
"""

import random
from itertools import groupby

DENSITY, MEAN_LENGTH = 0.15, 3.0


def corrupt_spans(
    text: str, rng: random.Random, *, density: float = DENSITY, mean_length: float = MEAN_LENGTH
) -> tuple[str, str]:
    """(source, target) of a text of at least two words; at least one word is always kept."""
    words = text.split()
    if len(words) < 2:
        raise ValueError(f"span corruption needs at least two words, not '{text}'")
    mask = noise_mask(len(words), rng, density=density, mean_length=mean_length)
    source, target, sentinel = [], [], 0
    for is_noise, run in groupby(zip(mask, words, strict=True), key=lambda pair: pair[0]):
        span = [word for _, word in run]
        if is_noise:
            source.append(f"<extra_id_{sentinel}>")
            target += [f"<extra_id_{sentinel}>", *span]
            sentinel += 1
        else:
            source += span
    return " ".join(source), " ".join([*target, f"<extra_id_{sentinel}>"])


def noise_mask(
    length: int, rng: random.Random, *, density: float = DENSITY, mean_length: float = MEAN_LENGTH
) -> list[bool]:
    """[length], True where the text is noise: kept and noise spans take turns.

    As T5's `random_spans_noise_mask`, but that either kind may come first.
    """
    noise = min(max(round(length * density), 1), length - 1)
    spans = min(max(round(noise / mean_length), 1), noise, length - noise)
    noise_lengths = random_segments(noise, spans, rng)
    kept_lengths = random_segments(length - noise, spans, rng)
    mask: list[bool] = []
    for kept, noisy in zip(kept_lengths, noise_lengths, strict=True):
        mask += [False] * kept + [True] * noisy
    return mask if rng.random() < 0.5 else mask[::-1]


def random_segments(total: int, parts: int, rng: random.Random) -> list[int]:
    """`total` cut at random into `parts` lengths of at least 1 each."""
    cuts = sorted(rng.sample(range(1, total), parts - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
