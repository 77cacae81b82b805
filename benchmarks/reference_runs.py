"""Train each method briefly from a fixed seed and record digests of its results.

    python -m benchmarks.reference_runs [--output digests.json] [--expected digests.json]

Two versions of fki compute the same results if their digests are equal. The script only uses the
command line, so it runs any version: `--package-path` is a checkout with the package. Digests:

weights   name and bytes of every tensor of the newest checkpoint, sorted by name
answers   every line of samples.jsonl in order, with sorted fields
scores    the rows of the matrix R, from scores.json

Digests depend on the CPU, the number of threads and the versions of the libraries: compare runs on
the same machine, in the same environment, with the same `--threads`. All seven methods take about
three minutes on one core.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

METHODS = ("vanilla", "kadapter_2", "kadapter_3", "lora", "mixreview", "modular", "recadam")
DIGESTS = ("weights", "answers", "scores")
OPTIONS = ("--version", "quarter", "--seed", "0")
SETTINGS = ("max_periods=2", "num_train_epochs=2")
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
SHOWN = 16  # hexadecimal digits of a digest that the table shows


def environment(home: Path, package_path: Path | None, threads: int) -> dict[str, str]:
    """Environment variables: a fixed number of threads, and none of the user's settings."""
    variables = {n: value for n, value in os.environ.items() if not n.startswith("FKI_")}
    variables |= {"FKI_HOME": str(home), "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    if package_path:
        variables["PYTHONPATH"] = str(package_path.resolve())
    return variables


def run(command: list[str], folder: Path, variables: Mapping[str, str]) -> str:
    """Run a command in a folder. Returns its output; exits if the command fails."""
    result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout


def train_command(python: str, method: str, folder: Path) -> list[str]:
    """The command that trains a method with its preset."""
    command = [python, "-m", "fki", "train", "--preset", f"t5_{method}", *OPTIONS]
    for setting in SETTINGS:
        command += ["--set", setting]
    return [*command, "--output-dir", str(folder)]


def weights_digest(run_folder: Path) -> str:
    """Hash the tensors of the newest checkpoint."""
    checkpoints = run_folder / "checkpoints"
    newest = (checkpoints / "LATEST").read_text(encoding="utf-8").strip()
    total = hashlib.sha256()
    for name, tensor in sorted(load_file(checkpoints / newest / "weights.safetensors").items()):
        total.update(name.encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def answers_digest(run_folder: Path) -> str:
    """Hash all answers, in the order of the file."""
    total = hashlib.sha256()
    with (run_folder / "samples.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            total.update(canonical(json.loads(line)) + b"\n")
    return total.hexdigest()


def scores_digest(run_folder: Path) -> str:
    """Hash the rows of the matrix R."""
    scores = json.loads((run_folder / "scores.json").read_text(encoding="utf-8"))
    return hashlib.sha256(canonical(scores["rows"])).hexdigest()


def canonical(value: Any) -> bytes:
    """Encode a value as JSON in a canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def digests(run_folder: Path) -> dict[str, str]:
    """The three digests of a finished run."""
    return {
        "weights": weights_digest(run_folder),
        "answers": answers_digest(run_folder),
        "scores": scores_digest(run_folder),
    }


def find_differences(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """The digests that differ from the expected ones, or are missing there."""
    return [
        f"{method}: {kind}"
        for method, values in actual.items()
        for kind in DIGESTS
        if values[kind] != expected.get(method, {}).get(kind)
    ]


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter for fki")
    parser.add_argument("--package-path", type=Path, help="checkout with the package fki")
    parser.add_argument("--output", type=Path, help="JSON file for the digests")
    parser.add_argument("--expected", type=Path, help="earlier output to compare with")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--threads", type=int, default=1, help="threads of each run")
    return parser.parse_args()


def main() -> None:
    """Train all methods, print the digests and compare them with the expected ones."""
    options = parse_options()
    results: dict[str, dict[str, Any]] = {}
    print(f"| method | {' | '.join(DIGESTS)} | seconds |\n|{'---|' * (len(DIGESTS) + 2)}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        variables = environment(folder / "home", options.package_path, options.threads)
        where = [options.python, "-c", "import fki; print(fki.__version__, fki.__file__)"]
        print(f"fki {run(where, folder, variables).strip()}", file=sys.stderr)
        run([options.python, "-m", "fki", "download", "wiki"], folder, variables)
        for method in options.methods:
            started = time.perf_counter()
            run(train_command(options.python, method, folder / method), folder, variables)
            seconds = time.perf_counter() - started
            results[method] = digests(folder / method)
            short = [results[method][kind][:SHOWN] for kind in DIGESTS]
            print(f"| {method} | {' | '.join(short)} | {seconds:.0f} |", flush=True)
    report = {
        "options": [*OPTIONS, *SETTINGS],
        "threads": options.threads,
        "machine": platform.machine(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "digests": results,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    if options.expected:
        expected = json.loads(options.expected.read_text(encoding="utf-8"))["digests"]
        if changed := find_differences(results, expected):
            sys.exit("These digests differ: " + ", ".join(changed))
        print("All digests are as expected.", file=sys.stderr)


if __name__ == "__main__":
    main()
