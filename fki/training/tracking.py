"""Trackers: send the contents of `metrics.jsonl` to tensorboard, wandb, trackio or mlflow too.

The trackers are Accelerate's. Their output goes to stderr, since stdout is for data. Only the main
process logs. A tracker that fails is dropped and the run continues. A resumed run logs no step
twice: steps after its checkpoint that were tracked before are the same the second time.
"""

import hashlib
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers
from accelerate.utils import LoggerType

from fki.config.schema import flatten, to_dict
from fki.core.errors import ConfigError, FkiError, did_you_mean
from fki.core.optional import describe_library_install
from fki.core.types import RowScored, Score, Step
from fki.evaluation.summary import pooled_mean
from fki.metrics.registry import ANSWER_METRICS
from fki.runs.resume import LogExtent
from fki.runs.run_dir import TRACKING
from fki.training.runner import Runner

PROJECT = "fki"  # project of wandb and trackio, experiment of mlflow
TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow")
TRACKED_SCORES = tuple(metric.key for metric in ANSWER_METRICS if not metric.per)
SECRET_WORDS = {"key", "token", "secret", "password", "passwd", "credential", "credentials", "auth"}
URL_USER = re.compile(r"(?<=://)[^/@\s]*@")  # user and password in a URL


def check_trackers(names: Sequence[str]) -> None:
    """Raises ConfigError for an unknown tracker, or for one whose package is not installed."""
    registered = [name for name in LOGGER_TYPE_TO_CLASS if name not in LoggerType.list()]
    for name in names:
        if name not in (*TRACKERS, *registered):
            raise ConfigError(
                f"--track must be {', '.join(TRACKERS[:-1])} or {TRACKERS[-1]}, not '{name}'."
                f"{did_you_mean(name, TRACKERS)}"
            )
        if name in TRACKERS and name not in map(str, get_available_trackers()):
            raise ConfigError(
                f"--track {name} needs the package {name}, which is not installed.",
                hint=describe_library_install(name),
            )


@dataclass
class Tracking:
    """The trackers of a run, and the extent that each has logged already."""

    runner: Runner
    trackers: list[GeneralTracker] = field(default_factory=list)
    seen: dict[str, LogExtent] = field(default_factory=dict)

    def start(self, names: Sequence[str]) -> None:
        """Start the trackers and store their ids in run.json, for a resumed run.

        Raises FkiError if a tracker does not start.
        """
        run, before = self.runner.run, self.runner.run.info.get("tracked", {})
        number = hashlib.sha256(f"{run.info['created']}|{run.folder.name}".encode()).hexdigest()[:8]
        ids = {name: before.get(name, {}).get("id", number) for name in names}
        config = redact_settings(flatten(to_dict(self.runner.session.config)))
        try:
            accelerator = Accelerator(log_with=list(names), project_dir=str(run.folder / TRACKING))
            accelerator.init_trackers(
                PROJECT, init_kwargs=_tracker_arguments(run.folder, ids, before)
            )
            self.trackers = accelerator.trackers
            for tracker in self.trackers:
                if tracker.name not in before:
                    tracker.store_init_configuration(config)
                if tracker.name == "mlflow":  # mlflow chooses its own ids
                    ids["mlflow"] = tracker.tracker.info.run_id
        except Exception as error:  # each tracker raises its own types
            raise FkiError(
                f"--track {', '.join(names)} does not start: {type(error).__name__}: {error}",
                hint="Without --track, the run logs into its own folder.",
            ) from error
        for name in names:
            known, logged = before.get(name), self.runner.logged
            steps = max(known["steps"], logged.steps) if known else 0
            rows = max(known["rows"], logged.rows) if known else 0
            self.seen[name] = LogExtent(steps, rows)
        states = {name: {"id": ids[name], **self.seen[name]._asdict()} for name in names}
        run.update(tracked=before | states)

    def log(self, event: Step | RowScored) -> list[str]:
        """Track a step or a scored row. Returns messages about trackers that failed."""
        steps, notes = self.runner.totals.steps, []
        values = step_values(event) if isinstance(event, Step) else row_values(event.scores)
        for tracker in [*self.trackers]:
            seen = self.seen[tracker.name]
            is_new = steps > seen.steps if isinstance(event, Step) else event.row >= seen.rows
            try:
                if is_new:
                    with redirect_stdout(sys.stderr):
                        tracker.log(values, step=steps)
            except Exception as error:
                self.trackers.remove(tracker)
                notes.append(f"{tracker.name} failed and is dropped: {error}")
        return notes

    def finish(self) -> None:
        """Close the trackers; Accelerate's `end_training` would also end the process group."""
        for tracker in self.trackers:
            with suppress(Exception), redirect_stdout(sys.stderr):
                tracker.finish()


@contextmanager
def track_run(runner: Runner, names: Sequence[str]) -> Iterator[Tracking]:
    """Within the context, the main process tracks the run with the named trackers.

    Raises FkiError, and marks the run as failed, if a tracker does not start.
    """
    tracking = Tracking(runner)
    if names and runner.session.is_main:
        try:
            with redirect_stdout(sys.stderr):
                tracking.start([*dict.fromkeys(names)])
        except FkiError as error:
            tracking.finish()
            runner.finish("failed", error=str(error))
            raise
    try:
        yield tracking
    finally:
        tracking.finish()


def _tracker_arguments(
    folder: Path, ids: Mapping[str, str], before: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The arguments with which each tracker continues its own run."""
    name = folder.resolve().name
    trackio = f"{name}-{ids.get('trackio', '')}"  # trackio identifies runs by name
    return {
        "wandb": {"name": name, "id": ids.get("wandb"), "resume": "allow", "dir": str(folder)},
        "trackio": {"name": trackio, "resume": "allow"},
        "mlflow": {"run_name": name} | ({"run_id": ids["mlflow"]} if "mlflow" in before else {}),
    }


def redact_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for trackers, without private data.

    Removes settings named like a secret, users in URLs, and the directories of paths.
    """
    return {
        key: _redact_value(value)
        for key, value in settings.items()
        if not SECRET_WORDS & set(re.split(r"[._]", key.lower()))
    }


def _redact_value(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(str(_redact_value(part)) for part in value)
    if isinstance(value, str):
        plain = URL_USER.sub("", value)
        is_place = plain.startswith(("~", ".")) or Path(plain).is_absolute()
        return Path(plain).name if is_place else plain
    return value


def step_values(step: Step) -> dict[str, float]:
    """The tracked values of an optimizer step, without NaN and infinity."""
    values = {
        "train/loss": step.loss,
        "train/learning_rate": step.learning_rate,
        "train/grad_norm": step.grad_norm,
        "train/examples_per_second": step.examples / max(step.seconds, 1e-9),
    }
    return {name: value for name, value in values.items() if math.isfinite(value)}


def row_values(scores: Sequence[Score]) -> dict[str, float]:
    """The mean scores of each probe set over all its probes in a row."""
    names = dict.fromkeys(score.probe_set for score in scores)
    means = {
        f"{name}/{field}": pooled_mean(scores, [name], field=field)
        for name in names
        for field in TRACKED_SCORES
    }
    return {name: value for name, value in means.items() if value is not None}
