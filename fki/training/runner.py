"""Carry out one run: evaluate the base model, then train, save and evaluate each phase.

A run writes its folder as it goes: each step and each row of scores at once, a checkpoint after
each phase, and more checkpoints every `save_every_steps` steps or on a signal. A run that stops
resumes from its newest checkpoint and ends with the same bits. Only the main process writes.
"""

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from filelock import FileLock

from fki.config.resolve import ResolvedConfig
from fki.core.atomic_io import append_lines, write_json
from fki.core.errors import FkiError, Interrupted
from fki.core.probe_sets import ALONE
from fki.core.types import Period, RowScored, Score, Step
from fki.evaluation.conditions import MetConditions
from fki.evaluation.evaluator import complete_predictions, mean_score, sample_row
from fki.evaluation.reading_check import check_reading
from fki.evaluation.reset_rows import join_rows
from fki.evaluation.schedule import group_cells
from fki.evaluation.summary import Row, summarize_scores
from fki.evaluation.untouched import UntouchedAnswers
from fki.methods.retrieval import Retrieval
from fki.runs import checkpoint, outcomes, output_log, resume
from fki.runs.outcomes import best_rows
from fki.runs.resume import LogExtent, RunState, RunTotals
from fki.runs.run_dir import METRICS, SAMPLES, SCORES, Run
from fki.training import peak_memory
from fki.training.run_lifecycle import create_or_reopen, mark_finished
from fki.training.session import Session
from fki.training.signals import SignalRequests

RESETS_PER_SAVE = 50  # periods between two checkpoints, and two scores.json, if weights are reset


