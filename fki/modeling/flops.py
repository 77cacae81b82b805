"""What training takes in floating-point operations: an estimate from weights and real tokens.

A layer takes 2 operations for each of its weights and each token forward, 2 more where the weights
train, and 2 more where something before it trains: 6 where all of it does, which is C = 6 N D of
Kaplan et al. (2020, section 2.1; arXiv:2001.08361), and 2 where it is frozen with nothing trained
before it. As there, look-ups of embeddings, attention's scores, norms and the optimizer are left
out. Padding does not count, nor how a batch is cut, so that the estimate is the same on every
machine. Which layers see source tokens, which target tokens, and which need a gradient for their
input is read off one forward pass, so that it holds for what any method adds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fki.core.types import Batch
from fki.data.collator import TokenizedExample
from fki.modeling.encoder_cache import EncoderCache, source_key
from fki.modeling.seq2seq import target_logits

SOURCE_TOKENS, TARGET_TOKENS = 64, 1  # tokens of the pass: what a layer saw, a * 64 + b, tells both


class TokenCosts(NamedTuple):
    """Operations of training on one token."""

    source: float
    target: float
    kept: float = 0.0  # of a frozen encoder, whose states are kept, for a source token that is new


class FlopEstimator:
    """What batches take with one model."""

    def __init__(self, model: nn.Module, states: EncoderCache | None) -> None:
        """`states`: of the frozen encoder, where epochs read them instead of running it."""
        self.model, self.states = model, states

    @cached_property
    def costs(self) -> TokenCosts:
        """Measured when they are first asked for: by then it is decided what trains."""
        kept = set(self.states.frozen.encoder.modules()) if self.states else set()
        source = target = once = 0.0
        with _record_layer_calls(self.model) as seen:
            _run_forward(self.model)
        for layer, tokens, is_after_trained in seen:
            weights = [p for p in layer.parameters(recurse=False) if p.ndim >= 2]
            each = 2 + 2 * is_after_trained  # operations a weight and token, but for its gradient
            cost = sum(p.numel() * (each + 2 * p.requires_grad) for p in weights)
            sources, targets = divmod(tokens, SOURCE_TOKENS)
            if layer in kept:
                once += cost * sources
            else:
                source, target = source + cost * sources, target + cost * targets
        return TokenCosts(source, target, once)

    def meter(self) -> "FlopMeter":
        """For one period, from its first step on."""
        states = self.states
        return FlopMeter(self.costs, states.limit // states.bytes_a_token if states else 0)


class FlopMeter:
    """Adds up a period's batches in their order; a frozen encoder is run once for each source."""

    def __init__(self, costs: TokenCosts, room: int) -> None:
        """`room`: source tokens whose states fit on the disk that they may take."""
        self.costs, self.room = costs, room
        self.known: set[bytes] = set()

    @property
    def remembers(self) -> bool:
        """Does what a batch takes depend on those before it?"""
        return self.costs.kept > 0

    def flops(self, batch: Sequence[TokenizedExample]) -> float:
        """Operations of one optimizer batch, over all processes."""
        source = sum(len(e.source) for e in batch)
        target = sum(len(e.target) for e in batch)
        fresh = sum(map(self._fresh, batch)) if self.remembers else 0
        return self.costs.source * source + self.costs.target * target + self.costs.kept * fresh

    def _fresh(self, example: TokenizedExample) -> int:
        """The tokens of a source that is asked for the first time; of each that has no room."""
        key, size = source_key(example.source), len(example.source)
        if key in self.known:
            return 0
        self.room -= size
        if self.room >= 0:
            self.known.add(key)
        else:  # then nothing is kept
            self.known.clear()
        return size


LayerCall = tuple[
    nn.Module, int, bool
]  # a layer, the tokens that it saw, was something trained before


@contextmanager
def _record_layer_calls(model: nn.Module) -> Iterator[list[LayerCall]]:
    """Inside of this each call of a layer with a weight matrix, embeddings apart, is noted."""
    seen: list[LayerCall] = []

    def note(layer: nn.Module, given: Any, named: dict[str, Any], answer: Any) -> None:
        tensors = [t for t in (*given, *named.values()) if isinstance(t, Tensor)]
        if isinstance(answer, Tensor) and tensors:
            trained = any(t.requires_grad for t in tensors)
            seen.append((layer, answer.numel() // answer.shape[-1], trained))

    handles = [
        layer.register_forward_hook(note, with_kwargs=True)
        for layer in model.modules()
        if not isinstance(layer, nn.Embedding)
        and any(p.ndim >= 2 for p in layer.parameters(recurse=False))
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _run_forward(model: nn.Module) -> None:
    """One forward pass as in training, without dropout."""
    device = next(model.parameters()).device
    ids = torch.ones(1, SOURCE_TOKENS, dtype=torch.long, device=device)
    labels = torch.ones(1, TARGET_TOKENS, dtype=torch.long, device=device)
    places = torch.zeros(1, dtype=torch.long, device=device)
    was_training = model.training
    model.eval()
    with torch.enable_grad():
        target_logits(model, Batch(ids, torch.ones_like(ids), labels, places), model.config)
    model.train(was_training)
