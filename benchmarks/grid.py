"""Execute many runs of `fki train`, a few at a time, and read their scores; done runs are kept."""

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
class GridRun:
    """A run: its folder and its options."""

    folder: Path
    options: tuple[str, ...]  # of `fki train`

    @property
    def is_done(self) -> bool:
        """Whether the run is finished."""
        file = self.folder / "run.json"
        return file.is_file() and json.loads(file.read_text())["status"] == "done"


def run_all(runs: Sequence[GridRun], jobs: int) -> None:
    """Execute the unfinished runs, `jobs` at a time, each with its share of the CPU cores."""
    left = [run for run in runs if not run.is_done]
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    with ThreadPoolExecutor(jobs) as pool:
        for n, run in enumerate(pool.map(lambda run: _execute(run, threads), left), 1):
            print(f"[{n}/{len(left)}] {run.folder}", file=sys.stderr, flush=True)


def _execute(run: GridRun, threads: str) -> GridRun:
    if run.folder.exists():
        shutil.rmtree(run.folder)  # a run that was interrupted
    command = [sys.executable, "-m", "fki", "train", *run.options]
    result = subprocess.run(
        [*command, "--output-dir", str(run.folder)],
        env=os.environ | {"OMP_NUM_THREADS": threads},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stderr}")
    return run


def load_scores(run: GridRun, since: str = "") -> dict[str, Any]:
    """Load a run's summary over the phases from `since` on, its cost and its parameters.

    "Before" is always the untouched model; the gain of a period is relative to the row before it.
    """
    rows = [
        (row["after"], [Score(**score) for score in row["scores"]])
        for row in json.loads((run.folder / "scores.json").read_text())["rows"]
    ]
    columns = [after for after, _ in rows[1:]]
    first = next((i for i, name in enumerate(columns) if name >= since), 0)
    manifest = json.loads((run.folder / "run.json").read_text())
    summary = _summarize_from(rows, columns, first)
    return {**summary, "spent": manifest["spent"], "parameters": manifest["parameters"]}


def _summarize_from(rows: list[Row], columns: list[str], first: int) -> dict[str, Any]:
    whole = summarize_scores([rows[0], *rows[first + 1 :]], columns[first:])
    if first:
        gains = summarize_scores(rows[first:], columns[first:])
        whole |= {key: gains[key] for key in ("learning_gain", "bwt", "fwt", "forgetting")}
    return whole
