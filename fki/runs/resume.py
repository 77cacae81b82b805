"""Going on with a run that stopped: which one, from which checkpoint, with which logs.

A run goes on from its newest checkpoint that verifies, or from its beginning where there is none.
What was logged behind that point is cut off, so that the finished run is the one that was never
stopped.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fki.config.schema import Config, flatten, location_settings, to_dict
from fki.core.errors import ConfigError, DataError
from fki.core.types import Score, Step
from fki.runs.run_dir import CHECKPOINTS, METRICS, PROBES, RUN, SAMPLES, Run, find_runs

LOGS = (METRICS, SAMPLES)


@dataclass(slots=True)
class RunTotals:
    """What was spent so far."""

    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    tokens: int = 0  # trained on, over all epochs
    stream_tokens: int = 0  # of the periods learned so far, once: what KAR counts
    steps: int = 0
    examples: int = 0
    flops: float = 0.0  # floating-point operations of training, estimated

    def add(self, step: Step) -> None:
        """Count one optimizer step."""
        self.train_seconds += step.seconds
        self.tokens += step.tokens
        self.examples += step.examples
        self.flops += step.flops
        self.steps += 1


@dataclass(slots=True)
class RunPosition:
    """What has been done: `phase` phases trained and scored (row 0 is phase 0), then, of the next
    one, `period` periods and `step` optimizer steps of the one after, which took `seconds`. -1:
    nothing."""

    phase: int = -1
    period: int = 0
    step: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class RunState:
    """Where a run is, and what it has scored."""

    position: RunPosition = field(default_factory=RunPosition)
    totals: RunTotals = field(default_factory=RunTotals)
    rows: list[tuple[str, list[Score]]] = field(default_factory=list)

    def as_dict(self, run: Run) -> dict[str, Any]:
        """As a checkpoint keeps it, with the length of each log."""
        sizes = {name: file_size(run.folder / name) for name in LOGS}
        return {
            "position": asdict(self.position),
            "clock": asdict(self.totals),
            "rows": [[after, [asdict(score) for score in row]] for after, row in self.rows],
            "sizes": sizes,
        }


def file_size(file: Path) -> int:
    """Bytes, 0 where there is no file."""
    return file.stat().st_size if file.exists() else 0


def find_unfinished_run(config: Config) -> Run | None:
    """The run that the same command began and did not finish, in `output_dir` or else in runs/.

    Raises ConfigError where `output_dir` holds a run with other settings.
    """
    if not config.output_dir:
        runs = find_runs(Path("runs"))
        same = [run for run in runs if not differing_settings(run, config) and not is_done(run)]
        return max(same, key=lambda run: str(run.info.get("created", "")), default=None)
    folder = Path(os.path.expanduser(config.output_dir))
    if not (folder / RUN).is_file():
        return None
    run = Run(folder)
    if keys := differing_settings(run, config):
        raise ConfigError(
            f"{folder} holds a run with other settings: {', '.join(keys)}.",
            hint="Give another --output-dir, or the settings that it was begun with.",
        )
    return run


def is_done(run: Run) -> bool:
    """Has it run to its end?"""
    return run.info.get("status") == "done"


def differing_settings(run: Run, config: Config) -> list[str]:
    """The settings in which a run differs from a config, its locations left out."""
    try:
        theirs = run.info.get("config")
    except DataError:
        theirs = None
    if not isinstance(theirs, dict):
        return ["all"]
    ours = flatten(to_dict(config))
    stated = flatten(theirs)
    keys = [key for key in {**ours, **stated} if key not in location_settings()]
    return [key for key in keys if ours.get(key) != stated.get(key)]


def check_unchanged(run: Run, dataset: str, model: str) -> None:
    """Raises DataError where data or base model are no longer those that the run began with."""
    for what, now in (("dataset", dataset), ("model", model)):
        before = run.info.get(what, {}).get("digest")
        if before != now:
            raise DataError(
                f"The {what} of {run.folder} has changed since the run began: its digest must be "
                f"{before}, it is {now}.",
                hint=f"Give the {what} back its old content, or begin a new run.",
            )


def check_no_links(run: Run) -> None:
    """Raises DataError where a file that would be written is a link to somewhere else."""
    for file in (run.folder / name for name in (*LOGS, PROBES, RUN, CHECKPOINTS)):
        if file.is_symlink():
            raise DataError(f"{file} is a link, and fki writes into the run's own folder only.")


def parse_state(content: Mapping[str, Any]) -> tuple[RunState, dict[str, int]]:
    """The state that a checkpoint kept, and the lengths of the logs.

    Raises DataError where it is not as fki writes it.
    """
    try:
        state = RunState(
            RunPosition(**content["position"]),
            RunTotals(**content["clock"]),
            [(str(after), [Score(**score) for score in row]) for after, row in content["rows"]],
        )
        return state, {name: int(content["sizes"][name]) for name in LOGS}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"A checkpoint's state is not as fki writes it: {error!r}.") from None


class LogExtent(NamedTuple):
    """How far a run's log goes: optimizer steps, and scored rows."""

    steps: int = 0
    rows: int = 0


def read_log_extent(run: Run) -> LogExtent:
    """How far metrics.jsonl goes, up to a line that a kill left unfinished."""
    steps, rows = 0, set()
    with suppress(FileNotFoundError, ValueError), (run.folder / METRICS).open("rb") as lines:
        for found in map(json.loads, lines):
            steps = max(steps, found.get("step", 0))
            rows |= {found["after"]} if "after" in found else set()
    return LogExtent(steps, len(rows))


def truncate_logs(run: Run, sizes: Mapping[str, int]) -> None:
    """Cut the logs to these lengths. Raises DataError where one is shorter."""
    for name in LOGS:
        file, size = run.folder / name, sizes.get(name, 0)
        if file_size(file) < size:
            raise DataError(f"{file} is shorter than when the checkpoint was written.")
        if file.exists():
            os.truncate(file, size)
