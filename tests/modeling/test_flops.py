"""The estimate of operations counts the matrix products, whatever modules a method adds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from fki.core import registry
from fki.data.collator import TokenizedExample
from fki.modeling.encoder_cache import EncoderCache, source_key
from fki.modeling.flops import FlopEstimator, FlopMeter, TokenCosts
from fki.modeling.seq2seq import target_logits
from fki.testing import toy_batch, toy_model, toy_tokenizer
from fki.testing.case import Case

MATRIX = {torch.ops.aten.mm, torch.ops.aten.addmm}


def products(model: Any) -> tuple[int, int, int]:
    """(operations of weights in a step, source tokens, target tokens), as torch counts them."""
    batch = toy_batch([0])
    model.train()
    with FlopCounterMode(display=False) as counter:
        logits = target_logits(model, batch, model.config)
        functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten()).backward()
    counted = counter.get_flop_counts()["Global"]
    total = sum(count for op, count in counted.items() if op in MATRIX)
    return total, batch.input_ids.numel(), batch.labels.numel()


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(
    "name", [name for name in registry.method_names() if registry.method_class(name).trains]
)
def test_the_estimate_equals_the_count_of_torch(name: str, level: int) -> None:
    ready = Case(name).train(level)
    counted, sources, targets = products(ready.model)
    costs = FlopEstimator(ready.model, None).costs
    assert costs.source * sources + costs.target * targets == counted


def test_full_training_costs_six_for_each_weight_and_token() -> None:
    model = toy_model()
    blocks = {"encoder": 0, "decoder": 0, "crossed": 0}
    for name, p in model.named_parameters():
        if p.ndim == 2 and ".block." in name and "relative" not in name:
            crossed = "EncDecAttention.k" in name or "EncDecAttention.v" in name
            blocks["crossed" if crossed else name.partition(".")[0]] += p.numel()
    head = model.lm_head.weight.numel()
    costs = FlopEstimator(model, None).costs
    assert costs.source == 6 * (blocks["encoder"] + blocks["crossed"])
    assert costs.target == 6 * (blocks["decoder"] + head)


def cached_model(level: int, max_bytes: int = 2**20) -> tuple[Any, EncoderCache]:
    ready = Case("vanilla").prepare(level)
    frozen = ready.method.frozen_encoder(ready.model)
    assert frozen is not None
    return ready.model, EncoderCache(
        frozen, toy_tokenizer(), dtype="fp32", max_bytes=max_bytes, folder=Path()
    )


def test_a_cached_encoder_costs_two_for_each_weight_of_a_new_source() -> None:
    model, states = cached_model(1)
    weights = sum(
        p.numel() for n, p in model.encoder.block.named_parameters() if "weight" in n and p.ndim > 1
    )
    weights -= model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.numel()
    plain, cached = FlopEstimator(model, None).costs, FlopEstimator(model, states).costs
    assert cached.uncached_source == 2 * weights
    assert cached.source == plain.source - 2 * weights
    assert cached.target == plain.target


def test_each_source_counts_once_or_each_time_if_the_cache_is_full() -> None:
    batch = [
        TokenizedExample([5, 6, 7], [1]),
        TokenizedExample([8, 9], [1, 2]),
        TokenizedExample([5, 6, 7], [3]),
    ]
    costs = TokenCosts(source=1.0, target=10.0, uncached_source=100.0)
    roomy, narrow = FlopMeter(costs, 5), FlopMeter(costs, 4)
    each = 8 * 1.0 + 4 * 10.0
    assert [roomy.count(batch), roomy.count(batch)] == [each + 500.0, each]
    assert narrow.count(batch[:2]) == 5 + 30 + 500.0
    assert narrow.count(batch) == each + 800.0


def test_marked_sources_cost_once_over_the_periods_and_others_each_time() -> None:
    a, b, c = ([i, 1] for i in (5, 6, 7))
    meter = FlopMeter(TokenCosts(10.0, 100.0, 1.0), capacity=4)
    assert meter.mark_cached([a, b, b], set()) == 4.0
    assert meter.count([TokenizedExample(a, [1])] * 2) == 2 * (20 + 100)
    for _ in range(2):
        assert meter.count([TokenizedExample(c, [1])]) == 20 + 100 + 2
    later = FlopMeter(TokenCosts(10.0, 100.0, 1.0), capacity=4)
    assert later.mark_cached([b, c], {source_key(a), source_key(b)}) == 2.0
    full = FlopMeter(TokenCosts(10.0, 100.0, 1.0), capacity=3)
    assert full.mark_cached([a, b], set()) == 0.0
    assert full.count([TokenizedExample(a, [1])] * 2) == 2 * (20 + 100 + 2)


@pytest.mark.parametrize("name", ["vanilla", "lora", "kadapter_2"])
def test_a_pass_without_gradients_costs_what_torch_counts(name: str) -> None:
    ready, batch = Case(name).train(1), toy_batch([0])
    sources, targets = batch.input_ids.numel(), batch.labels.numel()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        target_logits(ready.model.eval(), batch, ready.model.config)
    counted = counter.get_flop_counts()["Global"]
    total = sum(count for op, count in counted.items() if op in MATRIX)
    meter = FlopEstimator(ready.model, None).new_meter()
    assert meter.count_forward([TokenizedExample([1] * sources, [1] * targets)]) == total


def test_measuring_changes_neither_the_model_nor_the_random_state() -> None:
    model = toy_model().train()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    FlopEstimator(model, None).costs  # noqa: B018
    assert torch.equal(torch.rand(1), expected)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
