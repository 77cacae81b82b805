"""A token's negative log-likelihood is its cross-entropy, in nats and in single precision."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from fki.metrics.likelihood import token_nll


def _toy(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Logits [20, 7] and labels [20], every fourth of them unscored."""
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20, 7, generator=draw)
    labels = torch.randint(7, (20,), generator=draw)
    labels[::4] = -100
    return logits.to(dtype), labels


def test_token_nll_equals_the_logarithm_of_the_softmax_token_by_token() -> None:
    logits, labels = _toy()
    by_token = [
        0.0 if y < 0 else -float(log_softmax(x, dim=0)[y])
        for x, y in zip(logits, labels.tolist(), strict=True)
    ]
    torch.testing.assert_close(token_nll(logits, labels), torch.tensor(by_token))


def test_token_nll_is_in_nats() -> None:
    uniform = torch.zeros(3, 8)  # p = 1/8 for each of the two scored tokens
    found = token_nll(uniform, torch.tensor([1, 2, -100]))
    assert found.tolist() == pytest.approx([math.log(8), math.log(8), 0.0])


def test_a_token_that_is_not_scored_has_zero_nll() -> None:
    logits, labels = _toy()
    assert (token_nll(logits, labels)[::4] == 0).all()


def test_unscored_logits_do_not_matter() -> None:
    logits, labels = _toy()
    changed = torch.where((labels == -100).unsqueeze(1), torch.full_like(logits, 50.0), logits)
    assert torch.equal(token_nll(logits, labels), token_nll(changed, labels))


def test_halved_logits_are_computed_in_single_precision() -> None:
    logits, labels = _toy(torch.bfloat16)
    assert token_nll(logits, labels).dtype == torch.float32
    assert torch.equal(token_nll(logits, labels), token_nll(logits.float(), labels))
    assert token_nll(logits.double(), labels).dtype == torch.float64
