"""What was tried to set the presets' values: on 2023 alone, with a seed that no report uses.

    python -m benchmarks.tuning runs/tuning [--only METHOD] [--jobs 2]

The reports are on 2024 and 2025, with other seeds. docs/methods.md says what came of it.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

from benchmarks.grid import Cell, run_all, scored

SEED = 100
COMMON = ("--version", "quarter", "--seed", str(SEED), "--set", "max_periods=4")
TRIALS: dict[str, list[dict[str, Any]]] = {
    "vanilla": [{"learning_rate": rate} for rate in (3e-4, 1e-3, 2e-3)],
    "lora": [
        {"freeze_level": level, "lora.r": r, "learning_rate": rate}
        for level, r, rate in [
            (1, 4, 1e-3),
            (2, 4, 1e-3),
            (2, 4, 5e-3),
            (2, 16, 2e-3),
            (2, 16, 5e-3),
        ]
    ],
    "kadapter_2": [
        {"freeze_level": level, "kadapter.start": start, "learning_rate": rate, **more}
        for level, start, rate, more in [
            (1, "base", 1e-3, {}),
            (1, "random", 1e-3, {}),
            (1, "base", 5e-4, {}),
            (2, "base", 3e-3, {"kadapter.scale": 1.0}),
        ]
    ],
    "kadapter_3": [{"freeze_level": 1, "learning_rate": rate} for rate in (5e-4, 1e-3)],
    "modular": [
        {"freeze_level": level, "modular.size": size, "learning_rate": rate, **more}
        for level, size, rate, more in [
            (1, "small", 1e-3, {}),
            (1, "same", 1e-3, {}),
            (1, "small", 5e-4, {}),
            (2, "small", 3e-3, {"modular.scale": 1.0}),
        ]
    ],
    "mixreview": [
        {"mixreview.ratio": ratio, "mixreview.decay": decay}
        for ratio, decay in [(0.1, 1.0), (0.5, 1.0), (1.0, 1.0), (4.0, 0.7)]
    ],
    "recadam": [
        {"recadam.gamma": gamma, "recadam.t0_fraction": t0}
        for gamma, t0 in itertools.product((100, 1000), (0.2, 0.5))
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
