"""Variants in turns, on a machine that others use too; what they take, and what the machine could.

With one thread the clock is the processor's seconds of this process, which a neighbour cannot
inflate; with more it is the wall's, a turn waits for a quiet moment, and one in which others used
more than a tenth of a core is repeated.
"""

import ctypes
import gc
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional

OTHERS = 0.10  # cores that other processes may use during a turn
REPEATS = 3  # of a turn in which they used more
PATIENCE = 60  # seconds that a turn waits for a quiet moment

Variant = Callable[[], float]  # does some work and returns how much


@dataclass
class Clock:
    """Seconds, and what others used meanwhile."""

    threads: int

    def __post_init__(self) -> None:
        torch.set_num_threads(self.threads)
        self.others: list[float] = []

    def of(self, variant: Variant) -> float:
        """Seconds for a unit of the variant's work."""
        best = (float("inf"), 0.0)
        for _ in range(REPEATS if self.threads > 1 else 1):
            if self.threads > 1:
                wait_until_quiet()
            busy, own, wall = _busy(), time.process_time(), time.perf_counter()
            work = variant()
            own, wall = time.process_time() - own, time.perf_counter() - wall
            others = max(0.0, (_busy() - busy - own) / wall)
            best = min(best, (others, (own if self.threads == 1 else wall) / work))
            if others <= OTHERS:
                break
        self.others.append(best[0])
        return best[1]

    def __str__(self) -> str:
        kind = "processor seconds, 1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{kind}; others used {median(self.others):.2f} cores (at most {max(self.others):.2f})"
        )


def _busy() -> float:
    """Seconds that all processors have worked since the machine's start."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    ticks = [int(field) for field in fields]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def wait_until_quiet() -> None:
    """For a moment in which others use little, or until patience ends."""
    for _ in range(2 * PATIENCE):
        busy, own, wall = _busy(), time.process_time(), time.perf_counter()
        time.sleep(0.5)
        used = _busy() - busy - (time.process_time() - own)
        if used / (time.perf_counter() - wall) < 2 * OTHERS:
            return


def in_turns(variants: Mapping[str, Variant], clock: Clock, rounds: int) -> dict[str, list[float]]:
    """Seconds a unit of each round; a first round, which allocates, is not counted."""
    order, found = list(variants), {name: [] for name in variants}  # type: dict[str, list[float]]
    for number in range(rounds + 1):
        random.Random(number).shuffle(order)
        for name in order:
            taken = clock.of(variants[name]) if number else variants[name]()
            if number:
                found[name].append(taken)
    return found


def peak_mib(variant: Variant) -> float:
    """MiB that the variant needs above what was held before it."""
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # glibc keeps what was freed
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    variant()
    return held("VmHWM") - before


def held(key: str) -> float:
    """MiB of this process now (VmRSS) or at most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def gemm_peak(dtype: torch.dtype, clock: Clock) -> float:
    """FLOP/s of this machine's best matrix products, at the shapes of T5's feed-forward layers."""
    x, w = torch.randn(1024, 512).to(dtype), torch.randn(2048, 512).to(dtype)
    times = 8 if clock.threads == 1 else 16

    def products() -> float:
        for _ in range(times):
            functional.linear(x, w)
        return times * 2 * 1024 * 512 * 2048

    return 1 / min(clock.of(products) for _ in range(20))


def spread(values: list[float], digits: int = 2) -> str:
    """Median (least to most)."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
