"""A sweep: several runs (cells), one after the other, in the folders of one directory.

Finished cells are skipped and unfinished ones are resumed. A cell that another process runs is left
to it. Several processes can therefore share a sweep, on several machines too.
"""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from traceback import format_exc
from typing import Literal, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from fki.config.sweep import SweepCell, SweepPlan
from fki.core.errors import ConfigError, DataError, FkiError, Interrupted, RunLocked
from fki.core.types import RowScored, Score, Step
from fki.evaluation.summary import learned_and_kept
from fki.modeling.device import make_accelerator
from fki.runs import output_log, resume
from fki.runs.run_dir import CHECKPOINTS, RUN, SCORES, Run, has_run, is_unused
from fki.training import session, tracking
from fki.training.run_lifecycle import (
    check_disk_space,
    checkpoint_bytes,
    is_locked,
    kept_checkpoint_bytes,
    log_bytes,
)
from fki.training.runner import Runner
from fki.training.session import free_memory
from fki.training.signals import SignalRequests

T = TypeVar("T")
Status = Literal["waiting", "running", "done", "failed", "elsewhere"]


@dataclass(slots=True)
class Progress:
    """The progress of a cell; changes while the cell runs."""

    status: Status = "waiting"
    fraction: float = 0.0  # of its optimizer steps, 0 to 1
    learned: float | None = None  # exact match (%) on the probes of each phase, right after it
    kept: float | None = None  # exact match (%) on the probes to keep, in the last row
    seconds: float = 0.0  # of training and evaluation
    error: str = ""
    traceback: str = ""  # of an unexpected error


@dataclass(frozen=True, slots=True)
class Note:
    """A message about a cell for the user."""

    text: str


Event = Step | RowScored | Note | Progress  # Progress: a cell has started or ended
CellEvent = tuple[SweepCell, Event]


@dataclass(slots=True)
class Sweep:
    """The cells of a sweep, and the progress of those that this process runs."""

    plan: SweepPlan
    own_cells: Sequence[SweepCell]
    requests: SignalRequests = field(default_factory=SignalRequests)
    progress: dict[str, Progress] = field(default_factory=dict)  # by name of the cell
    track: Sequence[str] = ()  # names of trackers, for each cell
    world: int = 1  # processes that run one cell together
    on_saved: Callable[[], None] | None = None  # called after each checkpoint

    def check(self) -> list[str]:
        """Check all cells before the first one starts. Returns messages for the user.

        Raises:
            ConfigError: a folder contains anything other than its cell.
            FkiError: a cell would fail before its first step.
        """
        tracking.check_trackers(self.track)
        check_folders(self.plan)
        self.world = make_accelerator().num_processes
        self.progress = {cell.name: Progress() for cell in self.own_cells}
        unfinished = self._on_main_process(
            lambda: [cell.name for cell in self.own_cells if not is_done(cell)]
        )
        for cell in self.own_cells:
            if cell.name not in unfinished:
                self._read(cell)
        return check_runs(
            self.plan.folder, [cell for cell in self.own_cells if cell.name in unfinished]
        )

    def with_status(self, status: Status) -> list[str]:
        """The names of the cells with this status."""
        return [name for name, progress in self.progress.items() if progress.status == status]

    def events(self) -> Generator[CellEvent, None, None]:
        """Yield the cells that are done, then run the others; yield each event with its cell.

        After a failed cell the next one starts. Raises Interrupted after a signal.
        """
        done = self.with_status("done")
        yield from (
            (cell, self.progress[cell.name]) for cell in self.own_cells if cell.name in done
        )
        yield from self.run_cells([cell for cell in self.own_cells if cell.name not in done])

    def run_cells(self, cells: Iterable[SweepCell]) -> Generator[CellEvent, None, None]:
        """Run unfinished cells one after the other.

        A cell that another process runs is skipped, and tried once more at the end. If several
        processes run a cell together, an error ends the sweep: the other processes could not leave
        that cell.
        """
        yield from self._run_all(cells)
        yield from self._run_all(
            [cell for cell in self.own_cells if self.progress[cell.name].status == "elsewhere"]
        )

    def _run_all(self, cells: Iterable[SweepCell]) -> Generator[CellEvent, None, None]:
        for cell in cells:
            before = self.progress[cell.name].status
            try:
                yield from self._run(cell)
            except (Interrupted, KeyboardInterrupt):
                raise self.interruption(cell) from None
            except RunLocked as error:
                self.progress[cell.name] = Progress("elsewhere", error=str(error))
            except Exception as error:
                if self.world > 1:
                    raise
                _mark_failed(self.progress[cell.name], error)
            session.free_memory()
            after = self.progress[cell.name]
            if after.status != before:
                yield cell, after

    def _run(self, cell: SweepCell) -> Generator[CellEvent, None, None]:
        """Run a cell to its end, or read the scores of a finished cell."""
        if self._on_main_process(lambda: is_done(cell)):
            self._read(cell)
            return
        if self._on_main_process(lambda: is_locked(Run(cell.folder))):
            raise RunLocked(f"Another process is running in {cell.folder}.")
        if self._on_main_process(lambda: self.requests.stop):
            raise self.interruption(cell)
        progress = self.progress[cell.name]
        progress.status = "running"
        yield cell, progress
        ready = session.build_session(cell.config)
        runner = Runner.start(ready, cell.resolved)
        runner.requests, runner.on_saved = self.requests, self.on_saved
        yield from ((cell, Note(text)) for text in runner.notes)
        with tracking.track_run(runner, self.track) as trackers:
            for event in _follow_run(runner, progress):
                yield from ((cell, Note(text)) for text in trackers.log(event))
                yield cell, event
        self._read(cell)

    def _read(self, cell: SweepCell) -> None:
        """Read the progress of a finished cell. Raises DataError if its files are malformed."""
        self.progress[cell.name] = self._on_main_process(lambda: _read_finished(Run(cell.folder)))

    def _on_main_process(self, function: Callable[[], T]) -> T:
        """Call a function on the main process and share the result with all processes.

        Only the main process has to see the disk.
        """
        if self.world == 1:
            return function()
        is_main = PartialState().is_main_process
        result: T = broadcast_object_list([function() if is_main else None])[0]
        return result

    def interruption(self, cell: SweepCell) -> Interrupted:
        """The error for a sweep that the user stops."""
        done = len(self.with_status("done"))
        return Interrupted(
            f"Interrupted in {cell.name}; {done} of {len(self.own_cells)} runs are done. The sweep "
            f"can be resumed from {self.plan.folder}.",
            hint="Run the same command again.",
        )


