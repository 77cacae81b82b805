"""What the commands take to start, and `fki compare` for a hundred runs.

    python -m benchmarks.startup [--rounds 5] [--run RUN]

Seconds of the processor, a process each, in turns; the hundred runs are copies of one.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

IMPORTS = "import fki.training.runner, fki.training.session"


def seconds(command: list[str]) -> float:
    """Of the processor, in this command and what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", type=Path, help="a run's folder, of which copies are compared")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = [sys.executable]
        commands = {
            "python, nothing": [*python, "-c", "pass"],
            "fki --help": [*python, "-m", "fki", "--help"],
            "import torch": [*python, "-c", "import torch"],
            "import a T5 of transformers": [
                *python,
                "-c",
                "from transformers import T5ForConditionalGeneration",
            ],
            "import what fki train needs": [*python, "-c", IMPORTS],
        }
        if chosen.run:
            for number in range(100):
                shutil.copytree(chosen.run, Path(folder) / f"run-{number}", ignore=_heavy)
            commands["fki compare, 100 runs"] = [*python, "-m", "fki", "compare", folder]
        rounds = [
            {name: seconds(command) for name, command in commands.items()}
            for _ in range(chosen.rounds)
        ]
    print("| | seconds (least to most) |\n|---|---|")
    for name in commands:
        taken = [found[name] for found in rounds]
        print(f"| {name} | {median(taken):.2f} ({min(taken):.2f} to {max(taken):.2f}) |")


def _heavy(folder: str, names: list[str]) -> list[str]:
    """What a comparison does not read."""
    return [name for name in names if name in ("checkpoints", "samples.jsonl", "probes.jsonl")]


if __name__ == "__main__":
    main()
