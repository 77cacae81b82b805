"""Measure the step of fki's optimizers against plain peers, within a training loop.

    python -m benchmarks.optimizers [--rounds 5]

The model has the shape of t5-small (60 million parameters, random weights). Before each timed step,
30 facts pass forward and backward, so that the CPU caches are as in training; only the step is
timed. Each pair runs in its own process, since the state of the memory allocator affects the
temporaries of the peers.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration
from transformers.optimization import Adafactor as TransformersAdafactor

from benchmarks.measure import describe_processor
from fki.methods.adafactor import Adafactor
from fki.methods.base import parameter_groups
from fki.methods.recadam import RecAdamOptimizer, anneal_factor

FACTS, SOURCE, TARGET = 30, 22, 6  # examples; tokens of each
LR = 1e-4
RECADAM: dict[str, Any] = {
    "lr": LR,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "gamma": 1000.0,
    "anneal": "sigmoid",
    "w": 1.0,
    "t0": 10.0,
    "k": 1.0,
}
PAIRS = {"recadam": ("plain loop", "fused"), "adafactor": ("transformers", "fki")}


class PlainRecAdam(torch.optim.Optimizer):
    """The peer of RecAdam: parameter by parameter, without a fused kernel."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for p, anchor in zip(group["params"], group["anchors"], strict=True):
                if p.grad is not None:
                    self.update(p, anchor, group)

    def update(self, p: Tensor, anchor: Tensor, group: dict[str, Any]) -> None:
        """Apply Adam's step times lambda, then the implicit pull to the anchor."""
        state = self.state[p]
        if not state:
            state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
        state["step"] += 1
        t, m, v, lr, (beta1, beta2) = *state.values(), group["lr"], group["betas"]
        m.lerp_(p.grad, 1 - beta1)
        v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        strength = anneal_factor(t, group["anneal"], group["w"], group["t0"], group["k"])
        denominator = (v / (1 - beta2**t)).sqrt_().add_(group["eps"])
        p.addcdiv_(m, denominator, value=-lr * strength / (1 - beta1**t))
        pull = lr * group["gamma"] * (group["w"] - strength)
        p.lerp_(anchor, pull / (1 + pull))


def make_t5_small() -> T5ForConditionalGeneration:
    """Make a model of t5-small's shape with random weights."""
    torch.manual_seed(0)
    shape = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
    return T5ForConditionalGeneration(
        T5Config(vocab_size=32128, decoder_start_token_id=0, **shape)
    ).train()


def make_optimizer(name: str, peer: bool, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer, or its peer, over all parameters of the model."""
    groups = parameter_groups(model, 0.0)
    if name == "adafactor":
        if peer:
            return TransformersAdafactor(groups, lr=LR, scale_parameter=False, relative_step=False)
        return Adafactor(groups, lr=LR)
    for group in groups:
        group["anchors"] = [p.detach().clone() for p in group["params"]]
    return PlainRecAdam(groups, RECADAM) if peer else RecAdamOptimizer(groups, **RECADAM)


def time_step(
    model: T5ForConditionalGeneration, optimizer: torch.optim.Optimizer
) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of a step after a forward and backward pass."""
    model.zero_grad(set_to_none=True)
    source = torch.randint(2, 32000, (FACTS, SOURCE))
    target = torch.randint(2, 32000, (FACTS, TARGET))
    model(input_ids=source, labels=target).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    processor, clock = time.process_time(), time.perf_counter()
    optimizer.step()
    return time.process_time() - processor, time.perf_counter() - clock


def compare(name: str, threads: int, rounds: int) -> None:
    """Measure an optimizer and its peer in turns and print their row."""
    torch.set_num_threads(threads)
    model, column = make_t5_small(), min(threads, 2) - 1
    both = [make_optimizer(name, peer, model) for peer in (True, False)]
    for optimizer in both:
        time_step(model, optimizer)  # the first step allocates the state
    rounds_seconds = [
        [time_step(model, optimizer)[column] for optimizer in both] for _ in range(rounds)
    ]
    measure = f"{threads} thread{'s' * (threads > 1)}, {('CPU', 'wall')[column]}"
    cells = [format_range([row[i] * 1e3 for row in rounds_seconds]) for i in range(2)]
    ratio = format_range([peer / ours for peer, ours in rounds_seconds], 2)
    peer_name, our_name = PAIRS[name]
    print(f"| {name}: {our_name} against {peer_name} | {measure} ", end="")
    print(f"| {cells[1]} | {cells[0]} | {ratio} |", flush=True)


def format_range(values: list[float], digits: int = 0) -> str:
    """Format the median, minimum and maximum."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pair", choices=PAIRS, help="measure one pair in this process")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.pair:
        compare(options.pair, options.threads, options.rounds)
        return
    print(f"{describe_processor()}\n")
    print("| optimizer | measured | ms per step | its peer's | times faster |", flush=True)
    print("|---|---|---|---|---|", flush=True)
    for name in PAIRS:
        for threads in ("1", "2"):
            rest = ["--pair", name, "--threads", threads, "--rounds", str(options.rounds)]
            subprocess.run([sys.executable, "-m", "benchmarks.optimizers", *rest], check=True)


if __name__ == "__main__":
    main()
