"""Run the commands once, offline: download, train two methods on a T5 and one on a decoder, eval,
compare, export, ask.

    python scripts/demo.py [folder]

All files are written to a new folder: the given one, else `demo`, `demo-2` and so on.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path


def run(folder: Path, *arguments: str) -> None:
    """Print a command of fki and run it in the folder. Exits if it fails."""
    print(f"\n$ fki {shlex.join(arguments)}", flush=True)
    environment = os.environ | {"FKI_HOME": str(folder / "data"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run([sys.executable, "-m", "fki", *arguments], cwd=folder, env=environment)
    if result.returncode:
        sys.exit(result.returncode)


def main() -> None:
    """Run the commands from the start of the README."""
    names = sys.argv[1:2] or ["demo", *(f"demo-{n}" for n in range(2, 1000))]
    folder = next((f for name in names if not (f := Path(name).resolve()).exists()), None)
    if folder is None:
        sys.exit(f"{names[0]} already exists; give a new folder.")
    folder.mkdir(parents=True)
    run(folder, "download", "wiki")
    train = ("train", "--version", "quarter", "--output-dir")
    for method in ("prioritized", "recadam"):
        run(folder, *train, f"runs/{method}", "--preset", f"t5_{method}")
    run(folder, "eval", "runs/prioritized")
    run(folder, "compare", "runs/")
    run(folder, "export", "runs/prioritized", "--to", "hf", "--output", "out/")
    run(folder, "ask", "out/", "The head of government of France is ___.")
    decoder = ("--model", "llama-mini", "--method", "vanilla", "--set", "max_periods=2")
    run(folder, *train, "decoders/vanilla", *decoder)
    run(folder, "ask", "decoders/vanilla", "The head of government of France is ___.")
    print(f"\nAll files are in {folder}.")


if __name__ == "__main__":
    main()
