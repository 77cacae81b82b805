"""Compare methods and replay policies on the whole stream, several seeds each.

    python -m benchmarks.methods runs/methods [--seeds 3] [--jobs 2] [--since 2024] [--only ARM ...]
    python -m benchmarks.methods runs/decoder --family causal    # llama-mini instead of t5-mini
    python -m benchmarks.methods runs/methods --finished    # the table of the finished runs

The presets were tuned on 2023 (`benchmarks.tuning`), so the table covers 2024 and 2025. The cost of
a step is not measured here, since several runs share the CPU; `benchmarks.run` measures it.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, get_args

from benchmarks.grid import GridRun, load_scores, run_all
from fki.core.registry import BUILTIN
from fki.core.types import Version

PRIORITIZED = ("--preset", "t5_prioritized")
DECODER_ARMS: dict[str, tuple[str, ...]] = {
    **{n: ("--preset", f"causal_{n}") for n, m in BUILTIN.items() if not m.needs_encoder},
    "prioritized": ("--preset", "causal_prioritized"),
    "lora+prioritized": ("--preset", "causal_prioritized", "--method", "lora"),
}
ARMS: dict[str, tuple[str, ...]] = {  # name: options of `fki train`
    **{name: ("--preset", f"t5_{name}") for name in BUILTIN},
    "prioritized": PRIORITIZED,
    "prioritized, own answers": (*PRIORITIZED, "--set", "prioritized.answers=model"),
    "prioritized, 8 wordings": ("--preset", "t5_prioritized_wordings"),
    "vanilla, 4 wordings": ("--preset", "t5_vanilla", "--set", "wordings=4"),
    "lora+prioritized": (*PRIORITIZED, "--method", "lora"),
    "kadapter_2+prioritized": (*PRIORITIZED, "--method", "kadapter_2"),
    "joint, 6 epochs": ("--preset", "t5_joint", "--set", "num_train_epochs=6"),
    "recadam+prioritized": ("--preset", "t5_recadam", "--set", "replay=prioritized"),
}
FAMILIES = {"t5": ARMS, "causal": DECODER_ARMS}
RETAINED, LEARNED = ("invariant", "initial"), ("updated", "new", "paraphrase", "paraphrase_2")
HEADER = (
    "method",
    "seeds",
    *RETAINED,
    *(f"{name}, {when}" for name in LEARNED for when in ("learned", "at the end")),
    "learning gain",
    "forgetting",
    "FUAR",
    "operations",
    "trained parameters",
)


def make_runs(
    folder: Path, arm: str, preset: tuple[str, ...], version: str, seeds: int
) -> list[GridRun]:
    """The runs of an arm, one per seed."""
    arguments = (*preset, "--version", version)
    name = arm.replace(", ", "-").replace(" ", "_")
    return [GridRun(folder / f"{name}-s{s}", (*arguments, "--seed", str(s))) for s in range(seeds)]


def main() -> None:
    """Execute the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", default="quarter", choices=get_args(Version))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--only", nargs="+", choices=[*ARMS], help="arms; default: all")
    parser.add_argument("--family", default="t5", choices=[*FAMILIES], help="of the model")
    parser.add_argument("--periods", type=int, default=0, help="train on this many; 0: all")
    parser.add_argument("--since", default="2024", help="first period of the table")
    parser.add_argument("--finished", action="store_true", help="execute nothing")
    options = parser.parse_args()
    presets = FAMILIES[options.family]
    arms = {
        arm: make_runs(
            options.folder,
            arm,
            (*presets[arm], *(("--set", f"max_periods={options.periods}") * bool(options.periods))),
            options.version,
            options.seeds,
        )
        for arm in options.only or presets
    }
    if options.finished:
        finished = {arm: [run for run in runs if run.is_done] for arm, runs in arms.items()}
        arms = {arm: runs for arm, runs in finished.items() if runs}
    else:  # seed by seed, so that compared runs are executed at about the same time
        run_all([arms[m][s] for s in range(options.seeds) for m in arms], options.jobs)
    results = {m: [load_scores(run, options.since) for run in arms[m]] for m in arms}
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    print(format_untouched(next(iter(results.values()))))
    vanilla = [run["spent"]["flops"] for run in results.get("vanilla", ())]
    for arm, runs in results.items():
        print(format_arm(arm, runs, fmean(vanilla) if vanilla else 0.0))


def format_untouched(runs: list[dict[str, Any]]) -> str:
    """The row of the model before training, which is the same in every run."""
    em = {name: runs[0]["probe_sets"][name]["em"]["before"] for name in (*RETAINED, *LEARNED)}
    cells = [f"{em[name]:.1f}" for name in RETAINED]
    cells += [text for name in LEARNED for text in ("", f"{em[name]:.1f}")]
    return f"| untouched | | {' | '.join(cells)} | | | | 0 | 0 |"


def format_arm(arm: str, runs: list[dict[str, Any]], vanilla: float) -> str:
    """The row of an arm: mean over its seeds ± standard deviation.

    Args:
        vanilla: operations of vanilla, which others are relative to; 0: unknown.
    """

    def em(name: str, when: str) -> Callable[[dict[str, Any]], float]:
        return lambda run: run["probe_sets"][name]["em"][when]

    readers = [em(name, "after") for name in RETAINED]
    readers += [em(name, when) for name in LEARNED for when in ("learned", "after")]
    readers += [lambda run, key=key: run[key] for key in ("learning_gain", "forgetting")]
    cells = [format_mean([read(run) for run in runs], 1) for read in readers]
    fuar = [run["fuar"] for run in runs]
    cells.append("no gain" if None in fuar else format_mean(fuar, 2))
    flops = fmean(run["spent"]["flops"] for run in runs)
    cells.append(f"{flops / vanilla:.2f}" if vanilla else f"{flops:.3g}")
    cells.append(f"{runs[0]['parameters']['trainable']:,}")
    return f"| {' | '.join([arm, str(len(runs)), *cells])} |"


def format_mean(values: list[float], digits: int) -> str:
    """Format the mean and, for several values, the sample standard deviation."""
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
