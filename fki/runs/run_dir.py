"""A run is a folder that explains itself, written before the first step.

run.json       status, the resolved config and where each value came from, digests, versions
config.toml    the config again, to run again
metrics.jsonl  one object a line: every optimizer step and every scored row
probes.jsonl   the questions, once; samples.jsonl: each answer, by probe id and row
scores.json    the rows of the matrix R, and what follows from them
outcomes.npz   which questions were answered right, for comparisons
report.html    all of it as a page
checkpoints/   the weights that train, after a scored phase
tracking/      what `--track tensorboard` writes
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from fki.config.renamed_settings import with_new_names
from fki.core.atomic_io import write_json
from fki.core.errors import DataError, FkiError
from fki.core.paths import expand_path

RUN, CONFIG, METRICS = "run.json", "config.toml", "metrics.jsonl"
PROBES, SAMPLES, SCORES = "probes.jsonl", "samples.jsonl", "scores.json"
OUTCOMES, REPORT = "outcomes.npz", "report.html"
CHECKPOINTS, TRACKING, LOCK = "checkpoints", "tracking", ".lock"
TABLES = (  # of run.json
    "config",
    "dataset",
    "model",
    "parameters",
    "protocol",
    "spent",
    "holder",
    "tracked",
)
WITH_SETTINGS = ("config", "origins", "protocol")  # tables of run.json whose keys are settings


class Run:
    """A run folder, to write or to read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, output_dir: str, label: str) -> "Run":
        """A new folder: `output_dir`, or `runs/<label>-<time>`. Nothing existing is touched.

        Raises FkiError where `output_dir` is there and not empty, or cannot be made.
        """
        stamp = datetime.now().strftime("%m%d-%H%M%S")
        folder = expand_path(output_dir) if output_dir else Path("runs") / f"{label}-{stamp}"
        try:
            if output_dir:
                folder.mkdir(parents=True, exist_ok=True)
            else:
                folder = _make_numbered(folder)
            is_empty = is_unused(folder)
        except OSError as error:
            raise FkiError(f"The run folder {folder} cannot be made: {error.strerror}.") from None
        if not is_empty:
            raise FkiError(
                f"output_dir must be new or empty, and {folder} holds files. fki deletes nothing.",
                hint="Give another --output-dir, or leave it out for a new folder under runs/.",
            )
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run. Raises DataError where the folder is none."""
        if not (folder / RUN).is_file():
            raise DataError(
                f"{folder} is not a run: it has no {RUN}.", hint="Run: fki compare runs/"
            )
        return cls(folder)

    @property
    def info(self) -> dict[str, Any]:
        """The content of run.json, with settings under their present names.

        Raises DataError where it cannot be read or is not a run's.
        """
        info = self.read(RUN)
        for key in TABLES:
            if not isinstance(info.get(key, {}), dict):
                raise DataError(f"{self.folder / RUN}: '{key}' must be an object.")
        renamed = {key: with_new_names(info[key]) for key in WITH_SETTINGS if key in info}
        return info | renamed

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of this run as a dict. Raises DataError where it cannot be read."""
        file = self.folder / name
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{self.folder} has no {name}.", hint="Was the run finished?") from None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{file} cannot be read: {error}.") from None
        if not isinstance(value, dict):
            raise DataError(f"{file} must hold an object, not {type(value).__name__}.")
        return value

    def read_lines(self, name: str, containing: str = "") -> Iterator[dict[str, Any]]:
        """The objects of a JSON-lines file, of the lines that contain a text.

        Raises DataError where it cannot be read.
        """
        file = self.folder / name
        try:
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    if containing not in line:
                        continue
                    value = json.loads(line)
                    if not isinstance(value, dict):
                        raise ValueError(f"line {number} is not an object")
                    yield value
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{file} cannot be read: {error}.") from None

    def update(self, **values: Any) -> None:
        """Set keys of run.json."""
        file = self.folder / RUN
        write_json(file, {**(self.info if file.exists() else {}), **values})


def is_unused(folder: Path) -> bool:
    """Does a folder hold nothing, but for what a process puts there that is about to begin?"""
    return all(file.name.startswith((LOCK, f".{RUN}.")) for file in folder.iterdir())


def _make_numbered(folder: Path) -> Path:
    """The folder, or with a number behind it where there is one already."""
    for number in range(1, 1000):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            continue
        return candidate
    raise FileExistsError(17, "too many runs of this name", str(folder))


def find_runs(folder: Path) -> list[Run]:
    """The runs in a folder, or the folder itself where it is one; by name."""
    if (folder / RUN).is_file():
        return [Run(folder)]
    return [Run(f.parent) for f in sorted(folder.glob(f"*/{RUN}"))]
