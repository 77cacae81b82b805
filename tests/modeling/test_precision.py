"""The precision of the forward pass follows from the setting and from measured speeds."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from fki.modeling import precision
from fki.modeling.precision import PrecisionTrial, Product, choose_precision

CPU = torch.device("cpu")
FASTER, SLOWER = PrecisionTrial(100.0, 200.0), PrecisionTrial(322.0, 167.0)


class TwoShapes(nn.Module):
    """Three layers of one shape, one of another, and a vocabulary head."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.ModuleList(nn.Linear(8, 16) for _ in range(3))
        self.square = nn.Linear(16, 16)
        self.head = nn.Linear(8, 1000)

    def get_output_embeddings(self) -> nn.Linear:
        return self.head


@pytest.mark.parametrize(
    ("setting", "recorded", "trial", "used"),
    [
        ("no", "", FASTER, "no"),
        ("bf16", "", SLOWER, "bf16"),
        ("auto", "", FASTER, "bf16"),
        ("auto", "", SLOWER, "no"),
        ("auto", "", PrecisionTrial(100.0, 119.0), "no"),  # less than the casts cost
        ("auto", "", PrecisionTrial(100.0, 0.0), "no"),
        ("auto", "bf16", SLOWER, "bf16"),  # a resumed run keeps its precision
        ("auto", "no", FASTER, "no"),
    ],
)
def test_auto_takes_the_faster_precision_and_keeps_a_recorded_choice(
    setting: str, recorded: str, trial: PrecisionTrial, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "time_precisions", lambda model, device: trial)
    chosen = choose_precision(setting, nn.Linear(2, 2), CPU, recorded)
    assert chosen.name == used
    assert chosen.trial == (None if setting == "no" else trial)


def test_all_linear_layers_count_and_the_head_for_fewer_tokens() -> None:
    products = {Product(128, 8, 16, 3), Product(128, 16, 16, 1), Product(32, 8, 1000, 1)}
    assert set(precision._list_products(TwoShapes())) == products


def test_the_speeds_are_operations_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(0.5, 0.25), (2.0, 4.0)])

    def time_in_turns(trials: list[Callable[[], None]], limit: float) -> tuple[float, float]:
        for trial in trials:
            trial()
        return next(times)

    monkeypatch.setattr(precision, "_time_in_turns", time_in_turns)
    products = Product(128, 8, 16, 3), Product(32, 8, 100, 1)
    trial = precision._time_products.__wrapped__(products, CPU, 1)
    operations = 6 * (3 * 128 * 8 * 16 + 32 * 8 * 100)  # forward 2, and 2 for each gradient
    assert trial.fp32_gflops == pytest.approx(operations / (3 * 0.5 + 2) / 1e9)
    assert trial.bf16_gflops == pytest.approx(operations / (3 * 0.25 + 4) / 1e9)


def test_a_device_without_bf16_trains_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = nn.functional.linear

    def without_bf16(*tensors: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("BFloat16 is not supported")
        return linear(*tensors)

    monkeypatch.setattr(nn.functional, "linear", without_bf16)
    trial = precision._time_products.__wrapped__((Product(4, 8, 16, 1),), CPU, 1)
    assert trial.bf16_gflops == 0 and 0 < trial.fp32_gflops < math.inf and trial.faster == "no"


def test_a_trial_leaves_the_random_numbers_of_the_run_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    precision._time_products.__wrapped__((Product(4, 8, 16, 1),), CPU, 1)
    assert torch.equal(torch.rand(3), expected)


def test_trials_alternate_and_the_shortest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = [0.0], []
    durations = {"a": iter([9, 0.03, 0.02, 0.05]), "b": iter([9, 0.04, 0.06, 0.01])}

    def trial(name: str) -> Callable[[], None]:
        def run() -> None:
            calls.append(name)
            now[0] += next(durations[name])

        return run

    monkeypatch.setattr(precision.time, "perf_counter", lambda: now[0])
    assert precision._time_in_turns([trial("a"), trial("b")], 0.1) == pytest.approx([0.02, 0.04])
    assert calls == [*"ababab"]  # the first round warms up; 0.1 s are over after two more
