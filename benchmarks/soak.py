"""Kill runs with SIGKILL at random moments, resume them, and compare them with whole runs.

    python -m benchmarks.soak FOLDER [--kills 15] [--jobs 2] [--seed 0]

For each method: one uninterrupted run, and one that is killed `--kills` times and resumed by the
same command. Weights, answers and the rows of R must be bitwise equal. FOLDER contains the runs
afterwards, and their data: a part of the dataset `wiki`.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fki.core.paths import asset_folder
from fki.core.registry import BUILTIN

SETTINGS = {"num_train_epochs": 3, "save_every_steps": 5, "train_batch_size": 16}
ROWS = {"stream": 300, "base": 40, "invariant": 40}  # of each file of the dataset


@dataclass(frozen=True)
class Result:
    """The result for a method."""

    method: str
    kills: int
    starts: int
    is_equal: bool
    problem: str = ""


def write_data(folder: Path) -> None:
    """Write the first rows of each file of the embedded dataset."""
    folder.mkdir()
    (folder / "relations.json").write_bytes((asset_folder("wiki") / "relations.json").read_bytes())
    for name, rows in ROWS.items():
        lines = (
            (asset_folder("wiki") / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(True)
        )
        (folder / f"{name}.jsonl").write_text("".join(lines[:rows]), encoding="utf-8")


def train_command(method: str, folder: Path) -> list[str]:
    """The command that starts the run and resumes it."""
    sets = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    start = [sys.executable, "-m", "fki", "train", "--preset", f"t5_{method}", "--version", "month"]
    data = ["--dataset", str(folder.parent / "data")]
    return [*start, *data, *sets, "--output-dir", str(folder)]


def run_digests(folder: Path) -> dict[str, object]:
    """Digests of the results of a finished run."""
    newest = folder / "checkpoints" / (folder / "checkpoints" / "LATEST").read_text().strip()
    files = [newest / "weights.safetensors", folder / "samples.jsonl"]
    digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    return {**digests, "rows": json.loads((folder / "scores.json").read_text())["rows"]}


def soak_method(method: str, root: Path, kills: int, seed: int) -> Result:
    """Execute a whole run and a killed one, and compare their digests."""
    rng, environment = random.Random(f"{seed}|{method}"), os.environ | {"OMP_NUM_THREADS": "1"}
    whole, killed = root / f"{method}-whole", root / f"{method}-killed"
    started = time.monotonic()
    result = subprocess.run(
        train_command(method, whole), env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        return Result(method, 0, 1, False, result.stderr[-300:])
    longest, count, starts = time.monotonic() - started, 0, 0
    while True:
        starts += 1
        started = time.monotonic()
        process = subprocess.Popen(
            train_command(method, killed),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            # any moment of a run: imports, evaluation, training, saving
            wait = rng.uniform(0.1, 0.7) * longest if count < kills else None
            _, errors = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            count += 1
            continue
        if b"is done" in errors or process.returncode == 0:
            if count >= kills:
                return Result(method, count, starts, run_digests(killed) == run_digests(whole))
            longest = min(longest, time.monotonic() - started)
            killed.rename(root / f"{method}-killed-{starts}")  # finished too early: repeat
            if run_digests(root / f"{method}-killed-{starts}") != run_digests(whole):
                return Result(method, count, starts, False, "an earlier round differs")
            continue
        return Result(method, count, starts, False, errors.decode()[-300:])


def main() -> None:
    """Print a row for each method. Exits with 1 if a run differs or cannot be resumed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=15, help="of each method")
    parser.add_argument("--jobs", type=int, default=2, help="methods at a time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    write_data(options.folder / "data")
    with ThreadPoolExecutor(options.jobs) as pool:
        work = [
            pool.submit(soak_method, m, options.folder, options.kills, options.seed)
            for m in BUILTIN
        ]
        results = [job.result() for job in work]
    print("| method | kills | starts | ends as the whole run |\n|---|---|---|---|")
    for r in results:
        print(f"| {r.method} | {r.kills} | {r.starts} | {'yes' if r.is_equal else 'NO'} |")
        if r.problem:
            print(r.problem, file=sys.stderr)
    sys.exit(not all(r.is_equal for r in results))


if __name__ == "__main__":
    main()
