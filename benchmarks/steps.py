"""What an optimizer step of each method costs, as a multiple of vanilla's.

    python -m benchmarks.steps [--rounds 5] [--steps 30]

All methods in one process, taking turns, each on the first quarter under its preset.
"""

import argparse
import os
import time
from itertools import islice
from statistics import median

from fki.core import presets, registry
from fki.core.registry import BUILTIN
from fki.core.resolve import resolve
from fki.engine import session
from fki.engine.session import Session


def ready(method: str) -> Session:
    """The method on the embedded model, about to learn the first quarter."""
    layers = presets.layers([f"t5_{method}"], os.environ, ["max_periods=1"], {})
    return session.build(resolve(layers, options_of=registry.options_of).config)


def seconds(one: Session, steps: int) -> float:
    """Of the first optimizer steps of the period, each counted from data to moved weights."""
    began = time.perf_counter()
    taken = list(islice(one.trainer.learn(one.stream.periods[0]), steps))
    assert len(taken) == steps
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="of each method and round")
    chosen = parser.parse_args()
    sessions = {method: ready(method) for method in BUILTIN}
    for one in sessions.values():
        seconds(one, 3)  # the first steps allocate
    rounds = [
        {method: seconds(one, chosen.steps) for method, one in sessions.items()}
        for _ in range(chosen.rounds)
    ]
    print("| method | a step, of vanilla's (least to most) |\n|---|---|")
    for method in BUILTIN:
        ratios = [found[method] / found["vanilla"] for found in rounds]
        print(f"| {method} | {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |")


if __name__ == "__main__":
    main()
