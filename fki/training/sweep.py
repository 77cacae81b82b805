"""Many runs, one after the other, in the folders of one grid.

What is done is not done again, what was begun goes on, and what another process is at is left to
it; so several processes may share a grid, on several machines too.
"""

import os
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from fki.config.sweep import SweepCell, SweepPlan
from fki.core.errors import ConfigError, DataError, FkiError, Interrupted, RunLocked
from fki.core.types import RowScored, Score, Step
from fki.evaluation.summary import learned_and_kept
from fki.modeling.device import make_accelerator
from fki.runs import output_log, resume
from fki.runs.run_dir import CHECKPOINTS, RUN, SCORES, Run, is_unused
from fki.training import session, tracking
from fki.training.run_lifecycle import (
    LOG_BYTES,
    check_disk_space,
    checkpoint_bytes,
    is_locked,
    kept_checkpoint_bytes,
)
from fki.training.runner import Runner
from fki.training.session import free_memory
from fki.training.signals import SignalRequests

T = TypeVar("T")
Status = Literal["waiting", "running", "done", "failed", "elsewhere"]


@dataclass(slots=True)
class Progress:
    """How far a cell is; it changes while the cell runs."""

    status: Status = "waiting"
    share: float = 0.0  # of its steps, from 0 to 1
    learned: float | None = None  # exact match (%) on what each phase taught, right after it
    kept: float | None = None  # exact match (%) on what was to be kept, in the last row
    seconds: float = 0.0  # of training and scoring
    error: str = ""
    bug: str = ""  # the traceback, where the error is no user's


@dataclass(frozen=True, slots=True)
class Note:
    """What the user should know of a cell."""

    text: str


Event = Step | RowScored | Note | Progress  # Progress: the cell has begun or come to an end
CellEvent = tuple[SweepCell, Event]


@dataclass(slots=True)
class Sweep:
    """The cells of a grid, and how far those are that this process runs."""

    cells: SweepPlan
    mine: Sequence[SweepCell]
    requests: SignalRequests = field(default_factory=SignalRequests)
    progress: dict[str, Progress] = field(default_factory=dict)  # by the cells' names
    track: Sequence[str] = ()  # trackers, for each cell
    world: int = 1  # processes that run each cell together

    def check(self) -> list[str]:
        """Everything of the cells that can be known before the first one starts.

        Returns what the user should know. Raises FkiError for whatever would stop a cell before its
        first step, ConfigError where a folder holds something else than its cell.
        """
        tracking.check_trackers(self.track)
        check_folders(self.cells)
        accelerator = make_accelerator(self.cells.cells[0].config)
        self.world = accelerator.num_processes
        self.progress = {cell.name: Progress() for cell in self.mine}
        left = self._agreed(lambda: [cell.name for cell in self.mine if not is_done(cell)])
        for cell in self.mine:
            if cell.name not in left:
                self._read(cell)
        return check_runs(self.cells.folder, [cell for cell in self.mine if cell.name in left])

    def with_status(self, status: Status) -> list[str]:
        """The names of the cells that are so."""
        return [name for name, progress in self.progress.items() if progress.status == status]

    def events(self) -> Generator[CellEvent, None, None]:
        """Run every cell that is left, yielding what happens to which.

        A cell that fails is marked so, and the next one begins. A cell that another process is at
        is passed over, and looked at once more at the end. Raises Interrupted where a signal asked
        to stop, and, where several processes run each cell together, whatever ends one of them:
        the others would never come out of that cell.
        """
        yield from self._run_all(self.mine)
        yield from self._run_all(
            [cell for cell in self.mine if self.progress[cell.name].status == "elsewhere"]
        )

    def _run_all(self, cells: Iterable[SweepCell]) -> Generator[CellEvent, None, None]:
        for cell in cells:
            before = self.progress[cell.name].status
            try:
                yield from self._run(cell)
            except (Interrupted, KeyboardInterrupt):
                raise self.interruption(cell) from None
            except RunLocked as busy:
                self.progress[cell.name] = Progress("elsewhere", error=str(busy))
            except Exception as error:
                if self.world > 1:
                    raise
                _mark_failed(self.progress[cell.name], error)
            session.free_memory()
            after = self.progress[cell.name]
            if after.status != before or before == "done":
                yield cell, after

    def _run(self, cell: SweepCell) -> Generator[CellEvent, None, None]:
        """Run a cell to its end, or read the scores of one that is done."""
        if self._agreed(lambda: is_done(cell)):
            self._read(cell)
            return
        if self._agreed(lambda: is_locked(Run(cell.folder))):
            raise RunLocked(f"Another process is running in {cell.folder}.")
        if self._agreed(lambda: self.requests.stop):
            raise self.interruption(cell)
        progress = self.progress[cell.name]
        progress.status = "running"
        yield cell, progress
        ready = session.build_session(cell.config)
        runner = Runner.start(ready, cell.resolved)
        runner.requests = self.requests
        yield from ((cell, Note(text)) for text in runner.notes)
        with tracking.track_run(runner, self.track) as trackers:
            for event in _follow_run(runner, progress):
                yield from ((cell, Note(text)) for text in trackers.log(event))
                yield cell, event
        self._read(cell)

    def _read(self, cell: SweepCell) -> None:
        """What a run that is done says of itself. Raises DataError where it does not."""
        self.progress[cell.name] = self._agreed(lambda: _read_finished(Run(cell.folder)))

    def _agreed(self, ask: Callable[[], T]) -> T:
        """What the main process finds, in all of them; the others need not see its disk."""
        if self.world == 1:
            return ask()
        is_main = PartialState().is_main_process
        found: T = broadcast_object_list([ask() if is_main else None])[0]
        return found

    def interruption(self, cell: SweepCell) -> Interrupted:
        """The error that tells of a stop by the user."""
        done = len(self.with_status("done"))
        return Interrupted(
            f"Interrupted in {cell.name}, with {done} of {len(self.mine)} runs done; what is "
            f"needed to go on is in {self.cells.folder}.",
            hint="Run the same command again.",
        )


