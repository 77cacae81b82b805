"""The loss net pools states without padding, and learns by the paper's ranking loss."""

import pytest
import torch

from fki.data.collator import TokenizedExample
from fki.modeling.loss_net import (
    MARGIN,
    UNIT_WIDTH,
    LossNet,
    pool_encoder_states,
    ranking_loss,
)
from fki.testing import Case, toy_model, toy_tokenizer


def ranking_by_hand(predicted: list[float], losses: list[float]) -> float:
    """Yoo and Kweon (2019), equation 4, over the pairs (i, B - 1 - i)."""
    terms = []
    for i in range(len(predicted) // 2):
        j = len(predicted) - 1 - i
        sign = 1 if losses[i] > losses[j] else -1
        terms.append(max(0.0, -sign * (predicted[i] - predicted[j]) + MARGIN))
    return sum(terms) / len(terms) if terms else 0.0


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
def test_the_ranking_loss_is_that_of_the_paper(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    predicted, losses = torch.randn(n, generator=generator), torch.rand(n, generator=generator)
    found = ranking_loss(predicted.requires_grad_(), losses).item()
    assert found == pytest.approx(ranking_by_hand(predicted.tolist(), losses.tolist()), abs=1e-6)


def test_no_gradient_flows_into_the_losses() -> None:
    predicted, losses = torch.zeros(4, requires_grad=True), torch.arange(4.0, requires_grad=True)
    ranking_loss(predicted, losses).backward()
    assert losses.grad is None
    assert torch.equal(predicted.grad, torch.tensor([0.5, 0.5, -0.5, -0.5]))


def test_the_module_is_ll4als_over_the_blocks() -> None:
    net = LossNet(3, 16)
    features = torch.randn(5, 3, 16)
    by_hand = []
    for states in features:
        units = [
            torch.clamp(unit.weight @ x + unit.bias, min=0)
            for unit, x in zip(net.units, states, strict=True)
        ]
        by_hand.append(net.head.weight[0] @ torch.cat(units) + net.head.bias[0])
    torch.testing.assert_close(net(features), torch.stack(by_hand))
    size = sum(p.numel() for p in net.parameters())
    assert size == 3 * (16 * UNIT_WIDTH + UNIT_WIDTH) + 3 * UNIT_WIDTH + 1


def examples() -> list[TokenizedExample]:
    sources = [[5, 6, 7, 1], [8, 1], [9, 10, 11, 12, 13, 14, 1], [5, 1]]
    return [TokenizedExample(source, [3, 1]) for source in sources]


@pytest.mark.parametrize("method", ["vanilla", "lora", "kadapter_2", "modular"])
def test_states_are_averaged_over_real_tokens_alone(method: str) -> None:
    model = Case(method).train().model
    pooled = pool_encoder_states(model, examples(), toy_tokenizer())
    for example, found in zip(examples(), pooled, strict=True):
        ids = torch.tensor([example.source])  # alone: without padding
        with torch.no_grad():
            out = model.get_encoder()(input_ids=ids, output_hidden_states=True)
        states = [*out.hidden_states[1:-1], out.last_hidden_state]
        by_hand = torch.stack([s[0].mean(0) for s in states])
        torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-4)


def test_pooling_runs_without_dropout_and_leaves_the_mode_as_it_was() -> None:
    model = toy_model().train()
    first, second = (pool_encoder_states(model, examples(), toy_tokenizer()) for _ in range(2))
    assert torch.equal(first, second)
    assert model.training and not first.requires_grad


def test_it_learns_to_rank_losses_that_depend_on_the_states() -> None:
    torch.manual_seed(0)
    net, direction = LossNet(2, 8), torch.randn(8)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(200):
        features = torch.randn(32, 2, 8)
        losses = (features[:, 1] @ direction).exp()
        optimizer.zero_grad()
        ranking_loss(net(features), losses).backward()
        optimizer.step()
    features = torch.randn(500, 2, 8)
    losses = (features[:, 1] @ direction).exp()
    top = set(net(features).topk(50).indices.tolist())
    real = set(losses.topk(50).indices.tolist())
    assert len(top & real) > 35  # 5 by chance
