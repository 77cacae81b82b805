"""A sweep whose cells are tasks of a Ray cluster: each runs the command of its cell.

A task starts `fki train ... --partition i/n`, which runs cell i, or resumes it. If its worker dies,
Ray starts the task again, elsewhere if there is another place. The folder of the runs must be on a
storage that the driver and all workers share: the driver reads there how far each cell is.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fki.config.sweep import SweepCell
from fki.core.errors import DataError, FkiError, Interrupted
from fki.core.optional import require_module
from fki.core.types import Score
from fki.evaluation.summary import learned_and_kept
from fki.runs.run_dir import SCORES, Run, has_run
from fki.training.sweep import CellEvent, Progress, Sweep, is_done

LOCAL, CLIENT = "ray", "ray://"  # this machine or the cluster that it belongs to; an address
POLL = 1.0  # seconds between two looks at the cells
RETRIES = 5  # of a task whose worker died
LAST_LINES = 5  # of a failed command
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


@dataclass(slots=True)
class RaySweep(Sweep):
    """Runs the cells on a cluster, as many at a time as it has room for."""

    address: str = LOCAL
    command: Sequence[str] = ()  # of the sweep, without --partition

    def events(self) -> Generator[CellEvent, None, None]:
        """Run every unfinished cell as a task; yield each cell when its progress changes.

        Raises Interrupted after a signal; the tasks save their runs and end.
        """
        left = [cell for cell in self.own_cells if not is_done(cell)]
        yield from ((cell, self.progress[cell.name]) for cell in self.own_cells if cell not in left)
        if not left:
            return
        with connect(self.address) as ray:
            tasks = {self._submit(ray, cell): cell for cell in left}
            while tasks:
                ended, _ = ray.wait([*tasks], timeout=POLL)
                if self.requests.stop:
                    self._stop(ray, [*tasks])
                    raise self.interruption(next(iter(tasks.values())))
                for cell in tasks.values():
                    if self._look_at(cell):
                        yield cell, self.progress[cell.name]
                for task in ended:
                    cell = tasks.pop(task)
                    self._end(ray, task, cell)
                    yield cell, self.progress[cell.name]

    def _submit(self, ray: Any, cell: SweepCell) -> Any:
        """Start the task of a cell, which has one CPU core, and the GPUs of its processes."""
        number = self.plan.cells.index(cell) + 1
        words = [*self.command, "--partition", f"{number}/{len(self.plan.cells)}"]
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        task = ray.remote(
            num_cpus=1,
            num_gpus=cell.config.ngpu if has_gpus else 0,
            max_retries=RETRIES,
        )(run_command)
        return task.remote(words, os.getcwd(), describe_environment())

    def _look_at(self, cell: SweepCell) -> bool:
        """Read how far a cell is; has that changed?"""
        before = self.progress[cell.name]
        now = read_progress(cell)
        if now is None or now == before:
            return False
        self.progress[cell.name] = now
        return True

    def _end(self, ray: Any, task: Any, cell: SweepCell) -> None:
        """Read the result of a cell whose task has ended."""
        try:
            ray.get(task)
            self.progress[cell.name] = Progress("running")
            self._read(cell)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            self.progress[cell.name] = Progress("failed", error=str(cause))
        except FkiError as error:
            self.progress[cell.name] = Progress("failed", error=str(error))

    def _stop(self, ray: Any, tasks: Sequence[Any]) -> None:
        """Let the tasks save their runs, and wait for them."""
        for task in tasks:
            ray.cancel(task, force=False)
        with suppress(ray.exceptions.RayError):
            ray.wait([*tasks], num_returns=len(tasks), timeout=60)


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Connect to a cluster: that of an address, the one that runs here, or a new one of this
    machine. Raises DataError without Ray, FkiError if the cluster does not answer."""
    ray = require_module("ray", "ray", "--on ray")
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    try:
        if address.startswith(CLIENT):
            ray.init(address=address, log_to_driver=False)
        else:
            with suppress(ConnectionError):
                ray.init(address="auto", **options)
            if not ray.is_initialized():
                ray.init(include_dashboard=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise FkiError(
            f"The Ray cluster at '{address}' cannot be reached: {error}",
            hint="Start one: ray start --head   or leave out the address: --on ray",
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def describe_environment() -> dict[str, str]:
    """The variables that a task's command needs: those of fki, and where Python finds it."""
    wanted = ("FKI_", "HF_", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key.startswith(wanted)}


def run_command(words: Sequence[str], folder: str, environment: Mapping[str, str]) -> None:
    """Run `fki` in a folder; the body of a task.

    It ends with this process, however that ends: an orphan would keep the run's lock.
    Raises FkiError, with the last lines of stderr, if it fails; Interrupted if it was stopped.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "fki", *words],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    try:
        _, shown = process.communicate()
    except KeyboardInterrupt:  # the driver cancels the task
        process.send_signal(signal.SIGTERM)
        process.communicate()
        raise
    if process.returncode == Interrupted.exit_code:
        raise Interrupted("The run was stopped; it can be resumed.")
    if process.returncode:
        raise FkiError("\n".join(shown.strip().splitlines()[-LAST_LINES:]))


def die_with_parent() -> None:
    """Have Linux kill this process when its parent ends; other systems ignore it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)


def read_progress(cell: SweepCell) -> Progress | None:
    """How far an unfinished cell is, by the files of its run; None before its first file."""
    if not has_run(cell.folder):
        return None
    run = Run(cell.folder)
    rows: list[tuple[str, list[Score]]] = []
    with suppress(DataError, KeyError, TypeError):
        stored = run.read(SCORES)["rows"]
        rows = [(row["after"], [Score(**score) for score in row["scores"]]) for row in stored]
    with suppress(DataError, KeyError, TypeError):
        total = 1 + max(1, len(run.info["dataset"]["periods"]))
        learned, kept = learned_and_kept(rows) if rows else (None, None)
        return Progress("running", min(1.0, len(rows) / total), learned, kept, _seconds(run.folder))
    return None


def _seconds(folder: Path) -> float:
    """Since the run's folder was made."""
    file = folder / "config.toml"
    return max(0.0, folder.stat().st_mtime - file.stat().st_mtime) if file.exists() else 0.0