def _follow_run(runner: Runner, progress: Progress) -> Generator[Step | RowScored, None, None]:
    """What a run does, and how far it is by that."""
    expected = runner.session.expected_steps
    total, names = sum(expected.values()), list(expected)
    progress.share = min(1.0, runner.totals.steps / total) if total else 0.0
    progress.learned, progress.kept = learned_and_kept(runner.rows)
    with closing(runner.events()) as events:
        for event in events:
            progress.seconds = runner.totals.train_seconds + runner.totals.eval_seconds
            if isinstance(event, Step):
                before = sum(expected[name] for name in names[: names.index(event.period)])
                within = expected[event.period] * event.step / event.steps  # may mix in more
                progress.share = (before + within) / total
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
        raise DataError(f"{run.folder} is not as fki writes a run: {error!r}.") from None
    return Progress("done", 1.0, learned, kept, seconds)


def _mark_failed(progress: Progress, error: Exception) -> None:
    progress.status = "failed"
    if isinstance(error, FkiError):
        progress.error = f"{error} {error.hint or ''}".rstrip()
    else:
        progress.error = f"{type(error).__name__}: {error}"
        progress.bug = traceback.format_exc()


def is_done(cell: SweepCell) -> bool:
    """Has the cell's run come to its end?"""
    return (cell.folder / RUN).is_file() and resume.is_done(Run(cell.folder))


def check_folders(cells: SweepPlan) -> None:
    """Raises ConfigError where the grid's folder is none, or the folder of a cell, all of them
    looked at, holds a run with other settings or anything else."""
    folder = cells.folder
    if (folder / RUN).is_file() or (folder.exists() and not folder.is_dir()):
        what = "a run" if folder.is_dir() else "a file"
        raise ConfigError(
            f"Several runs need a folder to put theirs in, and {folder} is {what}.",
            hint="Give another --output-dir.",
        )
    problems = [text for cell in cells.cells if (text := _folder_problem(cell))]
    if problems:
        raise ConfigError(
            "\n".join(problems),
            hint="Give another --output-dir, or the settings that they were begun with.",
        )


def _folder_problem(cell: SweepCell) -> str:
    """What keeps a cell from its folder; "" for nothing."""
    try:
        run = resume.find_unfinished_run(cell.config)
    except ConfigError as error:
        return str(error)
    if run is None and cell.folder.exists():
        if not cell.folder.is_dir():
            return f"{cell.folder} is a file."
        if not is_unused(cell.folder):
            return f"{cell.folder} holds files, and no run."
    return ""


def check_runs(folder: Path, left: Sequence[SweepCell]) -> list[str]:
    """Make a session of each method that is left, and let it go. Returns what the user should know.

    Raises FkiError for whatever would stop one of these cells before its first step, and where the
    disk is too small for all of them.
    """
    notes, kept, largest = list[str](), 0, 0
    for method in dict.fromkeys(cell.config.method for cell in left):
        cells = [cell for cell in left if cell.config.method == method]
        ready = session.build_session(cells[0].config)
        for cell in cells:
            output_log.check(cell.config.output_log)
            notes += [*cell.resolved.notes, *session.startup_notes(cell.config, ready.accelerator)]
            if (cell.folder / RUN).is_file():
                resume.check_unchanged(Run(cell.folder), ready.stream.digest, ready.base_digest)
            if not cell.config.check_validation:
                kept += (
                    max(0, kept_checkpoint_bytes(ready) - _existing_checkpoint_bytes(cell))
                    + LOG_BYTES
                )
                largest = max(largest, checkpoint_bytes(ready))
        del ready
        free_memory()
    _check_writable(folder, kept + largest)
    return list(dict.fromkeys(notes))


def _existing_checkpoint_bytes(cell: SweepCell) -> int:
    """What the cell's checkpoints take already."""
    files = (cell.folder / CHECKPOINTS).rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _check_writable(folder: Path, needed: int) -> None:
    """Raises FkiError where runs cannot be put into a folder."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise FkiError(f"{folder} cannot be made or written to.", hint="Give another --output-dir.")
    check_disk_space(place, needed, "the runs that are left need")
