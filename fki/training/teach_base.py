"""Teach a model the base knowledge of a dataset before the stream, so that it has it to keep.

The taught model is an ordinary model folder beside the runs. Every method and seed starts from it:
it is trained once, by plain fine-tuning of all weights with a fixed seed, and found again by a
digest of the data, the model and the settings. teaching.json has its scores before and after.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fki
from fki.config.schema import Budget, Config
from fki.core.atomic_io import remove_stale_scratch, scratch_path, write_json
from fki.core.errors import DataError, FkiError
from fki.core.formatting import format_duration, format_number
from fki.core.paths import expand_path
from fki.core.types import Step
from fki.modeling import load
from fki.modeling.load import DEFAULT_RUNS
from fki.training import session
from fki.training.session import Session

RECORD = "teaching.json"
SEED = 0  # of the teaching, whatever the seed of the run
DIGITS = 8  # of the digest in the folder's name
SETTINGS = (  # that decide the taught weights
    *("num_train_epochs", "train_batch_size", "gradient_accumulation_steps", "learning_rate"),
    *("use_lr_scheduling", "optimizer", "weight_decay", "max_grad_norm", "mixed_precision"),
    *("prompt_format", "start_token", "loss_on", "input_length", "output_length", "wordings"),
    *("micro_batch_tokens", "pack_length"),
)
OnTeaching = Callable[[Session], Callable[[Step], None]]  # what receives the steps of a session


@dataclass(frozen=True, slots=True)
class TaughtBase:
    """A model that was taught the base knowledge."""

    folder: Path
    facts: int
    before: dict[str, float]  # exact match (%) by probe set to keep
    after: dict[str, float]
    seconds: float  # of training

    def describe(self) -> str:
        """What was taught, in a sentence."""
        scores = "; ".join(
            f"{name} {format_number(self.before[name])} to {format_number(self.after[name])} %"
            for name in self.after
        )
        scores = f", exact match on {scores}" if scores else ""
        return (
            f"The base knowledge was taught first: {self.facts:,} facts in "
            f"{format_duration(self.seconds)}{scores}. The model: {self.folder}"
        )


def teaching_config(config: Config) -> Config:
    """The settings of the teaching: plain fine-tuning of all weights on one period."""
    changes: dict[str, Any] = {
        "method": "vanilla",
        "replay": "none",
        "options": {},
        "freeze_level": 0,
        "seed": SEED,
        "coreset": "none",
        "repeat_num": 1,
        "reset": "none",
        "load_in": "fp32",
        "sharding": "none",  # the folder has whole weights
        "since": "",
        "max_periods": 0,
        "stream_share": 1.0,
        "stream_seconds": 0.0,
        "known_only": False,
        "probes": "",
        "ranked_sets": "",
        "shots": 0,
        "check_validation": False,
        "budget": Budget(),
        "teach_base": True,
    }
    return config.model_copy(update=changes)


def teach_base(config: Config, on_teaching: OnTeaching, parent: Path | None = None) -> TaughtBase:
    """Teach the base knowledge, or find the model that was taught it with these settings.

    Args:
        config: of the run, with `teach_base`.
        on_teaching: called before the teaching; what it returns receives each step.
        parent: the folder for the model; by default that of the run.
    Raises:
        DataError: the dataset has no base knowledge, or the taught model's folder is damaged.
        FkiError: the folder cannot be written.
    """
    ready = session.build_session(teaching_config(config))
    folder = (parent or _parent(config)) / f"{Path(config.model).name}-base-{_digest(ready)}"
    if not folder.exists():
        on_step = on_teaching(ready)
        _teach(ready, folder, on_step)
    ready.accelerator.wait_for_everyone()
    return _read(folder)


def _parent(config: Config) -> Path:
    """The folder of the runs."""
    return expand_path(config.output_dir).parent if config.output_dir else Path(DEFAULT_RUNS)


def _digest(ready: Session) -> str:
    settings = {key: getattr(ready.config, key) for key in SETTINGS}
    parts = [ready.stream.digest, ready.base_digest, ready.precision.name, settings]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _teach(ready: Session, folder: Path, on_step: Callable[[Step], None]) -> None:
    """Train on the base knowledge, and write the model at once when it is done."""
    [period] = ready.periods
    before, began = _score(ready), time.perf_counter()
    for step in ready.trainer.train_period(period):
        on_step(step)
    seconds = time.perf_counter() - began
    record = {
        "fki": fki.__version__,
        "model": ready.config.model,
        "dataset": {"name": ready.stream.name, "digest": ready.stream.digest},
        "settings": {key: getattr(ready.config, key) for key in SETTINGS},
        "facts": sum(1 for _ in period.facts),
        "before": before,
        "after": _score(ready),
        "seconds": seconds,
        "weights": load.weights_digest(ready.base.model),
    }
    if ready.is_main:
        _write(ready, folder, record)


def _score(ready: Session) -> dict[str, float]:
    """Exact match on the facts to keep, in percent."""
    scores = {}
    for cell in ready.schedule.row(0):
        answers = ready.evaluator.predict(ready.model, cell.probes)
        scores[cell.probe_set] = _percent(answer.em for answer in answers)
    return scores


def _percent(values: Iterable[float]) -> float:
    listed = list(values)
    return 100 * sum(listed) / len(listed)


def _write(ready: Session, folder: Path, record: dict[str, Any]) -> None:
    """Write the model's folder, whole or not at all."""
    remove_stale_scratch(folder)
    scratch = scratch_path(folder)
    try:
        scratch.mkdir(parents=True)
        ready.base.model.save_pretrained(scratch)
        ready.base.tokenizer.save_pretrained(scratch)
        write_json(scratch / RECORD, record)
        os.replace(scratch, folder)
    except OSError as error:
        raise FkiError(f"{folder} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read(folder: Path) -> TaughtBase:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return TaughtBase(
            folder, record["facts"], record["before"], record["after"], record["seconds"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{folder} is no taught model: {RECORD} is missing or damaged.",
            hint="Move the folder away, and run the same command again.",
        ) from None
