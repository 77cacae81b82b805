"""Tasks of a cluster: what their commands raise, and which cluster is found."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from fki.core.errors import ConfigError, DataError, FkiError, Interrupted
from fki.net import ray_cluster
from fki.net.ray_cluster import Cluster, ClusterTask

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, program: str) -> None:
    """Run a program in the place of `fki`."""
    (folder / "fki.py").write_text(program, encoding="utf-8")
    ray_cluster.run_command([], str(folder), {"PYTHONPATH": str(folder)})


def test_a_command_that_fails_raises_its_error_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        ray_cluster.run_command(
            ["train", "--set", "nonsense=1"], str(tmp_path), {"PYTHONPATH": str(ROOT)}
        )
    with pytest.raises(DataError, match=r"^it is damaged\nGet another\.$"):
        run(tmp_path, "import sys; print('Error: it is damaged\\nGet another.', file=sys.stderr)\n"
            "sys.exit(3)")  # fmt: skip
    with pytest.raises(Interrupted):
        run(tmp_path, "import sys; sys.exit(75)")
    with pytest.raises(FkiError, match="killed by signal 9; memory may have run out"):
        run(tmp_path, "import os; os.kill(os.getpid(), 9)")


def test_a_killed_cluster_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert ray_cluster.find_cluster() == ""
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray" / "ray_current_cluster").write_text(address, encoding="utf-8")
        assert ray_cluster.find_cluster() == address
    assert ray_cluster.find_cluster() == ""
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert ray_cluster.find_cluster() == "head:6379"


def test_an_address_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address, place in (
        (f"ray://127.0.0.1:{port}", ""),
        ("ray", f"127.0.0.1:{port}"),
    ):
        monkeypatch.setenv("RAY_ADDRESS", place)
        with (
            pytest.raises(FkiError, match=f"127.0.0.1:{port}.* cannot be reached"),
            ray_cluster.connect(address),
        ):
            raise AssertionError("connected")


def test_a_cluster_without_ray_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with (
        pytest.raises(DataError, match="--on ray requires ray") as raised,
        ray_cluster.connect("ray"),
    ):
        raise AssertionError("connected")
    assert "[ray]" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (ClusterTask([], cores=8), "needs 8 CPUs; the largest worker has 4"),
        (ClusterTask([], gpus=2), "needs 2 GPUs; the largest worker has 1"),
    ],
)
def test_a_task_that_no_worker_can_run_is_an_error(task: ClusterTask, told: str) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0}},
        {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    cluster = Cluster(SimpleNamespace(nodes=lambda: nodes))
    with pytest.raises(FkiError, match=told):
        next(cluster.run({"small": ClusterTask([]), "large": task}))


def test_a_task_has_the_variables_of_fki_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FKI_HOME", "/data")
    monkeypatch.setenv("SECRET", "x")
    environment = ray_cluster.describe_environment()
    assert environment["FKI_HOME"] == "/data" and "SECRET" not in environment
    assert environment.items() <= os.environ.items()
