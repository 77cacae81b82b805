"""Many runs of `fki train`, a few at a time, and what they scored; what is done is kept."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fki.core.types import Score
from fki.evaluation.summary import Row, summarize_scores


@dataclass(frozen=True)
class Cell:
    """One run: where it goes, and what makes it."""

    folder: Path
    options: tuple[str, ...]  # of `fki train`

    @property
    def is_done(self) -> bool:
        """Has it run to its end?"""
        file = self.folder / "run.json"
        return file.is_file() and json.loads(file.read_text())["status"] == "done"


def run_all(cells: Sequence[Cell], jobs: int) -> None:
    """Run what is not done yet, `jobs` at a time, each on its share of the processor's cores."""
    left = [cell for cell in cells if not cell.is_done]
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    with ThreadPoolExecutor(jobs) as pool:
        for n, cell in enumerate(pool.map(lambda c: _run(c, threads), left), 1):
            print(f"[{n}/{len(left)}] {cell.folder}", file=sys.stderr, flush=True)


def _run(cell: Cell, threads: str) -> Cell:
    if cell.folder.exists():
        shutil.rmtree(cell.folder)  # a run of ours that was cut off
    command = [sys.executable, "-m", "fki", "train", *cell.options]
    done = subprocess.run(
        [*command, "--output-dir", str(cell.folder)],
        env=os.environ | {"OMP_NUM_THREADS": threads},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return cell


def scored(cell: Cell, since: str = "") -> dict[str, Any]:
    """The run's summary over the phases from `since` on, its cost and its parameters.

    "Before" is the untouched model in any case; what a period gained counts from the row before it.
    """
    rows = [
        (row["after"], [Score(**score) for score in row["scores"]])
        for row in json.loads((cell.folder / "scores.json").read_text())["rows"]
    ]
    columns = [after for after, _ in rows[1:]]
    first = next((i for i, name in enumerate(columns) if name >= since), 0)
    info = json.loads((cell.folder / "run.json").read_text())
    found = _from(rows, columns, first)
    return {**found, "spent": info["spent"], "parameters": info["parameters"]}


def _from(rows: list[Row], columns: list[str], first: int) -> dict[str, Any]:
    whole = summarize_scores([rows[0], *rows[first + 1 :]], columns[first:])
    if first:
        gains = summarize_scores(rows[first:], columns[first:])
        whole |= {key: gains[key] for key in ("learning_gain", "bwt", "fwt", "forgetting")}
    return whole
