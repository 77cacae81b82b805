"""The precision of the training forward pass, chosen by a measurement on the device.

A processor that lists bf16 instructions is not always faster with them: an Intel Xeon with
`avx512_bf16` and without AMX multiplies matrices at half the speed of fp32.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import nn

TRIAL_TOKENS = 256  # rows of the product; a training batch has some hundred tokens or more
TRIAL_SECONDS = 0.05  # for each precision, after a warm-up; at least two products
MIN_GAIN = 1.2  # of the product; the casts outside of it cost time, and fp32 rounds less


@dataclass(frozen=True, slots=True)
class PrecisionTrial:
    """Speeds of a layer's forward and backward pass in both precisions, in GFLOP/s."""

    fp32_gflops: float
    bf16_gflops: float  # with the casts from and to fp32; 0 if the device cannot run it

    @property
    def faster(self) -> str:
        """The precision for "auto": "bf16" if it is at least `MIN_GAIN` times as fast, or "no"."""
        return "bf16" if self.bf16_gflops >= MIN_GAIN * self.fp32_gflops else "no"

    def describe(self) -> str:
        """Both speeds, as a phrase."""
        return f"{self.fp32_gflops:,.3g} GFLOP/s in fp32, {self.bf16_gflops:,.3g} in bf16"


@dataclass(frozen=True, slots=True)
class Precision:
    """The precision of a run's training forward pass, and the trial behind it."""

    name: str  # "no" (fp32) or "bf16"
    trial: PrecisionTrial | None = None  # None: fp32 was set


def choose_precision(
    setting: str, model: nn.Module, device: torch.device, recorded: str = ""
) -> Precision:
    """Resolve the setting `mixed_precision`; all processes of a run get the same precision.

    Args:
        setting: "no", "bf16" or "auto".
        recorded: the precision of the run that is resumed, which stays; "" for a new run.
    """
    if setting == "no":
        return Precision("no")
    trial = time_precisions(model, device)
    chosen = [recorded or trial.faster if setting == "auto" else setting]
    if PartialState().num_processes > 1:
        broadcast_object_list(chosen)  # from the first process
    return Precision(chosen[0], trial)


def time_precisions(model: nn.Module, device: torch.device) -> PrecisionTrial:
    """Time the most frequent linear layer of a model in fp32 and in bf16 autocast.

    The result is cached for the process, so that the runs of a sweep train in one precision.
    """
    return _time_layer(*_main_layer_shape(model), device, torch.get_num_threads())


def _main_layer_shape(model: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of the shape that holds most weights, without the vocabulary head."""
    weights: dict[tuple[int, int], int] = defaultdict(int)
    find_head = getattr(model, "get_output_embeddings", None)
    head = find_head() if callable(find_head) else None
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not head:
            weights[module.in_features, module.out_features] += module.weight.numel()
    return max(weights, key=lambda shape: (weights[shape], shape))


@cache
def _time_layer(
    inputs: int,
    outputs: int,
    device: torch.device,
    threads: int,  # a thread count is a key only
) -> PrecisionTrial:
    with torch.random.fork_rng(devices=[]):  # the run's random numbers stay as they are
        tokens = torch.randn(TRIAL_TOKENS, inputs).to(device).requires_grad_()
        weight = torch.randn(outputs, inputs).to(device).requires_grad_()
    gradient = torch.ones(TRIAL_TOKENS, outputs, device=device)

    def multiply(enabled: bool) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
            product = nn.functional.linear(tokens, weight)
        torch.autograd.grad(product, (tokens, weight), gradient.to(product.dtype))
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    operations = 6 * TRIAL_TOKENS * inputs * outputs  # 2 forward, 4 backward
    trials = [lambda: multiply(enabled=False), lambda: multiply(enabled=True)]
    try:
        fp32, bf16 = _time_in_turns(trials)
    except RuntimeError:  # raised by devices without bf16
        (fp32,), bf16 = _time_in_turns(trials[:1]), float("inf")
    return PrecisionTrial(operations / fp32 / 1e9, operations / bf16 / 1e9)


def _time_in_turns(trials: list[Callable[[], None]]) -> list[float]:
    """The shortest time of each trial, in seconds; they alternate, so that load hits all alike."""
    best, ends = [float("inf")] * len(trials), 0.0
    for round_number in range(1_000_000):
        for index, trial in enumerate(trials):
            began = time.perf_counter()
            trial()
            if round_number:  # the first round warms up
                best[index] = min(best[index], time.perf_counter() - began)
        if round_number == 0:
            ends = time.perf_counter() + TRIAL_SECONDS * len(trials)
        elif round_number >= 2 and time.perf_counter() >= ends:
            break
    return best
