"""Measure training with and without freed memory kept by the C library.

    python -m benchmarks.allocator [--rounds 3] [--threads 2]

Each measurement is a process of its own, since the allocator's parameters stay for the life of a
process. Both kinds take turns. The work is that of the block `full` of `benchmarks.run`: training
of all weights of a T5 with the shape of t5-small on 60 facts. Page faults are minor ones.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.measure import describe_processor, spread

KINDS = ("default", "kept")
TURNS = 3  # of a process, after one that is discarded


def measure(kind: str, threads: int) -> None:
    """Print seconds, page faults and the peak memory in MiB of each turn, as JSON lines."""
    from fki.training.allocator import keep_freed_memory

    if kind == "kept":
        keep_freed_memory()
    import torch

    from benchmarks.workloads import FkiTraining

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        training = FkiTraining("facts", 60, Path(folder))
        training.train()
        for _ in range(TURNS):
            faults, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
            training.train()
            seconds, usage = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
            print(json.dumps([seconds, usage.ru_minflt - faults, usage.ru_maxrss / 1024]))


def main() -> None:
    """Print the table, or measure one process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kind", choices=KINDS, help="measure this process and end")
    options = parser.parse_args()
    if options.kind:
        measure(options.kind, options.threads)
        return
    found: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    ratios = []
    for number in range(options.rounds):
        best = {}
        for kind in KINDS if number % 2 else reversed(KINDS):
            command = [sys.executable, "-m", "benchmarks.allocator", "--kind", kind]
            result = subprocess.run(
                [*command, "--threads", str(options.threads)],
                env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            turns = [json.loads(line) for line in result.stdout.splitlines()]
            best[kind] = min(seconds for seconds, *_ in turns)
            found[kind] += turns
        ratios.append(best["default"] / best["kept"])
    print(f"{describe_processor()}; {options.threads} threads; speedup {spread(ratios)}\n")
    print("| freed memory | seconds | page faults | peak MiB |\n|---|---|---|---|")
    for kind, rows in found.items():
        seconds, faults, peaks = map(median, zip(*rows, strict=True))
        print(f"| {kind} | {seconds:.2f} | {faults:,.0f} | {peaks:,.0f} |")


if __name__ == "__main__":
    main()