def _follow_run(runner: Runner, progress: Progress) -> Generator[Step | RowScored, None, None]:
    """Yield the run's events and update its progress."""
    expected = runner.session.expected_steps
    total, names = sum(expected.values()), list(expected)
    progress.fraction = min(1.0, runner.totals.steps / total) if total else 0.0
    progress.learned, progress.kept = learned_and_kept(runner.rows)
    with closing(runner.events()) as events:
        for event in events:
            progress.seconds = runner.totals.train_seconds + runner.totals.eval_seconds
            if isinstance(event, Step):
                before = sum(expected[name] for name in names[: names.index(event.period)])
                within = expected[event.period] * event.step / event.steps
                progress.fraction = (before + within) / total
            else:
                progress.learned, progress.kept = learned_and_kept(runner.rows)
            yield event


def _read_finished(run: Run) -> Progress:
    try:
        spent, rows = run.info["spent"], run.read(SCORES)["rows"]
        learned, kept = learned_and_kept(
            [(row["after"], [Score(**score) for score in row["scores"]]) for row in rows]
        )
        seconds = spent["train_seconds"] + spent["eval_seconds"]
    except (KeyError, TypeError) as error:
        raise DataError(f"The files of {run.folder} are malformed: {error!r}.") from None
    return Progress("done", 1.0, learned, kept, seconds)


def _mark_failed(progress: Progress, error: Exception) -> None:
    progress.status = "failed"
    if isinstance(error, FkiError):
        progress.error = f"{error} {error.hint or ''}".rstrip()
    else:
        progress.error = f"{type(error).__name__}: {error}"
        progress.traceback = format_exc()


def is_done(cell: SweepCell) -> bool:
    """Is the cell's run done?"""
    return has_run(cell.folder) and resume.is_done(Run(cell.folder))


def check_folders(cells: SweepPlan) -> None:
    """Check the sweep's folder and those of all cells.

    Raises ConfigError, with all problems, if a folder cannot be used or contains a run with other
    settings.
    """
    folder = cells.folder
    if (folder / RUN).is_file() or (folder.exists() and not folder.is_dir()):
        kind = "a run" if folder.is_dir() else "a file"
        raise ConfigError(
            f"Several runs need a parent directory; {folder} is {kind}.",
            hint="Give another --output-dir.",
        )
    problems = [text for cell in cells.cells if (text := _folder_problem(cell))]
    if problems:
        raise ConfigError(
            "\n".join(problems),
            hint="Give another --output-dir, or the settings of these runs.",
        )


def _folder_problem(cell: SweepCell) -> str:
    """The reason why a cell cannot use its folder; "" if it can."""
    try:
        run = resume.find_run(cell.config)
    except (ConfigError, DataError) as error:
        return str(error)
    if run is None and cell.folder.exists():
        if not cell.folder.is_dir():
            return f"{cell.folder} is a file."
        if not is_unused(cell.folder):
            return f"{cell.folder} contains files but no run."
    return ""


def check_runs(folder: Path, unfinished: Sequence[SweepCell]) -> list[str]:
    """Build one session of each method and check all cells. Returns messages for the user.

    Raises FkiError if a cell would fail before its first step, or if the disk is too small for all
    cells.
    """
    notes, kept, largest = list[str](), 0, 0
    for method in dict.fromkeys(cell.config.method for cell in unfinished):
        cells = [cell for cell in unfinished if cell.config.method == method]
        ready = session.build_session(cells[0].config)
        for cell in cells:
            output_log.check(cell.config.output_log)
            notes += cell.resolved.notes
            notes += session.startup_notes(
                cell.config, ready.accelerator, ready.precision, ready.stream_limit
            )
            notes += ready.input_notes
            if has_run(cell.folder):
                resume.check_unchanged(Run(cell.folder), ready.stream, ready.base_digest)
            if not cell.config.check_validation:
                kept += max(
                    0, kept_checkpoint_bytes(ready) - _existing_checkpoint_bytes(cell)
                ) + log_bytes(ready)
                largest = max(largest, checkpoint_bytes(ready))
        del ready
        free_memory()
    _check_writable(folder, kept + largest)
    return list(dict.fromkeys(notes))


def _existing_checkpoint_bytes(cell: SweepCell) -> int:
    """Bytes of the cell's checkpoints on the disk."""
    files = (cell.folder / CHECKPOINTS).rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _check_writable(folder: Path, needed: int) -> None:
    """Raises FkiError if a folder cannot be created or written to, or its disk is too small."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise FkiError(
            f"{folder} cannot be created or written to.", hint="Give another --output-dir."
        )
    check_disk_space(existing, needed, "the unfinished runs need")
