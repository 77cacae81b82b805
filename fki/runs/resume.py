"""Resume a run: find it, read its state, and truncate its logs to that state.

A run resumes from its newest valid checkpoint, or from the beginning if it has none. Log entries
after that point are removed, so that a resumed run ends with the same files as an uninterrupted
one.
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
from fki.core.types import Score, Step, Stream
from fki.runs.run_dir import (
    CHECKPOINTS,
    METRICS,
    PROBES,
    RUN,
    SAMPLES,
    Run,
    find_runs,
    has_run,
    is_unused,
)

LOGS = (METRICS, SAMPLES)


@dataclass(slots=True)
class RunTotals:
    """Costs of a run so far."""

    train_seconds: float = 0.0  # of the optimizer loop, or of a method's indexing
    eval_seconds: float = 0.0
    question_tokens: int = 0  # input tokens of all questions in evaluation
    tokens: int = 0  # of training, over all epochs
    stream_tokens: int = 0  # of the trained periods, each counted once, for KAR
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
    """The completed part of a run."""

    phase: int = -1  # the last evaluated row of R; -1: none
    period: int = 0  # trained periods of the next phase
    step: int = 0  # optimizer steps of the next period
    seconds: float = 0.0  # that these steps took
    tokens: int = 0  # of these steps
    flops: float = 0.0  # of these steps

    def begin_period(self) -> None:
        """No step of the next period is done yet."""
        self.step, self.seconds, self.tokens, self.flops = 0, 0.0, 0, 0.0


@dataclass(slots=True)
class RunState:
    """The state of a run, without weights and optimizer."""

    position: RunPosition = field(default_factory=RunPosition)
    totals: RunTotals = field(default_factory=RunTotals)
    rows: list[tuple[str, list[Score]]] = field(default_factory=list)

    def as_dict(self, run: Run) -> dict[str, Any]:
        """The state as a checkpoint stores it, with the length of each log."""
        sizes = {name: file_size(run.folder / name) for name in LOGS}
        return {
            "position": asdict(self.position),
            "clock": asdict(self.totals),
            "rows": [[after, [asdict(score) for score in row]] for after, row in self.rows],
            "sizes": sizes,
        }


def file_size(file: Path) -> int:
    """Bytes; 0 for a missing file."""
    return file.stat().st_size if file.exists() else 0


def find_run(config: Config) -> Run | None:
    """The run with these settings: in `output_dir`, or else the newest under runs/.

    Under runs/, unfinished runs come before those that are done. A folder that a process was
    killed in before it wrote run.json contains no run.

    Raises:
        ConfigError: the run in `output_dir` has other settings.
        DataError: its run.json is cut off, although it has further files.
    """
    if not config.output_dir:
        same = [run for run in find_runs(Path("runs")) if not differing_settings(run, config)]
        same.sort(key=lambda run: (not is_done(run), str(run.info.get("created", ""))))
        return same[-1] if same else None
    folder = Path(os.path.expanduser(config.output_dir))
    if not (folder / RUN).is_file():
        return None
    if not has_run(folder):
        if is_unused(folder):
            return None
        raise DataError(
            f"{folder / RUN} is cut off.", hint="Give another --output-dir, or move that folder."
        )
    run = Run(folder)
    if keys := differing_settings(run, config):
        raise ConfigError(
            f"{folder} contains a run with other settings: {', '.join(keys)}.",
            hint="Give another --output-dir, or the settings of that run.",
        )
    return run


def recorded_precision(config: Config, *, allow_resume: bool) -> str:
    """The precision in which the run to resume was trained so far: "no", "bf16", or "" for none."""
    return str(_recorded_environment(config, allow_resume=allow_resume).get("precision", ""))


def recorded_stream(config: Config, *, allow_resume: bool) -> tuple[float, float] | None:
    """The measured share of each period's rows and the seconds of a whole period, of the run to
    resume; None if there is none."""
    environment = _recorded_environment(config, allow_resume=allow_resume)
    measured = environment.get("stream_share"), environment.get("period_seconds")
    share, seconds = (float(v) if isinstance(v, int | float) else 0.0 for v in measured)
    return (share, seconds) if 0 < share <= 1 and seconds > 0 else None


def _recorded_environment(config: Config, *, allow_resume: bool) -> Mapping[str, Any]:
    """The environment of the run to resume; empty if there is none."""
    run = find_run(config) if allow_resume or config.output_dir else None
    environment = run.info.get("environment") if run else None
    return environment if isinstance(environment, dict) else {}


def is_done(run: Run) -> bool:
    """Is the run done?"""
    return run.info.get("status") == "done"


def differing_settings(run: Run, config: Config) -> list[str]:
    """The names of settings that differ between a run and a config, without locations."""
    try:
        stored = run.info.get("config")
    except DataError:
        stored = None
    if not isinstance(stored, dict):
        return ["all"]
    current = flatten(to_dict(config))
    # a setting that the run's version of fki did not have yet had the effect of its default
    before = flatten(Config().model_dump(exclude={"options"})) | flatten(stored)
    keys = [key for key in {**current, **before} if key not in location_settings()]
    return [key for key in keys if current.get(key) != before.get(key)]


def check_unchanged(run: Run, stream: Stream, model: str) -> None:
    """Raises DataError if the dataset, a further probe set or the base model has changed since the
    run started."""
    dataset = run.info.get("dataset", {})
    digests = {
        "dataset": (dataset.get("digest"), stream.digest),
        "model": (run.info.get("model", {}).get("digest"), model),
        **{p: (dataset.get("probes", {}).get(p), now) for p, now in stream.further.items()},
    }
    for name, (before, digest) in digests.items():
        if before != digest:
            raise DataError(
                f"The {name} of {run.folder} has changed since the run started: its digest was "
                f"{before} and is now {digest}.",
                hint=f"Restore the {name}, or start a new run.",
            )


def check_no_links(run: Run) -> None:
    """Raises DataError if a file to be written is a symbolic link."""
    for file in (run.folder / name for name in (*LOGS, PROBES, RUN, CHECKPOINTS)):
        if file.is_symlink():
            raise DataError(f"{file} is a link; fki writes only into the run's own folder.")


def parse_state(content: Mapping[str, Any]) -> tuple[RunState, dict[str, int]]:
    """Parse a checkpoint's state. Returns the state and the length of each log.

    Raises DataError if the content is malformed.
    """
    try:
        state = RunState(
            RunPosition(**content["position"]),
            RunTotals(**content["clock"]),
            [(str(after), [Score(**score) for score in row]) for after, row in content["rows"]],
        )
        return state, {name: int(content["sizes"][name]) for name in LOGS}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The state of a checkpoint is malformed: {error!r}.") from None


class LogExtent(NamedTuple):
    """The number of optimizer steps and scored rows in a run's log."""

    steps: int = 0
    rows: int = 0


def read_log_extent(run: Run) -> LogExtent:
    """Read the extent of metrics.jsonl, up to an incomplete or malformed line."""
    steps, rows = 0, set()
    malformed = (ValueError, TypeError, AttributeError)
    with suppress(FileNotFoundError, *malformed), (run.folder / METRICS).open("rb") as lines:
        for entry in map(json.loads, lines):
            steps = max(steps, entry.get("step", 0))
            rows |= {entry["after"]} if "after" in entry else set()
    return LogExtent(steps, len(rows))


def truncate_logs(run: Run, sizes: Mapping[str, int]) -> None:
    """Truncate the logs to these lengths, in bytes. Raises DataError if a log is shorter."""
    for name in LOGS:
        file, size = run.folder / name, sizes.get(name, 0)
        if file_size(file) < size:
            raise DataError(f"{file} is shorter than at the time of the checkpoint.")
        if file.exists():
            os.truncate(file, size)
