"""Every method over the whole stream, several seeds each, against the untouched model.

    python -m benchmarks.methods runs/methods [--seeds 3] [--jobs 2] [--since 2024]

The presets were tuned on 2023 (benchmarks/tuning.py), so what is reported is of 2024 and 2025.
What a step of each costs is benchmarks/run.py's to say: these runs do not share a clock.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.grid import Cell, run_all, scored
from fki.core.registry import BUILTIN

KEPT, LEARNED = ("invariant", "initial"), ("updated", "new", "paraphrase")
HEADER = (
    "method",
    *KEPT,
    *(f"{name}, {when}" for name in LEARNED for when in ("learned", "at the end")),
    "learning gain",
    "forgetting",
    "FUAR",
    "trained parameters",
)


def cells(folder: Path, method: str, version: str, seeds: int) -> list[Cell]:
    """A method's runs, by its preset."""
    options = ("--preset", f"t5_{method}", "--version", version)
    return [Cell(folder / f"{method}-s{s}", (*options, "--seed", str(s))) for s in range(seeds)]


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", default="quarter", choices=("day", "month", "quarter"))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--since", default="2024", help="report on the periods from here on")
    chosen = parser.parse_args()
    arms = {m: cells(chosen.folder, m, chosen.version, chosen.seeds) for m in BUILTIN}
    # seed by seed, so that what is compared with one another ran at about the same time
    run_all([arms[m][s] for s in range(chosen.seeds) for m in arms], chosen.jobs)
    results = {m: [scored(cell, chosen.since) for cell in arms[m]] for m in arms}
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    print(untouched(results["vanilla"]))
    for method, runs in results.items():
        print(line(method, runs))


def untouched(runs: list[dict[str, Any]]) -> str:
    """The row of the model before any training; it is the same in every run."""
    em = {name: runs[0]["probe_sets"][name]["em"]["before"] for name in (*KEPT, *LEARNED)}
    cells = [f"{em[name]:.1f}" for name in KEPT]
    cells += [cell for name in LEARNED for cell in ("", f"{em[name]:.1f}")]
    return f"| untouched | {' | '.join(cells)} | | | | 0 |"


def line(method: str, runs: list[dict[str, Any]]) -> str:
    """A method's row: mean over its seeds ± standard deviation."""

    def em(name: str, when: str) -> Callable[[dict[str, Any]], float]:
        return lambda run: run["probe_sets"][name]["em"][when]

    picks = [em(name, "after") for name in KEPT]
    picks += [em(name, when) for name in LEARNED for when in ("learned", "after")]
    picks += [lambda run, key=key: run[key] for key in ("learning_gain", "forgetting")]
    cells = [spread([pick(run) for run in runs], 1) for pick in picks]
    cells.append(spread([run["fuar"] for run in runs], 2))
    cells.append(f"{runs[0]['parameters']['trainable']:,}")
    return f"| {' | '.join([method, *cells])} |"


def spread(values: list[float], digits: int) -> str:
    """Mean ± sample standard deviation, the latter only where there are several values."""
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
