"""A run folder, which describes its run completely and is created before the first step.

run.json       status, the resolved config with the origin of each value, digests, versions
config.toml    the config as a preset, to repeat the run
metrics.jsonl  one line for each optimizer step and each scored row
probes.jsonl   the probes
samples.jsonl  each prediction, by row and probe id
scores.json    the rows of the matrix R and their summary
outcomes.npz   the score of each prediction, for comparisons
report.html    the results as a page
checkpoints/   trainable weights and the state of the run
tracking/      files of `--track tensorboard`
"""

import json
import re
import shutil
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
    "reading_check",
    "tracked",
)
WITH_SETTINGS = ("config", "origins", "protocol")  # tables of run.json whose keys are settings


class Run:
    """A run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, output_dir: str, label: str) -> "Run":
        """Create a new folder: `output_dir`, or `runs/<label>-<time>`.

        Raises FkiError if `output_dir` is not empty or cannot be created.
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
            raise FkiError(
                f"The run folder {folder} cannot be created: {error.strerror}."
            ) from None
        if not is_empty:
            raise FkiError(
                f"output_dir must be new or empty; {folder} is not. fki does not delete files.",
                hint="Give another --output-dir, or leave it out for a new folder under runs/.",
            )
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Open an existing run. Raises DataError if the folder is not a run."""
        if not (folder / RUN).is_file():
            raise DataError(
                f"{folder} is not a run: {RUN} not found.", hint="Run: fki compare runs/"
            )
        return cls(folder)

    @property
    def info(self) -> dict[str, Any]:
        """The content of run.json, with settings under their present names.

        Raises DataError if it cannot be read or is malformed.
        """
        info = self.read(RUN)
        for key in TABLES:
            if not isinstance(info.get(key, {}), dict):
                raise DataError(f"{self.folder / RUN}: '{key}' must be an object.")
        renamed = {key: with_new_names(info[key]) for key in WITH_SETTINGS if key in info}
        return info | renamed

    def read(self, name: str) -> dict[str, Any]:
        """Read a JSON file of this run. Raises DataError if it cannot be read."""
        file = self.folder / name
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"{name} not found in {self.folder}.", hint="Was the run finished?"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"Cannot read {file}: {error}.") from None
        if not isinstance(value, dict):
            raise DataError(f"{file} must contain an object, not {type(value).__name__}.")
        return value

    def read_lines(self, name: str, containing: str = "") -> Iterator[dict[str, Any]]:
        """The objects of a JSON-lines file; only of lines that contain the given text.

        Raises DataError if the file cannot be read.
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
            raise DataError(f"Cannot read {file}: {error}.") from None

    def update(self, **values: Any) -> None:
        """Set keys of run.json."""
        before = self.info if has_run(self.folder) else {}
        write_json(self.folder / RUN, {**before, **values})


def has_run(folder: Path) -> bool:
    """Does the folder contain a run.json? An empty one, or one that is cut off, does not count."""
    try:
        content = (folder / RUN).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return (folder / RUN).is_file()
    return bool(content) and not (content.startswith("{") and not content.endswith("}"))


def is_unused(folder: Path) -> bool:
    """Is the folder empty, except for files of a process that started a run and ended at once?"""
    scratch = (LOCK, f".{RUN}.")
    return not has_run(folder) and all(
        file.name.startswith(scratch) or file.name == RUN for file in folder.iterdir()
    )


def remove_leftovers(run: Run) -> None:
    """Remove the unfinished files of a process that was killed; the caller holds the run's lock."""
    names = "|".join(map(re.escape, (RUN, CONFIG, PROBES, SCORES, REPORT)))
    for file in run.folder.iterdir():
        if re.fullmatch(rf"\.({names})\.(fki-[0-9a-f]{{8}}-)?\d+", file.name):
            file.unlink(missing_ok=True)
    for folder in (run.folder / CHECKPOINTS).glob(".*"):
        if re.fullmatch(r"\..+\.\d+", folder.name) and not folder.is_symlink():
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.unlink(missing_ok=True)


def _make_numbered(folder: Path) -> Path:
    """Create the folder; if it exists, one with a number appended."""
    for number in range(1, 1000):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            continue
        return candidate
    raise FileExistsError(17, "too many runs of this name", str(folder))


def find_runs(folder: Path) -> list[Run]:
    """The runs in a folder by name, or the folder itself if it is a run."""
    if (folder / RUN).is_file():
        return [Run(folder)]
    return [Run(f.parent) for f in sorted(folder.glob(f"*/{RUN}"))]
