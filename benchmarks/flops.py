"""Floating-point operations that an example needs, at least: real tokens alone, no padding.

A multiply and an add are two. A backward pass costs the forward pass twice: once for what comes in,
once for the weights; what is frozen has no second one, and below what is frozen there is no first.
"""

from collections.abc import Sequence

from benchmarks.workloads import VOCABULARY
from fki.data.collator import TokenizedExample


def forward(shape: dict[str, int], sources: int, targets: int) -> tuple[float, float, float, float]:
    """(encoder, decoder without what follows, keys and values of the encoder's output, head)."""
    d, ff, layers = shape["d_model"], shape["d_ff"], shape["num_layers"]
    inner = shape["d_kv"] * shape["num_heads"]
    encoder = layers * 2 * sources * (4 * d * inner + 2 * d * ff + 2 * sources * inner)
    attended = targets + sources
    decoder = layers * 2 * targets * (6 * d * inner + 2 * d * ff + 2 * attended * inner)
    crossed = layers * 2 * sources * 2 * d * inner
    return encoder, decoder, crossed, 2 * targets * d * VOCABULARY


def training(
    shape: dict[str, int], examples: Sequence[TokenizedExample], encoder: str = "learns"
) -> float:
    """Of one epoch, a mean over its examples; the encoder `learns`, is `frozen`, or is `kept`."""
    total = 0.0
    for example in examples:
        below, decoder, crossed, head = forward(shape, len(example.source), len(example.target))
        if encoder == "learns":
            total += 3 * (below + decoder + crossed + head)
            continue
        # the head is tied to frozen embeddings; keys and values have nothing below them that learns
        total += 3 * decoder + 2 * crossed + 2 * head + (below if encoder == "frozen" else 0)
    return total / len(examples)
