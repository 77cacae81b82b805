"""What was tried to set the presets' values: on 2023 alone, with a seed that no report uses.

    python -m benchmarks.tuning runs/tuning [--only METHOD] [--jobs 2]

The reports are on 2024 and 2025, with other seeds. docs/methods.md says what came of it.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.grid import Cell, run_all, scored

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
    "recadam": [
        {"recadam.gamma": 100, "recadam.t0_fraction": 0.2, "learning_rate": 1e-3},
        {"recadam.gamma": 300, "recadam.t0_fraction": 0.2, "learning_rate": 3e-4},
        {"recadam.gamma": 300, "recadam.t0_fraction": 0.5, "learning_rate": 3e-4},
        {"recadam.gamma": 300, "recadam.anchor": "previous_period", "learning_rate": 3e-4},
        {"recadam.gamma": 3000, "recadam.t0_fraction": 0.5, "learning_rate": 1e-3},
    ],
}


def cell(folder: Path, method: str, settings: dict[str, Any]) -> Cell:
    """One trial."""
    name = "-".join([method, *(f"{key.split('.')[-1]}={v}" for key, v in settings.items())])
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return Cell(folder / name, ("--preset", "t5", "--method", method, *COMMON, *sets))


def main() -> None:
    """Run the trials and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=TRIALS, help="one method's trials")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    chosen = parser.parse_args()
    methods = [chosen.only] if chosen.only else list(TRIALS)
    cells = [cell(chosen.folder, m, settings) for m in methods for settings in TRIALS[m]]
    run_all(cells, chosen.jobs)
    print("| trial | invariant | initial | updated | new | paraphrase | gain | forgetting | FUAR |")
    print("|---|---|---|---|---|---|---|---|---|")
    for trial in cells:
        print(line(trial))


def line(trial: Cell) -> str:
    """A row of the table: exact match at the end, for what is learned right after it was too."""
    found = scored(trial)
    sets = found["probe_sets"]
    em = [f"{sets[name]['em']['after']:.1f}" for name in ("invariant", "initial")]
    em += [
        f"{sets[name]['em']['learned']:.1f} → {sets[name]['em']['after']:.1f}"
        for name in ("updated", "new", "paraphrase")
    ]
    numbers = [f"{found[key]:.1f}" for key in ("learning_gain", "forgetting")]
    return f"| {' | '.join([trial.folder.name, *em, *numbers, format(found['fuar'], '.2f')])} |"


if __name__ == "__main__":
    main()
