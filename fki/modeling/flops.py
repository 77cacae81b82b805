"""An estimate of the floating-point operations of training, from weights and real tokens.

A layer takes 2 operations for each of its weights and each token in the forward pass. It takes 2
more if the weights train, and 2 more if anything before the layer trains. That is 6 if everything
trains (C = 6 N D of Kaplan et al., 2020, section 2.1; arXiv:2001.08361), and 2 for a frozen layer
with nothing trained before it. As in that paper, embedding look-ups, attention scores, norms and
the optimizer are left out. Padding and micro-batches do not count, so the estimate is the same on
every machine.

A single forward pass shows which layers see source tokens, which see target tokens, and which need
a gradient for their input. The estimate therefore covers whatever modules a method adds.
"""

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fki.data.collator import TokenizedExample
from fki.modeling.architecture import architecture_of
from fki.modeling.encoder_cache import EncoderCache, source_key

SOURCE_TOKENS, TARGET_TOKENS = 64, 1  # of the forward pass: a layer sees a * 64 + b * 1 tokens


class TokenCosts(NamedTuple):
    """Operations on one token: of training, and of a forward pass without gradients."""

    source: float
    target: float
    uncached_source: float = 0.0  # of a cached encoder, for a source token that is not cached yet
    forward_source: float = 0.0  # without a cached encoder
    forward_target: float = 0.0


class LayerCall(NamedTuple):
    """One call of a layer with a weight matrix."""

    layer: nn.Module
    tokens: int
    needs_input_grad: bool  # does anything before the layer train?


class FlopEstimator:
    """Estimates the training cost of batches with one model."""

    def __init__(
        self, model: nn.Module, encoder_cache: EncoderCache | None, extra_passes: int = 0
    ) -> None:
        """
        Args:
            encoder_cache: the cache that training reads, if any.
            extra_passes: passes without gradients beside each pass of training.
        """
        self.model, self.encoder_cache, self.extra_passes = model, encoder_cache, extra_passes

    @cached_property
    def costs(self) -> TokenCosts:
        """Measured at first use, when the method has decided which parameters train."""
        cache = self.encoder_cache
        cached_layers = set(cache.frozen.encoder.modules()) if cache else set()
        source = target = uncached = forward_source = forward_target = 0.0
        with _record_layer_calls(self.model) as calls:
            _run_forward(self.model)
        for layer, tokens, needs_input_grad in calls:
            weights = [p for p in layer.parameters(recurse=False) if p.ndim >= 2]
            per_weight = 2 + 2 * needs_input_grad  # without the weight's own gradient
            cost = sum(p.numel() * (per_weight + 2 * p.requires_grad) for p in weights)
            sources, targets = divmod(tokens, SOURCE_TOKENS)
            if layer in cached_layers:
                uncached += cost * sources
            else:
                forward = 2 * sum(p.numel() for p in weights)
                cost += self.extra_passes * forward
                source, target = source + cost * sources, target + cost * targets
                forward_source += forward * sources
                forward_target += forward * targets
        return TokenCosts(source, target, uncached, forward_source, forward_target)

    @cached_property
    def encoder_forward(self) -> float:
        """Operations of a forward pass of the encoder, for each source token."""
        encoder = self.model.get_encoder()  # type: ignore[operator]
        with _record_layer_calls(encoder) as calls:
            _run_forward(self.model)
        tokens_and_weights = (
            (tokens, sum(p.numel() for p in layer.parameters(recurse=False) if p.ndim >= 2))
            for layer, tokens, _ in calls
        )
        return sum(2.0 * weights * tokens / SOURCE_TOKENS for tokens, weights in tokens_and_weights)

    def new_meter(self) -> "FlopMeter":
        """A meter for one period, from its first step on."""
        cache = self.encoder_cache
        return FlopMeter(self.costs, cache.max_bytes // cache.bytes_per_token if cache else 0)


class FlopMeter:
    """Counts a period's batches in order; a cached encoder runs once for each source."""

    def __init__(self, costs: TokenCosts, capacity: int) -> None:
        """`capacity`: source tokens that fit into the encoder cache."""
        self.costs, self.capacity = costs, capacity
        self.is_fixed = False  # are no other sources cached than those of `mark_cached`?
        self.cached: set[bytes] = set()  # keys of sources

    def mark_cached(self, sources: Sequence[list[int]], cached: Set[bytes]) -> float:
        """Operations of the encoder for these sources, apart from those with keys in `cached`.

        From now on they count as cached, if they fit into the cache together, and no others do.
        """
        keys = {source_key(source): len(source) for source in sources}
        self.is_fixed = True
        if sum(keys.values()) > self.capacity:
            return 0.0  # each pass runs the encoder
        self.cached = set(keys)
        fresh = sum(size for key, size in keys.items() if key not in cached)
        return self.costs.uncached_source * fresh

    def count_forward(self, passes: Sequence[TokenizedExample]) -> float:
        """Operations of forward passes without gradients over cached or trained sources."""
        source = sum(len(example.source) for example in passes)
        target = sum(len(example.target) for example in passes)
        uncached = sum(map(self._count_uncached, passes)) if self.is_stateful else 0
        costs = self.costs
        forward = costs.forward_source * source + costs.forward_target * target
        return forward + costs.uncached_source * uncached

    @property
    def is_stateful(self) -> bool:
        """Does the cost of a batch depend on the batches before it?"""
        return self.costs.uncached_source > 0

    def count(
        self,
        batch: Sequence[TokenizedExample],
        whole: Sequence[TokenizedExample] | None = None,
    ) -> float:
        """Operations of the next optimizer batch, over all processes.

        Args:
            whole: the batch from which these examples were selected; a cached encoder runs for all.
        """
        source = sum(len(example.source) for example in batch)
        target = sum(len(example.target) for example in batch)
        uncached = sum(map(self._count_uncached, whole or batch)) if self.is_stateful else 0
        costs = self.costs
        return costs.source * source + costs.target * target + costs.uncached_source * uncached

    def _count_uncached(self, example: TokenizedExample) -> int:
        """The source's tokens if the encoder must run for it, else 0."""
        key, size = source_key(example.source), len(example.source)
        if key in self.cached:
            return 0
        if self.is_fixed:
            return size
        self.capacity -= size
        if self.capacity >= 0:
            self.cached.add(key)
        else:  # a group that does not fit is not cached at all
            self.cached.clear()
        return size


@contextmanager
def _record_layer_calls(model: nn.Module) -> Iterator[list[LayerCall]]:
    """Within the context, record each call of a layer with a weight matrix, without embeddings."""
    calls: list[LayerCall] = []

    def record(layer: nn.Module, arguments: Any, named: dict[str, Any], output: Any) -> None:
        tensors = [t for t in (*arguments, *named.values()) if isinstance(t, Tensor)]
        if isinstance(output, Tensor) and tensors:
            needs_grad = any(t.requires_grad for t in tensors)
            calls.append(LayerCall(layer, output.numel() // output.shape[-1], needs_grad))

    handles = [
        layer.register_forward_hook(record, with_kwargs=True)
        for layer in model.modules()
        if not isinstance(layer, nn.Embedding)
        and any(p.ndim >= 2 for p in layer.parameters(recurse=False))
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _run_forward(model: nn.Module) -> None:
    """Run one forward pass with gradients, as in training, but without dropout."""
    architecture = architecture_of(model)
    batch = architecture.trial_batch(model, SOURCE_TOKENS, TARGET_TOKENS)
    was_training = model.training
    model.eval()
    with torch.enable_grad():
        architecture.scored_logits(model, batch, model)
    model.train(was_training)
