"""Likelihoods are sums over scored tokens, and perplexity weighs tokens alike."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fki.metrics.likelihood import perplexity, target_nll


def _toy(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Logits [4, 5, 7] and labels [4, 5] with 5, 3, 1 and 0 scored tokens."""
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 5, 7, generator=draw)
    labels = torch.randint(7, (4, 5), generator=draw)
    for row, scored in enumerate((5, 3, 1, 0)):
        labels[row, scored:] = -100
    return logits.to(dtype), labels


def test_target_nll_equals_cross_entropy_example_by_example() -> None:
    logits, labels = _toy()
    by_example = torch.stack(
        [cross_entropy(x, y, reduction="sum") for x, y in zip(logits, labels, strict=True)]
    )
    torch.testing.assert_close(target_nll(logits, labels), by_example)


def test_target_nll_is_in_nats() -> None:
    uniform = torch.zeros(1, 3, 8)  # p = 1/8 for each of the two scored tokens
    assert target_nll(uniform, torch.tensor([[1, 2, -100]])).item() == pytest.approx(
        2 * math.log(8)
    )


def test_an_example_without_scored_tokens_has_zero_nll() -> None:
    logits, labels = _toy()
    assert target_nll(logits, labels)[3].item() == 0.0


def test_unscored_logits_do_not_matter() -> None:
    logits, labels = _toy()
    changed = torch.where((labels == -100).unsqueeze(2), torch.full_like(logits, 50.0), logits)
    assert torch.equal(target_nll(logits, labels), target_nll(changed, labels))


def test_halved_logits_are_summed_in_single_precision() -> None:
    logits, labels = _toy(torch.bfloat16)
    assert target_nll(logits, labels).dtype == torch.float32
    assert torch.equal(target_nll(logits, labels), target_nll(logits.float(), labels))
    assert target_nll(logits.double(), labels).dtype == torch.float64


def test_perplexity_weighs_tokens_not_batches() -> None:
    # Batch 1: 1 token of p = 1/16. Batch 2: 3 tokens of p = 1/2.
    # By token: exp((ln 16 + 3 ln 2) / 4) = 2 ** (7/4). Mean of batch means: 2 ** ((4 + 1) / 2).
    total = math.log(16) + 3 * math.log(2)
    assert perplexity(total, 1 + 3) == pytest.approx(2**1.75)
    assert perplexity(total, 4) != pytest.approx(2**2.5)


def test_perplexity_of_a_uniform_guess_is_the_vocabulary() -> None:
    labels = torch.tensor([[0, 1, 2], [3, -100, -100]])
    nll = target_nll(torch.zeros(2, 3, 11, dtype=torch.float64), labels).sum().item()
    assert perplexity(nll, 4) == pytest.approx(11, rel=1e-12)


@pytest.mark.parametrize(
    ("total_nll", "tokens"), [(0.0, 0), (math.nan, 3), (math.inf, 3), (3000.0, 3)]
)
def test_perplexity_is_none_where_no_finite_number_says_it(total_nll: float, tokens: int) -> None:
    assert perplexity(total_nll, tokens) is None
