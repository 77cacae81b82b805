"""One whole run: score, then for each phase learn, checkpoint and score; all of it on disk."""

import math
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from filelock import FileLock

from fki.config.resolve import ResolvedConfig
from fki.core.atomic_io import append_lines, write_json
from fki.core.errors import FkiError, Interrupted
from fki.core.types import Period, RowScored, Score, Step
from fki.evaluation.evaluator import mean_score
from fki.evaluation.schedule import group_cells
from fki.evaluation.summary import summarize_scores
from fki.runs import checkpoint, outcomes, output_log, resume
from fki.runs.outcomes import best_rows
from fki.runs.resume import LogExtent, RunState, RunTotals
from fki.runs.run_dir import METRICS, SAMPLES, SCORES, Run
from fki.training import peak_memory
from fki.training.run_lifecycle import create_or_reopen, mark_finished
from fki.training.session import Session
from fki.training.signals import SignalRequests


@dataclass(slots=True)
class Runner:
    """Carries a session through its phases and writes the run folder; only one process writes."""

    session: Session
    run: Run
    state: RunState = field(default_factory=RunState)
    wishes: SignalRequests = field(default_factory=SignalRequests)
    notes: list[str] = field(default_factory=list)  # what the user should be told
    heeded: int = 0  # steps when signals were last heeded
    logged: LogExtent = field(default_factory=LogExtent)  # before the logs were cut
    optimizer_state: dict[int, Any] | None = None  # what the next period goes on with
    lock: FileLock | None = None  # held while the run goes on

    @classmethod
    def begin(cls, session: Session, resolved: ResolvedConfig, *, again: bool = False) -> "Runner":
        """A run in a new folder, written before the first step, or the one to go on with.

        Args:
            again: go on with the unfinished run of these settings; without it only where
                `output_dir` holds that run.
        Raises:
            FkiError: output_dir or output_log is taken, there is no run to go on with, or the disk
                is too small; Busy where another process holds the run.
        """
        output_log.check(resolved.config.output_log)
        lock, folder, saved, notes = _open_on_main_process(session, resolved, again=again)
        runner = cls(session, Run(folder), notes=notes, lock=lock)
        runner.logged = resume.read_log_extent(runner.run)
        if saved is not None:
            runner.restore(saved)
        elif session.is_main:
            resume.truncate_logs(runner.run, {})
        return runner

    def restore(self, saved: Path) -> None:
        """Go on from a checkpoint: weights, optimizer, position, scores, logs."""
        checkpoint.load(saved, self.session.model)
        content, self.optimizer_state = checkpoint.load_state(saved)
        self.state, sizes = resume.parse_state(content)
        self.heeded = self.clock.steps
        for period in self._learned():
            self.session.trainer.pass_over(period)
        if self.session.is_main:
            resume.truncate_logs(self.run, sizes)

    def _learned(self) -> list[Period]:
        """The periods that are done, in order."""
        at, phases = self.state.position, self.session.phases
        done = [period for phase in phases[: at.phase] for period in phase.periods]
        return [*done, *(phases[at.phase].periods[: at.period] if at.phase < len(phases) else ())]

    @property
    def clock(self) -> RunTotals:
        """What was spent so far."""
        return self.state.clock

    @property
    def rows(self) -> list[tuple[str, list[Score]]]:
        """What has been scored so far."""
        return self.state.rows

    def events(self) -> Generator[Step | RowScored, None, None]:
        """Run everything that is left, yielding each step and each scored row.

        The run is marked done, failed or interrupted, whatever ends it. Raises Interrupted where a
        signal asked to stop; what is needed to go on is then on disk.
        """
        peak_memory.reset_peak_memory()
        try:
            yield from self._events()
        except (KeyboardInterrupt, GeneratorExit, Interrupted) as stop:
            self.finish("interrupted")
            if isinstance(stop, KeyboardInterrupt):
                raise self.interrupted() from None
            raise
        except BaseException as error:
            self.finish("failed", error=f"{type(error).__name__}: {error}")
            raise
        self.finish("done")
        if self.session.is_main:
            output_log.write(self.session.config.output_log, self.scores()["rows"])

    def _events(self) -> Generator[Step | RowScored, None, None]:
        if self.state.position.phase < 0:
            yield self._score(0)
        if self.session.config.check_validation:
            return
        phases = self.session.phases
        for t in range(self.state.position.phase + 1, len(phases) + 1):
            if self.state.position.period < len(phases[t - 1].periods):
                yield from self._learn(phases[t - 1].periods)
                self._save(phases[t - 1].name)
            yield self._score(t)

    def _learn(self, periods: tuple[Period, ...]) -> Generator[Step, None, None]:
        """What is left of a phase's periods; after each step, what signals ask for."""
        at, trainer = self.state.position, self.session.trainer
        for period in periods[at.period :]:
            state = self.optimizer_state
            for step in trainer.learn(period, after=at.step, seconds=at.seconds, state=state):
                self.optimizer_state, at.step = None, step.step
                at.seconds += step.seconds
                self._log(step)
                yield step
                if step.is_settled:
                    self._heed(f"{period.name}-step{step.step}")
            at.period, at.step, at.seconds = at.period + 1, 0, 0.0
            self.clock.stream_tokens += self.session.encoder.count_tokens(period.examples)

    def _heed(self, name: str) -> None:
        """Save where it is time or asked for. Raises Interrupted where the run is to stop."""
        every, before, self.heeded = (
            self.session.config.save_every_steps,
            self.heeded,
            self.clock.steps,
        )
        is_time = every > 0 and self.heeded // every > before // every
        if self._asked("stop"):
            self._save(name)
            raise self.interrupted()
        if self._asked("save") or is_time:
            self._save(name)

    def _asked(self, wish: str) -> bool:
        """Has any process been asked for this? A wish to save is granted once."""
        asked = bool(getattr(self.wishes, wish))
        accelerator = self.session.accelerator
        if accelerator.num_processes > 1:
            flag = torch.tensor(float(asked), device=accelerator.device)
            asked = bool(accelerator.reduce(flag, "sum") > 0)
        if wish == "save":
            self.wishes.save = False
        return asked

    def _save(self, name: str) -> None:
        if self.session.is_main:
            config = self.session.config
            checkpoint.save(
                self.run.folder,
                name,
                self.session.model,
                order=2 * self.clock.steps + (self.state.position.step == 0),
                state=self.state.as_dict(self.run),
                optimizer=self.session.trainer.optimizer,
                keep_last=config.keep_last,
                keep=best_rows(self.rows, config.keep_best),
            )

    def _score(self, t: int) -> RowScored:
        """Ask row t's questions; keep every prediction."""
        began = time.perf_counter()
        after, scores = self.session.questions.row_name(t), []
        for cells in group_cells(self.session.questions.row(t)):
            samples = []
            answers = self.session.evaluator.predict_cells(self.session.model, cells)
            for cell, predictions in zip(cells, answers, strict=True):
                scores.append(
                    mean_score(cell.probe_set, cell.column, predictions, lasts=cell.lasts)
                )
                samples += [
                    {"after": after, "probe_set": cell.probe_set, **asdict(p)} for p in predictions
                ]
            if self.session.is_main:
                append_lines(self.run.folder / SAMPLES, samples)
            if self._asked("stop"):
                raise self.interrupted()
        self.rows.append((after, scores))
        at = self.state.position
        at.phase, at.period, at.step, at.seconds = t, 0, 0, 0.0
        seconds = time.perf_counter() - began
        self.clock.eval_seconds += seconds
        if self.session.is_main:
            append_lines(self.run.folder / METRICS, [{"after": after, **asdict(s)} for s in scores])
            write_json(self.run.folder / SCORES, self.scores())
        return RowScored(after, t, len(self.session.phases) + 1, scores, seconds)

    def _log(self, step: Step) -> None:
        self.clock.train_seconds += step.seconds
        self.clock.tokens += step.tokens
        self.clock.examples += step.examples
        self.clock.flops += step.flops
        self.clock.steps += 1
        if self.session.is_main:
            row = {
                "step": self.clock.steps,
                "period": step.period,
                "epoch": step.epoch + 1,
                "train/loss": step.loss if math.isfinite(step.loss) else None,
                "learning_rate": step.learning_rate,
                "grad_norm": step.grad_norm if math.isfinite(step.grad_norm) else None,
                "examples": step.examples,
                "tokens": step.tokens,
                "seconds": step.seconds,
                **({"note": step.note} if step.note else {}),
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
            "summary": summarize_scores(
                self.rows,
                reached,
                tokens=self.clock.stream_tokens,
                seconds=self.clock.train_seconds,
            ),
        }

    def interrupted(self) -> Interrupted:
        """The error that tells of a stop by the user."""
        return Interrupted(
            f"Interrupted; what is needed to go on is in {self.run.folder}.",
            hint="Run the same command with --resume.",
        )

    def finish(self, status: str, **more: str) -> None:
        """Mark how the run ended, and let go of its folder."""
        if self.session.is_main:
            if status == "done":
                outcomes.save_outcomes(self.run)
            spent = asdict(self.clock)
            mark_finished(
                self.run, status, spent=spent, peak_mib=peak_memory.peak_memory_mib(), **more
            )
        if self.lock:
            self.lock.release()


def _open_on_main_process(
    session: Session, resolved: ResolvedConfig, *, again: bool
) -> tuple[FileLock | None, Path, Path | None, list[str]]:
    """As `folder.take` by the main process; the others are told, of an error too, so that none
    waits for a run that does not begin."""
    lock: FileLock | None = None
    told: list[Any] = [None]
    try:
        if session.is_main:
            lock, *told[0] = create_or_reopen(session, resolved, again=again)
    except FkiError as error:
        if session.accelerator.num_processes == 1:
            raise
        told[0] = error
    if session.accelerator.num_processes > 1:
        told = broadcast_object_list(told)
    if isinstance(told[0], FkiError):
        raise told[0]
    folder, saved, notes = told[0]
    return lock, folder, saved, notes
