"""A sweep on a real cluster of two workers on this machine, one of which is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fki.core.errors import FkiError, Interrupted
from fki.training import ray_sweep

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
one = {"num_cpus": 1, "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args={**one, "include_dashboard": False})
cluster.add_node(**one)
print("address", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
ROWS = [
    {"subject": f"Town {i}", "relation": "mayor", "object": f"Person {i}", "start": "2024-01-05"}
    for i in range(8)
]
SWEEP = ["--methods", "vanilla,recadam", "--seeds", "2", "--dataset", "known"]
SETTINGS = ["num_train_epochs=40", "save_every_steps=5", "train_batch_size=4"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    (folder / "known").mkdir()
    text = "\n".join(map(json.dumps, ROWS))
    (folder / "known" / "stream.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "FKI_HOME": str(home / "home"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def cluster(environment: dict[str, str], home: Path) -> Iterator[str]:
    """The address of a cluster of two workers with one core each."""
    pytest.importorskip("ray")
    started = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=environment,
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        yield next(line.split()[1] for line in started.stdout if line.startswith("address"))
    finally:
        started.communicate(timeout=60)


def fki(*words: str) -> list[str]:
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    return [sys.executable, "-m", "fki", "train", *SWEEP, *sets, *words]


@pytest.mark.slow
def test_a_killed_workers_cell_is_repeated_and_all_runs_equal_those_of_one_machine(
    home: Path, environment: dict[str, str], cluster: str
) -> None:
    here = fki("--output-dir", "here")
    subprocess.run(here, cwd=home, env=environment, check=True, capture_output=True, timeout=300)
    command = fki("--output-dir", "there", "--on", "ray")
    driver = subprocess.Popen(
        command,
        cwd=home,
        env=environment | {"RAY_ADDRESS": cluster},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    killed = kill_a_worker(home / "there")
    shown, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, shown
    cells = sorted(folder.name for folder in (home / "there").iterdir())
    assert cells == ["recadam-s0", "recadam-s1", "vanilla-s0", "vanilla-s1"]
    assert all(f"{cell}: done, EM learned" in shown for cell in cells)
    attempts = (home / "there" / killed / "metrics.jsonl").read_text(encoding="utf-8")
    assert attempts.count("train/loss") == 80  # the log of a resumed run has each step once
    for cell in cells:
        ours, theirs = (
            load_file(home / place / cell / "checkpoints" / "2024-Q1" / "weights.safetensors")
            for place in ("there", "here")
        )
        assert all(torch.equal(ours[key], weight) for key, weight in theirs.items()), cell


def kill_a_worker(folder: Path) -> str:
    """Kill the worker of a run that has saved a checkpoint; the name of the run."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes().decode().split("\0")
                parent = int((process.parent / "stat").read_text().rpartition(")")[2].split()[1])
                is_task = "ray::run_command" in Path(f"/proc/{parent}/cmdline").read_text()
            except (OSError, ValueError):
                continue
            if not (is_task and "--partition" in words):
                continue
            number = int(words[words.index("--partition") + 1].partition("/")[0]) - 1
            name = ("vanilla-s0", "recadam-s0", "vanilla-s1", "recadam-s1")[number]
            if list((folder / name / "checkpoints").glob("*-step*/manifest.json")):
                os.kill(parent, signal.SIGKILL)
                return name
        time.sleep(0.02)
    raise AssertionError("no worker saved a checkpoint")


def test_a_command_that_fails_has_its_last_lines(
    home: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FkiError, match="nonsense"):
        ray_sweep.run_command(["train", "--set", "nonsense=1"], str(home), environment)
    stopped = "import sys; sys.exit(75)"
    other = home / "other"
    other.mkdir()
    (other / "fki.py").write_text(stopped, encoding="utf-8")
    with pytest.raises(Interrupted):
        ray_sweep.run_command([], str(other), environment | {"PYTHONPATH": str(other)})


def test_what_cannot_be_distributed_is_said_so(home: Path, environment: dict[str, str]) -> None:
    for words, told in (
        (["--on", "dask"], "--on must be ray or ray://HOST:PORT"),
        (["--on", "ray", "--partition", "1/2"], "without --partition"),
    ):
        done = subprocess.run(
            fki(*words), cwd=home, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 2 and told in done.stderr
