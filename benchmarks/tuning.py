"""Compare candidate settings of the presets, on 2023 only, with a seed that no result uses.

    python -m benchmarks.tuning runs/tuning [--only METHOD] [--jobs 2]

The results in docs/methods.md cover 2024 and 2025, with other seeds.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.grid import GridRun, load_scores, run_all

SEED = 100
COMMON = ("--version", "quarter", "--seed", str(SEED), "--set", "max_periods=4")
TRIALS: dict[str, list[dict[str, Any]]] = {
    "vanilla": [{"learning_rate": rate} for rate in (3e-4, 1e-3, 2e-3)],
    "lora": [
        {"freeze_level": 1, "lora.r": 4, "learning_rate": 3e-4},
        {"freeze_level": 1, "lora.r": 4, "learning_rate": 5e-4},
        {"freeze_level": 1, "lora.r": 4, "learning_rate": 1e-3},
        {"freeze_level": 2, "lora.r": 4, "learning_rate": 5e-3},
        {"freeze_level": 2, "lora.r": 16, "learning_rate": 5e-3},
    ],
    "kadapter_2": [
        {"freeze_level": 1, "kadapter.branch_init": "base", "learning_rate": 3e-4},
        {"freeze_level": 1, "kadapter.branch_init": "random", "learning_rate": 3e-4},
        {"freeze_level": 1, "kadapter.branch_init": "base", "learning_rate": 5e-4},
        {"freeze_level": 1, "kadapter.branch_init": "base", "learning_rate": 1e-3},
        {"freeze_level": 2, "kadapter.scale": 1.0, "learning_rate": 3e-3},
    ],
    "kadapter_3": [{"freeze_level": 1, "learning_rate": 3e-4}],
    "modular": [
        {"freeze_level": 1, "modular.size": "small", "learning_rate": 3e-4},
        {"freeze_level": 1, "modular.size": "small", "learning_rate": 5e-4},
        {"freeze_level": 1, "modular.size": "same", "learning_rate": 3e-4},
        {"freeze_level": 2, "modular.scale": 1.0, "learning_rate": 3e-3},
    ],
    "mixreview": [
        {"mixreview.ratio": ratio, "mixreview.decay": decay, "learning_rate": 3e-4}
        for ratio, decay in [(0.1, 1.0), (0.5, 1.0), (1.0, 1.0), (4.0, 0.7)]
    ],
    "joint": [{"num_train_epochs": epochs, "learning_rate": 3e-4} for epochs in (6, 12)],
    "recadam": [
        {"recadam.gamma": 100, "recadam.t0_fraction": 0.2, "learning_rate": 1e-3},
        {"recadam.gamma": 300, "recadam.t0_fraction": 0.2, "learning_rate": 3e-4},
        {"recadam.gamma": 300, "recadam.t0_fraction": 0.5, "learning_rate": 3e-4},
        {"recadam.gamma": 300, "recadam.anchor": "previous_period", "learning_rate": 3e-4},
        {"recadam.gamma": 3000, "recadam.t0_fraction": 0.5, "learning_rate": 1e-3},
    ],
}


def make_run(folder: Path, method: str, settings: dict[str, Any]) -> GridRun:
    """The run of a trial."""
    name = "-".join([method, *(f"{key.split('.')[-1]}={v}" for key, v in settings.items())])
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return GridRun(folder / name, ("--preset", "t5", "--method", method, *COMMON, *arguments))


def main() -> None:
    """Execute the trials and print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=TRIALS, help="one method's trials")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    methods = [options.only] if options.only else list(TRIALS)
    trials = [make_run(options.folder, m, settings) for m in methods for settings in TRIALS[m]]
    run_all(trials, options.jobs)
    print("| trial | invariant | initial | updated | new | paraphrase | gain | forgetting | FUAR |")
    print("|---|---|---|---|---|---|---|---|---|")
    for trial in trials:
        print(format_trial(trial))


def format_trial(trial: GridRun) -> str:
    """The row of a trial: exact match at the end, and for learned facts right after training."""
    scores = load_scores(trial)
    sets = scores["probe_sets"]
    em = [f"{sets[name]['em']['after']:.1f}" for name in ("invariant", "initial")]
    em += [
        f"{sets[name]['em']['learned']:.1f} → {sets[name]['em']['after']:.1f}"
        for name in ("updated", "new", "paraphrase")
    ]
    numbers = [f"{scores[key]:.1f}" for key in ("learning_gain", "forgetting")]
    return f"| {' | '.join([trial.folder.name, *em, *numbers, format(scores['fuar'], '.2f')])} |"


if __name__ == "__main__":
    main()
