"""RecAdam is Adam times lambda and a pull that holds: to every anchor, for every step size."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fki.config.schema import Config
from fki.core.errors import DataError
from fki.methods.base import trainable_parameters
from fki.methods.recadam import RecAdam, RecAdamOptimizer, RecAdamOptions, anneal_factor
from fki.testing import Case, learn, toy_model

SETTINGS: dict[str, Any] = {
    "lr": 0.1,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "gamma": 50.0,
    "anneal": "sigmoid",
    "w": 1.0,
    "t0": 4.0,
    "k": 2.0,
}


def recadam(
    p: Tensor, anchor: Tensor, *, weight_decay: float = 0.0, **settings: Any
) -> RecAdamOptimizer:
    """The optimizer over one parameter."""
    group = {"params": [p], "anchors": [anchor], "decay": weight_decay}
    return RecAdamOptimizer([group], **{**SETTINGS, **settings})


def method(**options: Any) -> RecAdam:
    return RecAdam(Config(method="recadam"), RecAdamOptions(**options))


def run(optimizer: torch.optim.Optimizer, p: Tensor, gradients: Sequence[Tensor]) -> list[Tensor]:
    """p after each step."""
    path = []
    for gradient in gradients:
        p.grad = gradient.clone()
        optimizer.step()
        path.append(p.detach().clone())
    return path


def test_with_lambda_1_it_is_torch_adam() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(5, 3), list(torch.randn(20, 5, 3))
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    a = run(recadam(ours, torch.zeros(5, 3), anneal="constant", lr=0.01), ours, gradients)
    b = run(torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.999), eps=1e-8), theirs, gradients)
    assert all(torch.allclose(x, y, rtol=0, atol=1e-6) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("anneal", ["sigmoid", "linear"])
@pytest.mark.parametrize("gamma", [1.0, 5000.0, 1e6])
@pytest.mark.parametrize("lr", [1e-5, 1e-3, 2e-3, 1.0, 10.0])
def test_without_a_gradient_it_only_comes_nearer_to_the_anchor(
    lr: float, gamma: float, anneal: str
) -> None:
    anchor, p = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([5.0, -9.0, 0.5]).requires_grad_()
    path = run(recadam(p, anchor, lr=lr, gamma=gamma, anneal=anneal), p, [torch.zeros(3)] * 30)
    distances = [8.0622578, *((x - anchor).norm().item() for x in path)]
    assert all(b <= a for a, b in pairwise(distances))
    assert distances[1] < distances[0]
    assert all(math.isfinite(d) for d in distances)


def test_two_steps_are_the_formula_worked_out_in_floats() -> None:
    lr, gamma, w, k, t0, decay = 0.01, 30.0, 0.9, 1.5, 2.0, 0.1
    p, anchor, m, v = 0.8, 0.5, 0.0, 0.0
    expected = []
    for t, g in ((1, 0.4), (2, -1.2)):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        lam = w / (1 + math.exp(-k * (t - t0)))
        eta = lr * math.sqrt(1 - 0.99**t) / (1 - 0.9**t)
        p = p - eta * lam * m / (math.sqrt(v) + 1e-8 * math.sqrt(1 - 0.99**t))
        c = lr * gamma * (w - lam)
        p = (p + c * anchor) / (1 + c)
        p = p - lr * decay * p
        expected.append(p)
    q = torch.tensor([0.8], dtype=torch.float64, requires_grad=True)
    optimizer = recadam(
        q,
        torch.tensor([0.5], dtype=torch.float64),
        lr=lr,
        gamma=gamma,
        w=w,
        k=k,
        t0=t0,
        betas=(0.9, 0.99),
        weight_decay=decay,
    )
    path = run(optimizer, q, [torch.tensor([g], dtype=torch.float64) for g in (0.4, -1.2)])
    assert [x.item() for x in path] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("c", [1e-1, 1e-2, 1e-3])
def test_the_pull_is_the_papers_to_first_order(c: float) -> None:
    p, anchor = torch.tensor([3.0], dtype=torch.float64).requires_grad_(), torch.zeros(1).double()
    # linear with t0 = 2: lambda(1) = 1/2, so lr gamma (1 - lambda) = 2c * 1 * 1/2
    optimizer = recadam(p, anchor, lr=2 * c, gamma=1.0, anneal="linear", t0=2.0)
    after = run(optimizer, p, [torch.zeros(1).double()])[0].item()
    explicit = 3.0 - c * 3.0
    assert after != explicit
    assert abs(after - explicit) <= 3.0 * c**2


def test_where_the_published_pull_diverges_ours_holds() -> None:
    # CKL: lr 1e-3, gamma 5000, so a pull of 5 while lambda is near 0
    explicit, anchor = 1.001, 1.0
    p = torch.tensor([1.001]).requires_grad_()
    optimizer = recadam(p, torch.ones(1), lr=1e-3, gamma=5000.0, t0=250.0, k=0.5)
    for t in range(1, 60):
        explicit -= 5.0 * (1 - anneal_factor(t, "sigmoid", 1.0, 250.0, 0.5)) * (explicit - anchor)
        p.grad = torch.zeros(1)
        optimizer.step()
    assert abs(explicit - anchor) > 1e30
    assert abs(p.item() - anchor) < 1e-6


def test_the_gradient_itself_is_not_scaled_by_lambda() -> None:
    p = torch.tensor([1.0]).requires_grad_()
    optimizer = recadam(p, torch.zeros(1))
    run(optimizer, p, [torch.tensor([2.0])])
    assert optimizer.state[p]["exp_avg"].item() == pytest.approx(0.2)
    assert optimizer.state[p]["exp_avg_sq"].item() == pytest.approx(0.004)


def test_a_parameter_without_a_gradient_stays() -> None:
    p = torch.tensor([1.0]).requires_grad_()
    recadam(p, torch.zeros(1)).step()
    assert p.item() == 1.0


@pytest.mark.parametrize("untied", [False, True])
def test_every_pretrained_parameter_is_pulled_though_no_name_holds_t5(untied: bool) -> None:
    # the originals chose by "t5" in the name, so the penalty was never applied
    ready = Case("recadam", untied).prepare(0)
    names = dict(ready.model.named_parameters())
    assert not any("t5" in name for name in names)
    assert ready.method.anchors.keys() == names.keys()
    optimizer = ready.method.optimizer(ready.model, 10)
    assert optimizer.w > 0 and optimizer.gamma > 0
    by_id = {id(p): name for name, p in names.items()}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(by_id)
    for group in optimizer.param_groups:
        for p, anchor in zip(group["params"], group["anchors"], strict=True):
            assert torch.equal(anchor, ready.method.anchors[by_id[id(p)]])


def test_an_anchor_is_a_copy_and_not_the_weight_itself() -> None:
    # CKL's `self.pretrained_model = self.model` was the model itself: a distance of always 0
    ready = Case("recadam").prepare(0)
    start = dict(toy_model().named_parameters())
    learn(ready)
    for name, p in trainable_parameters(ready.model).items():
        anchor = ready.method.anchors[name]
        assert anchor.data_ptr() != p.data_ptr()
        assert torch.equal(anchor, start[name])
        assert not anchor.requires_grad


def test_only_what_trains_has_an_anchor() -> None:
    ready = Case("recadam").prepare(1)
    assert ready.method.anchors.keys() == trainable_parameters(ready.model).keys()


def test_after_a_lesson_every_parameter_is_nearer_to_its_anchor_than_without_a_pull() -> None:
    def distance(gamma: float) -> float:
        ready = Case("recadam", options={"gamma": gamma, "t0_fraction": 2.0}).train(0)
        anchors = ready.method.anchors
        return sum(
            (p - anchors[n]).norm().item() for n, p in trainable_parameters(ready.model).items()
        )

    assert distance(5000.0) < 0.1 * distance(0.0)


def test_a_sigmoid_is_half_way_at_t0_and_starts_near_0() -> None:
    t0, k = method().schedule(100)
    assert anneal_factor(round(t0), "sigmoid", 0.8, t0, k) == pytest.approx(0.4)
    assert anneal_factor(1, "sigmoid", 1.0, t0, k) < 1e-4
    assert anneal_factor(100, "sigmoid", 1.0, t0, k) > 0.999


def test_a_line_reaches_w_at_t0_and_stays() -> None:
    values = [anneal_factor(t, "linear", 0.8, 4.0, 1.0) for t in (1, 2, 4, 5, 100)]
    assert values == pytest.approx([0.2, 0.4, 0.8, 0.8, 0.8])


def test_a_constant_is_w() -> None:
    assert {anneal_factor(t, "constant", 0.7, 4.0, 1.0) for t in (1, 50)} == {0.7}


@pytest.mark.parametrize("anneal", ["sigmoid", "linear", "constant"])
@pytest.mark.parametrize(("t0", "k"), [(1.0, 10.0), (1e6, 1e6), (250.0, 0.5)])
def test_lambda_only_rises_and_stays_between_0_and_w(anneal: str, t0: float, k: float) -> None:
    values = [anneal_factor(t, anneal, 0.9, t0, k) for t in range(1, 600)]
    assert values == sorted(values)
    assert values[0] >= 0
    assert values[-1] <= 0.9


@pytest.mark.parametrize(("steps", "t0"), [(23, 4.6), (100, 20.0), (1, 1.0), (4, 1.0)])
def test_t0_and_k_follow_from_the_steps_and_are_told(steps: int, t0: float) -> None:
    notes = method(t0_fraction=0.2, k_t0=10.0).notes(steps)
    assert notes == pytest.approx({"recadam.t0": t0, "recadam.k": 10.0 / t0})


def test_the_optimizer_uses_the_t0_and_k_that_are_told() -> None:
    ready = Case("recadam").prepare(0)
    optimizer = ready.method.optimizer(ready.model, 50)
    notes = ready.method.notes(50)
    assert (optimizer.t0, optimizer.k) == (notes["recadam.t0"], notes["recadam.k"])


@pytest.mark.parametrize("anchor", ["pretrained", "previous_period"])
def test_the_second_period_is_pulled_to_the_start_or_to_the_first_as_asked(anchor: str) -> None:
    ready = Case("recadam", options={"anchor": anchor}).train(0)
    wanted = toy_model() if anchor == "pretrained" else ready.model
    wanted_weights = {n: p.detach().clone() for n, p in wanted.named_parameters()}
    groups = ready.method.optimizer(ready.model, 10).param_groups
    by_id = {id(p): n for n, p in ready.model.named_parameters()}
    for group in groups:
        assert torch.equal(group["anchors"][0], wanted_weights[by_id[id(group["params"][0])]])


def learned(t0: float, k: float) -> float:
    """Where 23 steps on (p - 1)^2 lead from an anchor at 0: a month of the stream in the paper."""
    p = torch.zeros(1).requires_grad_()
    optimizer = recadam(p, torch.zeros(1), lr=0.1, gamma=5000.0, t0=t0, k=k)
    for _ in range(23):
        p.grad = (2 * (p - 1)).detach()
        optimizer.step()
    return p.item()


def test_a_period_of_23_steps_learns_unlike_with_the_published_t0() -> None:
    t0, k = method().schedule(23)
    assert learned(250.0, 0.5) < 1e-3
    assert learned(t0, k) > 0.5


def test_matrices_decay_and_vectors_do_not() -> None:
    config = Config(method="recadam", weight_decay=0.1)
    recadam_method = RecAdam(config, RecAdamOptions())
    model = recadam_method.prepare(toy_model())
    for group in recadam_method.optimizer(model, 5).param_groups:
        assert group["decay"] == (0.1 if group["params"][0].ndim >= 2 else 0.0)
        assert group["weight_decay"] == 0.0  # Adam's own would not be decoupled


@pytest.mark.parametrize("betas", [(0.9, 1.0), (-0.1, 0.999)])
def test_a_decay_rate_is_below_1_and_not_negative(betas: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        RecAdamOptions(betas=betas)


class PlainLoop:
    """RecAdam parameter by parameter, as the formula reads: what the fused one must equal."""

    def __init__(self, groups: list[dict[str, Any]], settings: dict[str, Any]) -> None:
        self.groups, self.settings, self.state, self.taken = groups, settings, {}, 0

    @torch.no_grad()
    def step(self) -> None:
        self.taken += 1
        for group in self.groups:
            for p, anchor in zip(group["params"], group["anchors"], strict=True):
                if p.grad is not None:
                    self.update(p, anchor, group["decay"], **self.settings)

    def update(
        self, p: Tensor, anchor: Tensor, weight_decay: float, *, lr: float, betas: Any, **s: Any
    ) -> None:
        t, m, v = self.state.get(id(p), (0, torch.zeros_like(p), torch.zeros_like(p)))
        t, (b1, b2) = t + 1, betas
        m, v = b1 * m + (1 - b1) * p.grad, b2 * v + (1 - b2) * p.grad**2
        self.state[id(p)] = t, m, v
        lam = anneal_factor(self.taken, s["anneal"], s["w"], s["t0"], s["k"])
        p -= lr * lam * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + s["eps"])
        c = lr * s["gamma"] * (s["w"] - lam)
        p.copy_((p + c * anchor) / (1 + c) * (1 - lr * weight_decay))


def grouped() -> list[dict[str, Any]]:
    """Two groups of parameters of several shapes, with anchors beside them."""
    torch.manual_seed(0)
    return [
        {
            "params": [torch.randn(s, dtype=torch.float64).requires_grad_() for s in shapes],
            "anchors": [torch.randn(s, dtype=torch.float64) for s in shapes],
            "decay": decay,
        }
        for decay, shapes in ((0.1, [(5, 3), (2, 2), (3, 1, 2)]), (0.0, [(4,), (3,)]))
    ]


def test_the_fused_step_is_the_plain_loop_also_where_gradients_are_missing() -> None:
    ours, theirs = grouped(), grouped()
    fused, loop = RecAdamOptimizer(ours, **SETTINGS), PlainLoop(theirs, SETTINGS)
    for step in range(20):
        for groups in (ours, theirs):
            torch.manual_seed(step)
            for i, p in enumerate(p for group in groups for p in group["params"]):
                g = torch.randn(p.shape, dtype=torch.float64)
                p.grad = None if i and (step + i) % 3 == 0 else g  # so that step counts part
        fused.step()
        loop.step()
    for a, b in zip(ours, theirs, strict=True):
        for p, q in zip(a["params"], b["params"], strict=True):
            assert torch.allclose(p, q, rtol=1e-6, atol=0)
    assert len({int(fused.state[p]["step"]) for group in ours for p in group["params"]}) > 1


def test_groups_that_are_stepped_one_after_another_are_stepped_as_together() -> None:
    """As DeepSpeed does, by `param_groups` with one group, or with one that has parameters."""
    settings = SETTINGS | {"anneal": "sigmoid", "t0": 5.0, "k": 1.0}
    optimizers = [RecAdamOptimizer(grouped(), **settings) for _ in range(3)]
    together, alone, emptied = optimizers
    for step in range(8):
        if step == 4:  # a state without anything else, as after a restart
            fresh = RecAdamOptimizer(alone.param_groups, **settings)
            fresh.state.update(alone.state)
            for group in fresh.param_groups:
                group.pop("steps_taken")
            alone = fresh
        for optimizer in (together, alone, emptied):
            torch.manual_seed(step)
            for p in (p for group in optimizer.param_groups for p in group["params"]):
                p.grad = torch.randn(p.shape, dtype=torch.float64)
        together.step()
        groups = alone.param_groups
        for group in groups:
            alone.param_groups = [group]
            alone.step()
        alone.param_groups = groups
        parameters = [group["params"] for group in emptied.param_groups]
        for chosen in range(len(parameters)):
            for number, group in enumerate(emptied.param_groups):
                group["params"] = parameters[number] if number == chosen else []
            emptied.step()
        for group, params in zip(emptied.param_groups, parameters, strict=True):
            group["params"] = params
    for other in (alone, emptied):
        for a, b in zip(together.param_groups, other.param_groups, strict=True):
            assert all(torch.equal(p, q) for p, q in zip(a["params"], b["params"], strict=True))


def test_there_is_one_group_for_each_weight_decay() -> None:
    recadam_method = RecAdam(Config(method="recadam", weight_decay=0.1), RecAdamOptions())
    model = recadam_method.prepare(toy_model())
    assert len(recadam_method.optimizer(model, 5).param_groups) == 2


def test_a_state_of_parameters_in_another_order_is_refused() -> None:
    a, b = torch.zeros(2, 2).requires_grad_(), torch.zeros(3).requires_grad_()
    for p in (a, b):
        p.grad = torch.ones_like(p)
    old = RecAdamOptimizer([{"params": [b, a], "anchors": [b.detach(), a.detach()]}], **SETTINGS)
    new = RecAdamOptimizer([{"params": [a, b], "anchors": [a.detach(), b.detach()]}], **SETTINGS)
    old.step()
    with pytest.raises(DataError, match="does not fit its parameter"):
        new.load_state_dict(new.state_dict() | {"state": old.state_dict()["state"]})
