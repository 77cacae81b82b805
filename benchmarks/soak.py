"""Kill runs with SIGKILL at random moments until they are done, and compare them with whole ones.

    python -m benchmarks.soak FOLDER [--kills 15] [--jobs 2] [--seed 0]

For each method: one run that is left alone, and one that is killed `--kills` times and gone on with
by the same command. Weights, answers and the rows of R have to be equal to the last bit. FOLDER
holds the runs afterwards, and their data: a part of the dataset `wiki`.
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
ROWS = {"stream": 300, "base": 40, "invariant": 40}  # of the dataset's files


@dataclass(frozen=True)
class Result:
    """What became of one method."""

    method: str
    kills: int
    starts: int
    is_equal: bool
    problem: str = ""


def write_data(folder: Path) -> None:
    """The first rows of each file of the embedded dataset, in months."""
    folder.mkdir()
    (folder / "relations.json").write_bytes((asset_folder("wiki") / "relations.json").read_bytes())
    for name, rows in ROWS.items():
        lines = (
            (asset_folder("wiki") / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(True)
        )
        (folder / f"{name}.jsonl").write_text("".join(lines[:rows]), encoding="utf-8")


def command(method: str, folder: Path) -> list[str]:
    """The one command that begins the run, and that goes on with it."""
    sets = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    start = [sys.executable, "-m", "fki", "train", "--preset", f"t5_{method}", "--version", "month"]
    data = ["--dataset", str(folder.parent / "data")]
    return [*start, *data, *sets, "--output-dir", str(folder)]


def ending(folder: Path) -> dict[str, object]:
    """Digests of what a finished run leaves."""
    newest = folder / "checkpoints" / (folder / "checkpoints" / "LATEST").read_text().strip()
    files = [newest / "weights.safetensors", folder / "samples.jsonl"]
    digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    return {**digests, "rows": json.loads((folder / "scores.json").read_text())["rows"]}


def soak(method: str, root: Path, kills: int, seed: int) -> Result:
    """A whole run, a killed one, and whether they end alike."""
    rng, environment = random.Random(f"{seed}|{method}"), os.environ | {"OMP_NUM_THREADS": "1"}
    whole, killed = root / f"{method}-whole", root / f"{method}-killed"
    began = time.monotonic()
    done = subprocess.run(
        command(method, whole), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return Result(method, 0, 1, False, done.stderr[-300:])
    longest, count, starts = time.monotonic() - began, 0, 0
    while True:
        starts += 1
        began = time.monotonic()
        process = subprocess.Popen(
            command(method, killed), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            # anywhere in a whole run's time: imports, scoring, steps, saving
            wait = rng.uniform(0.1, 0.7) * longest if count < kills else None
            _, said = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            count += 1
            continue
        if b"is done" in said or process.returncode == 0:
            if count >= kills:
                return Result(method, count, starts, ending(killed) == ending(whole))
            longest = min(longest, time.monotonic() - began)
            killed.rename(root / f"{method}-killed-{starts}")  # done too soon: once more
            if ending(root / f"{method}-killed-{starts}") != ending(whole):
                return Result(method, count, starts, False, "an earlier round differs")
            continue
        return Result(method, count, starts, False, said.decode()[-300:])


def main() -> None:
    """Print a line for each method. Exits with 1 where a run differs or cannot be gone on with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=15, help="of each method")
    parser.add_argument("--jobs", type=int, default=2, help="methods at a time")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True)
    write_data(chosen.folder / "data")
    with ThreadPoolExecutor(chosen.jobs) as pool:
        work = [pool.submit(soak, m, chosen.folder, chosen.kills, chosen.seed) for m in BUILTIN]
        results = [job.result() for job in work]
    print("| method | kills | starts | ends as the whole run |\n|---|---|---|---|")
    for r in results:
        print(f"| {r.method} | {r.kills} | {r.starts} | {'yes' if r.is_equal else 'NO'} |")
        if r.problem:
            print(r.problem, file=sys.stderr)
    sys.exit(not all(r.is_equal for r in results))


if __name__ == "__main__":
    main()
