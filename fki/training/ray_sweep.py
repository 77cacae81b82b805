"""A sweep whose cells are tasks of a Ray cluster: each runs the command of its cell.

A task starts `fki train ... --partition i/n`, which runs cell i, or resumes it.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from fki.config.sweep import SweepCell
from fki.core.errors import DataError, FkiError
from fki.core.types import Score
from fki.evaluation.summary import learned_and_kept
from fki.net.ray_cluster import LOCAL, Cluster, ClusterTask, connect
from fki.runs.run_dir import SCORES, Run, has_run
from fki.training.estimate import measure_process_memory
from fki.training.session import free_memory
from fki.training.sweep import CellEvent, Note, Progress, Sweep


@dataclass(slots=True)
class RaySweep(Sweep):
    """Runs the cells on a cluster, as many at a time as it has room for."""

    address: str = LOCAL
    command: Sequence[str] = ()  # of the sweep, without --partition

    def run_cells(self, cells: Iterable[SweepCell]) -> Generator[CellEvent, None, None]:
        """Run each cell as a task; yield it when its progress changes.

        Raises Interrupted after a signal; the tasks save their runs and end.
        """
        left = {cell.name: cell for cell in cells}
        if not left:
            return
        with connect(self.address) as cluster:
            memory = yield from _measure_memory(cluster, left.values())
            tasks = {name: self._make_task(cluster, cell, memory) for name, cell in left.items()}
            with closing(cluster.run(tasks)) as reports:
                for ended in reports:
                    if self.requests.stop:
                        raise self.interruption(next(iter(left.values())))
                    yield from self._look_at(left.values())
                    for name, error in ended.items():
                        cell = left.pop(name)
                        self._end(cell, error)
                        yield cell, self.progress[name]

    def _make_task(
        self, cluster: Cluster, cell: SweepCell, memory: Mapping[str, int]
    ) -> ClusterTask:
        """The task of a cell: one CPU core, the GPUs of its processes, and its method's memory."""
        number = self.plan.cells.index(cell) + 1
        words = [*self.command, "--partition", f"{number}/{len(self.plan.cells)}"]
        gpus = cell.config.ngpu if cluster.total("GPU") else 0
        return ClusterTask(words, gpus=gpus, memory=memory.get(cell.config.method, 0))

    def _look_at(self, cells: Iterable[SweepCell]) -> Generator[CellEvent, None, None]:
        """Read how far some cells are; yield those whose progress has changed."""
        for cell in cells:
            now = read_progress(cell)
            if now is not None and now != self.progress[cell.name]:
                self.progress[cell.name] = now
                yield cell, now

    def _end(self, cell: SweepCell, error: FkiError | None) -> None:
        """Read the result of a cell whose task has ended."""
        try:
            if error:
                raise error
            self._read(cell)
        except FkiError as failure:
            self.progress[cell.name] = Progress("failed", error=str(failure))


def _measure_memory(
    cluster: Cluster, cells: Iterable[SweepCell]
) -> Generator[CellEvent, None, dict[str, int]]:
    """The memory of a run of each method in bytes, measured on one cell of it.

    It is at most that of the largest worker. On GPUs it is not measured: they decide how many runs
    a worker has, and this machine may not hold a model that a GPU does.
    """
    room, memory = cluster.largest("memory"), dict[str, int]()
    if cluster.total("GPU"):
        return memory
    for cell in cells:
        if cell.config.method not in memory:
            needed = measure_process_memory(cell.config) or 0
            free_memory()
            memory[cell.config.method] = min(needed, room)
            if needed > room:
                sizes = f"{needed / 2**30:.1f} GiB of memory; the largest worker has"
                yield cell, Note(f"it needs {sizes} {room / 2**30:.1f} GiB for tasks.")
    return memory


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
