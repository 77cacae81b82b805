"""The tasks of a sweep, and the resources that they reserve; a real cluster runs in test_on_ray."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fki.config.resolve import Layer
from fki.config.sweep import plan_sweep
from fki.core.errors import FkiError
from fki.net.ray_cluster import ClusterTask, Ended
from fki.training import ray_sweep
from fki.training.estimate import estimate_run
from fki.training.ray_sweep import RaySweep
from fki.training.sweep import Note

GIB = 2**30


class RefusingCluster:
    """Keeps the tasks that it gets, and fails each."""

    def __init__(self, gpus: int, memory: int) -> None:
        self.totals = {"GPU": gpus, "CPU": 4, "memory": 4 * memory}
        self.memory = memory
        self.tasks: dict[str, ClusterTask] = {}

    def total(self, resource: str) -> int:
        return self.totals[resource]

    def largest(self, resource: str) -> int:
        return {"memory": self.memory}[resource]

    def run(self, tasks: Mapping[str, ClusterTask]) -> Generator[Ended, None, None]:
        self.tasks = dict(tasks)
        yield {}
        yield {name: FkiError("refused") for name in tasks}


@pytest.fixture
def sweep(toy_folder: Path, dataset: Path, tmp_path: Path) -> RaySweep:
    values: dict[str, Any] = {
        "model": str(toy_folder),
        "dataset": str(dataset),
        "num_train_epochs": 1,
        "optimizer": "adamw",
        "output_length": 10,
        "ngpu": 2,
        "output_dir": str(tmp_path / "sweep"),
    }
    cells = plan_sweep(
        lambda **flags: [Layer(values, {}), Layer(flags, {})], "vanilla,lora", "2", ["t5"]
    )
    return RaySweep(cells, cells.cells, command=["train", "--seeds", "2"])


@pytest.fixture
def distribute(
    sweep: RaySweep, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[RefusingCluster, list[str]]]:
    """A function of GPUs and memory: the cluster with its tasks, and the notes."""

    def run(gpus: int, memory: int) -> tuple[RefusingCluster, list[str]]:
        cluster = RefusingCluster(gpus, memory)

        @contextmanager
        def connect(address: str) -> Iterator[RefusingCluster]:
            yield cluster

        monkeypatch.setattr(ray_sweep, "connect", connect)
        sweep.check()
        notes = [f"{c.name}: {e.text}" for c, e in sweep.events() if isinstance(e, Note)]
        assert {progress.error for progress in sweep.progress.values()} == {"refused"}
        return cluster, notes

    return run


def test_each_task_reserves_the_memory_of_its_plan(
    sweep: RaySweep, distribute: Callable[..., tuple[RefusingCluster, list[str]]]
) -> None:
    cluster, notes = distribute(gpus=0, memory=64 * GIB)
    assert notes == [] and len(cluster.tasks) == 4
    for number, cell in enumerate(sweep.plan.cells, 1):
        task, peak = cluster.tasks[cell.name], estimate_run(cell.config).peak
        assert task.words == ["train", "--seeds", "2", "--partition", f"{number}/4"]
        assert (task.cores, task.gpus) == (1, 0)
        assert task.memory == pytest.approx(peak, rel=0.25)


def test_a_run_larger_than_every_worker_has_the_largest_one_alone(
    distribute: Callable[..., tuple[RefusingCluster, list[str]]],
) -> None:
    cluster, notes = distribute(gpus=0, memory=GIB // 10)
    assert {task.memory for task in cluster.tasks.values()} == {GIB // 10}
    assert [note.partition(":")[0] for note in notes] == ["vanilla-s0", "lora-s0"]
    assert all(note.endswith("the largest worker has 0.1 GiB for tasks.") for note in notes)


def test_on_gpus_a_task_reserves_those_of_its_processes_and_no_memory(
    distribute: Callable[..., tuple[RefusingCluster, list[str]]],
) -> None:
    cluster, notes = distribute(gpus=8, memory=GIB)
    assert {(task.gpus, task.memory) for task in cluster.tasks.values()} == {(2, 0)}
    assert notes == []
