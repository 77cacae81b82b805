"""The precision of the training forward pass, chosen by a measurement on the device.

A processor that lists bf16 instructions is not always faster with them: an Intel Xeon with
`avx512_bf16` and without AMX multiplies matrices at half the speed of fp32.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import nn

TRIAL_TOKENS = 128  # rows of a product; a training batch has some hundred tokens or more
HEAD_TOKENS = 32  # the vocabulary head runs only at scored positions
TRIAL_SECONDS = 0.1  # for all products, after a warm-up; at least two rounds of each
MIN_GAIN = 1.2  # of the products; the casts outside of them cost time, and fp32 rounds less


class Product(NamedTuple):
    """The matrix product of some linear layers of a model."""

    tokens: int  # rows
    inputs: int
    outputs: int
    layers: int  # with this product

    @property
    def operations(self) -> int:
        """Of one layer: 2 per weight and row in the forward pass, 4 in the backward pass."""
        return 6 * self.tokens * self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class PrecisionTrial:
    """Speeds of the linear layers, forward and backward, in both precisions, in GFLOP/s."""

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
    """Time the products of a model's linear layers in fp32 and in bf16 autocast.

    The result is cached for the process, so that the runs of a sweep train in one precision.
    """
    return _time_products(_list_products(model), device, torch.get_num_threads())


def _list_products(model: nn.Module) -> tuple[Product, ...]:
    """The different products of a model's linear layers."""
    find_head = getattr(model, "get_output_embeddings", None)
    head = find_head() if callable(find_head) else None
    counts = Counter(
        (HEAD_TOKENS if module is head else TRIAL_TOKENS, module.in_features, module.out_features)
        for module in model.modules()
        if isinstance(module, nn.Linear)
    )
    return tuple(Product(*shape, layers) for shape, layers in counts.items())


@cache
def _time_products(
    products: tuple[Product, ...],
    device: torch.device,
    threads: int,  # only a key of the cache
) -> PrecisionTrial:
    seconds = {"fp32": 0.0, "bf16": 0.0}
    for product in products:
        trials = _make_trials(product, device)
        limit = TRIAL_SECONDS / len(products)
        try:
            fp32, bf16 = _time_in_turns(trials, limit)
        except RuntimeError:  # raised by devices without bf16
            (fp32,), bf16 = _time_in_turns(trials[:1], limit), float("inf")
        seconds["fp32"] += product.layers * fp32
        seconds["bf16"] += product.layers * bf16
    operations = sum(product.layers * product.operations for product in products)
    return PrecisionTrial(operations / seconds["fp32"] / 1e9, operations / seconds["bf16"] / 1e9)


def _make_trials(product: Product, device: torch.device) -> list[Callable[[], None]]:
    """The product forward and backward, in fp32 and in bf16."""
    with torch.random.fork_rng(devices=[]):  # the run's random numbers stay as they are
        rows = torch.randn(product.tokens, product.inputs).to(device).requires_grad_()
        weight = torch.randn(product.outputs, product.inputs).to(device).requires_grad_()
    gradient = torch.ones(product.tokens, product.outputs, device=device)

    def multiply(enabled: bool) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
            outputs = nn.functional.linear(rows, weight)
        torch.autograd.grad(outputs, (rows, weight), gradient.to(outputs.dtype))
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    return [lambda: multiply(enabled=False), lambda: multiply(enabled=True)]


def _time_in_turns(trials: list[Callable[[], None]], limit: float) -> list[float]:
    """The shortest time of each trial, in seconds; they alternate, so that load hits all alike.

    Args:
        limit: seconds for all rounds but the first two.
    """
    best, ends = [float("inf")] * len(trials), 0.0
    for round_number in range(1_000_000):
        for index, trial in enumerate(trials):
            began = time.perf_counter()
            trial()
            if round_number:  # the first round warms up
                best[index] = min(best[index], time.perf_counter() - began)
        if round_number == 0:
            ends = time.perf_counter() + limit
        elif round_number >= 2 and time.perf_counter() >= ends:
            break
    return best
