"""One whole run: score, then for each phase learn, checkpoint and score; all of it on disk."""

import platform
import sys
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fki import __version__
from fki.core.config import as_dict, to_toml
from fki.core.errors import Interrupted
from fki.core.resolve import Resolved
from fki.core.store import (
    CONFIG,
    METRICS,
    PROBES,
    SAMPLES,
    SCORES,
    Run,
    append_lines,
    write_json,
    write_text,
)
from fki.core.types import Score, Step
from fki.engine import checkpoint, models, output_log
from fki.engine.evaluator import mean_score
from fki.engine.session import Session
from fki.engine.summary import summary

PACKAGES = ("torch", "transformers", "accelerate", "peft", "tokenizers", "safetensors")


@dataclass(frozen=True, slots=True)
class Scored:
    """A row of the matrix R has been scored."""

    after: str  # "base" or a phase
    row: int
    rows: int
    scores: list[Score]
    seconds: float


@dataclass(slots=True)
class Clock:
    """Time and tokens spent so far."""

    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    tokens: int = 0  # trained on, over all epochs
    stream_tokens: int = 0  # of the periods learned so far, once: what KAR counts
    steps: int = 0
    examples: int = 0


@dataclass(slots=True)
class Runner:
    """Carries a session through its phases and writes the run folder; only one process writes."""

    session: Session
    run: Run
    rows: list[tuple[str, list[Score]]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    @classmethod
    def begin(cls, session: Session, resolved: Resolved) -> "Runner":
        """Make the run folder and write all that is known before the first step.

        Raises FkiError, before anything is written, where output_dir or output_log is taken.
        """
        config = resolved.config
        output_log.check(config.output_log)
        if not session.is_main:
            return cls(session, Run(Path(config.output_dir)))
        label = f"{config.method}-{config.dataset_version}-s{config.seed}"
        runner = cls(session, Run.create(config.output_dir, label))
        runner.start(resolved)
        return runner

    def start(self, resolved: Resolved) -> None:
        """Write run.json, config.toml and probes.jsonl."""
        write_text(self.run.folder / CONFIG, to_toml(resolved.config))
        probes = {
            (cell.probe_set, p.id): {"probe_set": cell.probe_set, **asdict(p)}
            for cell in self.session.questions.cells
            for p in cell.probes
        }
        append_lines(self.run.folder / PROBES, probes.values())
        self.run.update(**describe(self.session, resolved), status="running")

    def events(self) -> Generator[Step | Scored, None, None]:
        """Run everything, yielding each step and each scored row.

        The run is marked done, failed or interrupted, whatever ends it.
        """
        try:
            yield from self._events()
        except (KeyboardInterrupt, GeneratorExit) as stop:
            self._finish("interrupted")
            if isinstance(stop, GeneratorExit):
                raise
            raise self.interrupted() from None
        except BaseException as error:
            self._finish("failed", error=f"{type(error).__name__}: {error}")
            raise
        self._finish("done")
        if self.session.is_main:
            output_log.write(self.session.config.output_log, self.scores()["rows"])

    def _events(self) -> Generator[Step | Scored, None, None]:
        yield self._score(0)
        if self.session.config.check_validation:
            return
        for t, phase in enumerate(self.session.phases, 1):
            for period in phase.periods:
                for step in self.session.trainer.learn(period):
                    self._log(step)
                    yield step
                self.clock.stream_tokens += self.session.encoder.tokens(period.examples)
            if self.session.is_main:
                checkpoint.save(
                    self.run.folder,
                    phase.name,
                    self.session.model,
                    order=t,
                    keep_last=self.session.config.keep_last,
                )
            yield self._score(t)

    def _score(self, t: int) -> Scored:
        """Ask row t's questions; keep every prediction."""
        began = time.perf_counter()
        after, scores, samples = self.session.questions.row_name(t), [], []
        for cell in self.session.questions.row(t):
            predictions = self.session.evaluator.predict(self.session.model, cell.probes)
            scores.append(mean_score(cell.probe_set, cell.column, predictions, lasts=cell.lasts))
            samples += [
                {"after": after, "probe_set": cell.probe_set, **asdict(p)} for p in predictions
            ]
        self.rows.append((after, scores))
        seconds = time.perf_counter() - began
        self.clock.eval_seconds += seconds
        if self.session.is_main:
            append_lines(self.run.folder / SAMPLES, samples)
            append_lines(self.run.folder / METRICS, [{"after": after, **asdict(s)} for s in scores])
            write_json(self.run.folder / SCORES, self.scores())
        return Scored(after, t, len(self.session.phases) + 1, scores, seconds)

    def _log(self, step: Step) -> None:
        self.clock.train_seconds += step.seconds
        self.clock.tokens += step.tokens
        self.clock.examples += step.examples
        self.clock.steps += 1
        if self.session.is_main:
            row = {
                "step": self.clock.steps,
                "period": step.period,
                "epoch": step.epoch + 1,
                "train/loss": step.loss,
                "learning_rate": step.learning_rate,
                "grad_norm": step.grad_norm,
                "examples": step.examples,
                "tokens": step.tokens,
                "seconds": step.seconds,
            }
            append_lines(self.run.folder / METRICS, [row])

    def scores(self) -> dict[str, Any]:
        """The rows so far and what follows from them."""
        done = len(self.rows) - 1
        columns = [phase.name for phase in self.session.phases]
        reached = columns[:done] if done else columns
        return {
            "rows": [
                {"after": after, "scores": [asdict(s) for s in row]} for after, row in self.rows
            ],
            "summary": summary(
                self.rows,
                reached,
                tokens=self.clock.stream_tokens,
                seconds=self.clock.train_seconds,
            ),
        }

    def interrupted(self) -> Interrupted:
        """The error that tells of a stop by the user."""
        return Interrupted(
            f"Interrupted; what was scored is in {self.run.folder}.",
            hint=f"Run: fki compare {self.run.folder}",
        )

    def _finish(self, status: str, **more: str) -> None:
        if self.session.is_main:
            self.run.update(status=status, spent=asdict(self.clock), ended=_now(), **more)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def describe(session: Session, resolved: Resolved) -> dict[str, Any]:
    """What run.json says of a session before it starts."""
    total, train = models.count_parameters(session.model)
    stream = session.stream
    return {
        "fki": __version__,
        "created": _now(),
        "config": as_dict(resolved.config),
        "origins": resolved.origins,
        "notes": list(resolved.notes),
        "dataset": {
            "name": stream.name,
            "version": stream.version,
            "digest": stream.digest,
            "periods": [p.name for phase in session.phases for p in phase.periods],
        },
        "model": {"name": session.config.model, "digest": session.base_digest},
        "parameters": {"added": session.added, "total": total, "trainable": train},
        "protocol": {
            "prompt": session.config.prompt,
            "num_beams": session.config.num_beams,
            "max_new_tokens": session.config.output_length,
            "precision": "fp32",
            "superseded": "not asked",  # a fact that changes again, once it was learned
        },
        "environment": environment(session),
    }


def environment(session: Session) -> dict[str, Any]:
    """Versions and hardware."""
    return {
        "python": platform.python_version(),
        "platform": sys.platform,
        "device": str(session.accelerator.device),
        "processes": session.accelerator.num_processes,
        "packages": {name: version(name) for name in PACKAGES},
    }