@dataclass(slots=True)
class Runner:
    """Takes a session through its phases and writes the run folder."""

    session: Session
    run: Run
    state: RunState = field(default_factory=RunState)
    requests: SignalRequests = field(default_factory=SignalRequests)
    notes: list[str] = field(default_factory=list)  # messages for the user
    logged: LogExtent = field(default_factory=LogExtent)  # before the logs were truncated
    steps_at_last_check: int = 0  # optimizer steps when signals were last checked
    optimizer_state: dict[int, Any] | None = None  # loaded by the next period
    lock: FileLock | None = None  # held while the run goes on
    untouched: UntouchedAnswers = field(default_factory=UntouchedAnswers)
    conditions: MetConditions = field(default_factory=MetConditions)
    on_saved: Callable[[], None] | None = None  # called after each checkpoint

    @classmethod
    def start(
        cls, session: Session, resolved: ResolvedConfig, *, allow_resume: bool = False
    ) -> "Runner":
        """Create a run folder, or reopen that of an unfinished run with the same settings.

        Args:
            allow_resume: look for a run with these settings under `runs/` too; without it, only a
                run in `output_dir` is resumed.
        Raises:
            FkiError: `output_dir` or `output_log` is in use, or the disk is too small.
            RunLocked: another process is running in the folder.
            RunDone: the run is done already.
        """
        lock, folder, saved, notes = _open_on_main_process(
            session, resolved, allow_resume=allow_resume
        )
        runner = cls(session, Run(folder), notes=notes, lock=lock)
        runner.logged = resume.read_log_extent(runner.run)
        if saved is not None:
            runner.restore(saved)
        elif session.is_main:
            resume.truncate_logs(runner.run, {})
        if saved is None and isinstance(session.method, Retrieval):
            runner.check_reading(session.method)
        return runner

    def check_reading(self, method: Retrieval) -> None:
        """Measure whether the model uses passages; a note for the user, and for run.json."""
        ready = self.session
        check = check_reading(
            ready.model, method, ready.schedule, ready.tokenizer, ready.config, ready.accelerator
        )
        if check is None:
            return
        self.notes.append(check.describe(ready.config.model))
        if self.session.is_main:
            self.run.update(reading_check=asdict(check))

    def restore(self, saved: Path) -> None:
        """Load weights, optimizer, position, scores and logs of a checkpoint."""
        checkpoint.load(saved, self.session.model)
        content, self.optimizer_state = checkpoint.load_state(saved)
        self.state, sizes = resume.parse_state(content)
        self.steps_at_last_check = self.totals.steps
        for period in self._trained_periods():
            self.session.trainer.skip_period(period)
        if self.state.position.step:
            self.session.trainer.reopen_period(self._next_period())
        self.session.trainer.load_state(checkpoint.load_training(saved))
        if self.session.is_main:
            resume.truncate_logs(self.run, sizes)
        self.untouched.read(self.run)
        self.conditions.read(self.run)

    def _trained_periods(self) -> list[Period]:
        """The periods that are trained already, in order."""
        at, phases = self.state.position, self.session.phases
        done = [period for phase in phases[: at.phase] for period in phase.periods]
        return [*done, *(phases[at.phase].periods[: at.period] if at.phase < len(phases) else ())]

    def _next_period(self) -> Period:
        """The period that is trained next, or whose training goes on."""
        at = self.state.position
        return self.session.phases[at.phase].periods[at.period]

    @property
    def totals(self) -> RunTotals:
        """Steps, tokens, operations and seconds so far."""
        return self.state.totals

    @property
    def rows(self) -> list[tuple[str, list[Score]]]:
        """The rows of R so far: (name, scores)."""
        return self.state.rows

    def events(self) -> Generator[Step | RowScored, None, None]:
        """Carry out the rest of the run; yield each optimizer step and each scored row.

        However it ends, run.json then has the status done, failed or interrupted. Raises
        Interrupted after a signal; the run can then be resumed.
        """
        peak_memory.reset_peak_memory()
        try:
            yield from self._run_phases()
        except (KeyboardInterrupt, GeneratorExit, Interrupted) as stop:
            self.finish("interrupted")
            if isinstance(stop, KeyboardInterrupt):
                raise self.interruption() from None
            raise
        except BaseException as error:
            self.finish("failed", error=f"{type(error).__name__}: {error}")
            raise
        self.finish("done")
        if self.session.is_main:
            output_log.write(self.session.config.output_log, self.scores()["rows"])

    def _run_phases(self) -> Generator[Step | RowScored, None, None]:
        if self.state.position.phase < 0:
            yield self._evaluate_row(0)
        if self.session.config.check_validation:
            return
        phases = self.session.phases
        for t in range(self.state.position.phase + 1, len(phases) + 1):
            if self.state.position.period < len(phases[t - 1].periods):
                yield from self._train(phases[t - 1].periods)
                if self._is_saved(t):
                    self._save(phases[t - 1].name)
            yield self._evaluate_row(t)

    def _is_saved(self, t: int) -> bool:
        """Is a checkpoint saved after phase t? Weights that are reset next are saved seldom."""
        resets = self.session.config.reset == "base"
        return not resets or t % RESETS_PER_SAVE == 0 or t == len(self.session.phases)

    def _train(self, periods: tuple[Period, ...]) -> Generator[Step, None, None]:
        """Train on the rest of a phase's periods; check signals after each step."""
        at, trainer = self.state.position, self.session.trainer
        for period in periods[at.period :]:
            state, began = self.optimizer_state, time.perf_counter()
            for step in trainer.train_period(
                period,
                start=at.step,
                seconds=at.seconds,
                tokens=at.tokens,
                flops=at.flops,
                optimizer_state=state,
            ):
                self.optimizer_state, at.step = None, step.step
                at.seconds += step.seconds
                at.tokens += step.tokens
                at.flops += step.flops
                self._log(step)
                yield step
                if step.is_settled:
                    self._handle_requests(f"{period.name}-step{step.step}")
            if not self.session.method.trains:  # such as the seconds of indexing
                self.totals.train_seconds += time.perf_counter() - began
            at.period += 1
            at.begin_period()
            self.totals.stream_tokens += self.session.tokenizer.count_tokens(period.examples)

    def _handle_requests(self, name: str) -> None:
        """Save a checkpoint if it is due or requested. Raises Interrupted for a stop request."""
        every, before = self.session.config.save_every_steps, self.steps_at_last_check
        self.steps_at_last_check = self.totals.steps
        is_due = every > 0 and self.totals.steps // every > before // every
        if self._is_requested("stop"):
            self._save(name)
            raise self.interruption()
        if self._is_requested("save") or is_due:
            self._save(name)

    def _is_requested(self, request: str) -> bool:
        """Did any process receive this request? A save request is reset."""
        requested = bool(getattr(self.requests, request))
        accelerator = self.session.accelerator
        if accelerator.num_processes > 1:
            flag = torch.tensor(float(requested), device=accelerator.device)
            requested = bool(accelerator.reduce(flag, "sum") > 0)
        if request == "save":
            self.requests.save = False
        return requested

    def _save(self, name: str) -> None:
        """Save a checkpoint; all processes call it."""
        config, model, trainer = self.session.config, self.session.model, self.session.trainer
        training, collected = trainer.state(), trainer.collect_from_engine()
        if not self.session.is_main:
            checkpoint.help_save(model, trainer.optimizer, training, collected)
            return
        checkpoint.save(
            self.run.folder,
            name,
            model,
            order=self._checkpoint_order(),
            state=self.state.as_dict(self.run),
            optimizer=trainer.optimizer,
            training=training,
            collected=collected,
            keep_last=config.keep_last,
            keep=best_rows(self.rows, config.keep_best),
        )
        if self.on_saved:
            self.on_saved()

    def _checkpoint_order(self) -> int:
        """A number that grows from one checkpoint of the run to the next."""
        at, steps = self.state.position, self.totals.steps
        if not self.session.method.trains:
            return at.phase + 1
        return 2 * steps + (at.step == 0)

    def _evaluate_row(self, t: int) -> RowScored:
        """Evaluate row t of R; write every prediction and the scores."""
        began, evaluator = time.perf_counter(), self.session.evaluator
        tokens = evaluator.question_tokens
        schedule, scores = self.session.schedule, list[Score]()
        after = schedule.row_name(t)
        for cells in group_cells(schedule.row(t)):
            samples = []
            predicted = evaluator.predict_cells(self.session.model, cells)
            for cell, answers in zip(cells, predicted, strict=True):
                if t == 0 and cell.is_kept:
                    self.untouched.add(cell.probe_set, answers)
                    self.conditions.add(cell.probe_set, answers)
                known = self.untouched, self.conditions
                predictions = complete_predictions(cell, answers, *known)
                score = mean_score(
                    cell.probe_set, cell.column, predictions, lasts=cell.lasts, probes=cell.probes
                )
                scores.append(score)
                samples += [{"after": after, **sample_row(cell, p)} for p in predictions]
            if self.session.is_main:
                append_lines(self.run.folder / SAMPLES, samples)
            if self._is_requested("stop"):
                raise self.interruption()
        self.rows.append((after, scores))
        at = self.state.position
        at.phase, at.period = t, 0
        at.begin_period()
        seconds = time.perf_counter() - began
        self.totals.eval_seconds += seconds
        self.totals.question_tokens += evaluator.question_tokens - tokens
        if self.session.is_main:
            append_lines(self.run.folder / METRICS, [{"after": after, **asdict(s)} for s in scores])
            if t == 0 or self._is_saved(t):
                write_json(self.run.folder / SCORES, self.scores())
        return RowScored(after, t, len(self.session.phases) + 1, scores, seconds)

    def _log(self, step: Step) -> None:
        self.totals.add(step)
        if self.session.is_main:
            row = {
                "step": self.totals.steps,
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
        """The rows of R so far and their summary, as in scores.json."""
        done = len(self.rows) - 1
        columns = [phase.name for phase in self.session.phases]
        reached = columns[:done] if done else columns
        rows: Sequence[Row] = self.rows
        if self.session.config.reset == "base":
            rows, reached = join_rows(self.rows), [ALONE]
        return {
            "rows": [
                {"after": after, "scores": [asdict(s) for s in row]} for after, row in self.rows
            ],
            "summary": summarize_scores(
                rows,
                reached,
                tokens=self.totals.stream_tokens,
                seconds=self.totals.train_seconds,
            ),
        }

    def interruption(self) -> Interrupted:
        """The error for a run that the user stops."""
        return Interrupted(
            f"Interrupted. The run can be resumed from {self.run.folder}.",
            hint="Run the same command with --resume.",
        )

    def finish(self, status: str, **more: str) -> None:
        """Write the final status into run.json and release the folder."""
        if self.session.is_main:
            if status == "done":
                outcomes.save_outcomes(self.run)
            spent, peak = asdict(self.totals), peak_memory.peak_memory_mib()
            mark_finished(self.run, status, spent=spent, peak_mib=peak, **more)
        if self.lock:
            self.lock.release()


def _open_on_main_process(
    session: Session, resolved: ResolvedConfig, *, allow_resume: bool
) -> tuple[FileLock | None, Path, Path | None, list[str]]:
    """Call `create_or_reopen` on the main process and share the result with all processes.

    An error is shared too, so that no process waits for a run that does not start.
    """
    lock: FileLock | None = None
    shared: list[Any] = [None]
    try:
        if session.is_main:
            lock, *shared[0] = create_or_reopen(session, resolved, allow_resume=allow_resume)
    except FkiError as error:
        if session.accelerator.num_processes == 1:
            raise
        shared[0] = error
    if session.accelerator.num_processes > 1:
        shared = broadcast_object_list(shared)
    if isinstance(shared[0], FkiError):
        raise shared[0]
    folder, saved, notes = shared[0]
    return lock, folder, saved, notes
