"""The floating-point operations of an example, without padding.

A multiply-add counts as two. A backward pass costs twice the forward pass: once for the gradient of
the inputs, once for that of the weights. Frozen weights have no gradient of their own, and layers
without trained layers below them need no gradient of their inputs.
"""

from collections.abc import Sequence

from benchmarks.workloads import VOCABULARY
from fki.data.collator import TokenizedExample


def forward_flops(
    shape: dict[str, int], sources: int, targets: int
) -> tuple[float, float, float, float]:
    """(encoder, decoder, keys and values of the encoder's output, output head)."""
    d, ff, layers = shape["d_model"], shape["d_ff"], shape["num_layers"]
    inner = shape["d_kv"] * shape["num_heads"]
    encoder = layers * 2 * sources * (4 * d * inner + 2 * d * ff + 2 * sources * inner)
    attended = targets + sources
    decoder = layers * 2 * targets * (6 * d * inner + 2 * d * ff + 2 * attended * inner)
    crossed = layers * 2 * sources * 2 * d * inner
    return encoder, decoder, crossed, 2 * targets * d * VOCABULARY


def training_flops(
    shape: dict[str, int], examples: Sequence[TokenizedExample], encoder: str = "trained"
) -> float:
    """Mean per example in one epoch; the encoder is "trained", "frozen" or "cached"."""
    total = 0.0
    for example in examples:
        below, decoder, crossed, head = forward_flops(
            shape, len(example.source), len(example.target)
        )
        if encoder == "trained":
            total += 3 * (below + decoder + crossed + head)
            continue
        # the head is tied to frozen embeddings; nothing below the keys and values is trained
        total += 3 * decoder + 2 * crossed + 2 * head + (below if encoder == "frozen" else 0)
    return total / len(examples)
