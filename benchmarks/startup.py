"""Measure the start of the commands, and `fki compare` for a hundred runs.

    python -m benchmarks.startup [--rounds 5] [--run RUN]

CPU seconds, each command in its own process, in turns; the hundred runs are copies of one.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.measure import describe_processor

IMPORTS = "import fki.training.runner, fki.training.session"


def cpu_seconds(command: list[str]) -> float:
    """CPU seconds of a command and its child processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", type=Path, help="folder of a run, to compare copies of it")
    options = parser.parse_args()
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
            "import the modules of fki train": [*python, "-c", IMPORTS],
        }
        if options.run:
            for number in range(100):
                shutil.copytree(options.run, Path(folder) / f"run-{number}", ignore=_large_files)
            commands["fki compare, 100 runs"] = [*python, "-m", "fki", "compare", folder]
        rounds = [
            {name: cpu_seconds(command) for name, command in commands.items()}
            for _ in range(options.rounds)
        ]
    print(f"{describe_processor()}\n")
    print("| | seconds (least to most) |\n|---|---|")
    for name in commands:
        seconds = [row[name] for row in rounds]
        print(f"| {name} | {median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) |")


def _large_files(folder: str, names: list[str]) -> list[str]:
    """The files that a comparison does not read."""
    return [name for name in names if name in ("checkpoints", "samples.jsonl", "probes.jsonl")]


if __name__ == "__main__":
    main()
