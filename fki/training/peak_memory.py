"""The peak memory of a run, if the system reports it."""

from contextlib import suppress
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


def reset_peak_memory() -> None:
    """Start a new measurement, so that one process can measure several runs."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")  # proc(5): resets the peak resident set size


def peak_memory_mib() -> float | None:
    """MiB since the last reset: of the GPU if there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    with suppress(OSError, ValueError):
        for line in (PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return None
