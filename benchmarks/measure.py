"""Measure variants in turns, on a machine that other processes use too.

With one thread the clock is this process's CPU time, which other processes hardly affect. With more
it is wall time: a turn waits until the machine is idle, and is repeated if other processes used
more than a tenth of a core.
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

OTHERS = 0.10  # CPU cores that other processes may use during a turn
REPEATS = 3  # of a turn in which they used more
PATIENCE = 60  # seconds that a turn waits for an idle machine

Variant = Callable[[], float]  # does some work and returns its amount


@dataclass
class Clock:
    """Measures seconds, and the CPU use of other processes meanwhile."""

    threads: int

    def __post_init__(self) -> None:
        torch.set_num_threads(self.threads)
        self.others: list[float] = []

    def measure(self, variant: Variant) -> float:
        """Seconds per unit of the variant's work."""
        best = (float("inf"), 0.0)
        for _ in range(REPEATS if self.threads > 1 else 1):
            if self.threads > 1:
                wait_until_idle()
            busy, own, wall = _busy_seconds(), time.process_time(), time.perf_counter()
            work = variant()
            own, wall = time.process_time() - own, time.perf_counter() - wall
            others = max(0.0, (_busy_seconds() - busy - own) / wall)
            best = min(best, (others, (own if self.threads == 1 else wall) / work))
            if others <= OTHERS:
                break
        self.others.append(best[0])
        return best[1]

    def __str__(self) -> str:
        kind = "CPU seconds, 1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{describe_processor()}; {kind}; other processes used {median(self.others):.2f} cores "
            f"(at most {max(self.others):.2f})"
        )


def describe_processor() -> str:
    """The processor's name, family and model, and its instructions for bf16."""
    fields = dict[str, str]()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = [
        name for name in ("avx512_bf16", "amx_bf16") if name in fields.get("flags", "").split()
    ]
    return (
        f"{fields.get('model name', 'unknown processor')}, family {fields.get('cpu family', '?')}, "
        f"model {fields.get('model', '?')}, with {' and '.join(flags) or 'no bf16 instructions'}"
    )


def _busy_seconds() -> float:
    """Busy seconds of all CPU cores since the machine's start."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    ticks = [int(field) for field in fields]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def wait_until_idle() -> None:
    """Wait until other processes use little CPU, or until PATIENCE ends."""
    for _ in range(2 * PATIENCE):
        busy, own, wall = _busy_seconds(), time.process_time(), time.perf_counter()
        time.sleep(0.5)
        used = _busy_seconds() - busy - (time.process_time() - own)
        if used / (time.perf_counter() - wall) < 2 * OTHERS:
            return


def run_in_turns(
    variants: Mapping[str, Variant], clock: Clock, rounds: int
) -> dict[str, list[float]]:
    """Seconds per unit in each round; the first round, which allocates memory, is discarded."""
    order, seconds = list(variants), {name: [] for name in variants}  # type: dict[str, list[float]]
    for number in range(rounds + 1):
        random.Random(number).shuffle(order)
        for name in order:
            taken = clock.measure(variants[name]) if number else variants[name]()
            if number:
                seconds[name].append(taken)
    return seconds


def peak_mib(variant: Variant) -> float:
    """Peak memory of the variant in MiB, above the memory used before it."""
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # glibc keeps freed memory
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_mib("VmRSS")
    variant()
    return memory_mib("VmHWM") - before


def memory_mib(key: str) -> float:
    """Memory of this process in MiB, now (VmRSS) or its peak so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def gemm_peak(dtype: torch.dtype, clock: Clock) -> float:
    """FLOP/s of this machine's fastest matrix product, with the shapes of T5's feed-forward."""
    x, w = torch.randn(1024, 512).to(dtype), torch.randn(2048, 512).to(dtype)
    times = 8 if clock.threads == 1 else 16

    def products() -> float:
        for _ in range(times):
            functional.linear(x, w)
        return times * 2 * 1024 * 512 * 2048

    return 1 / min(clock.measure(products) for _ in range(20))


def spread(values: list[float], digits: int = 2) -> str:
    """Format the median, minimum and maximum: "1.20 (1.10 to 1.30)"."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
