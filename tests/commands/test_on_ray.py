"""Sweeps and dumps on a real cluster of two workers on this machine, one of which is killed."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.dump_files import dump_text, entity_lines

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
one = {"num_cpus": 1, "memory": 100 * 2**20, "object_store_memory": 80_000_000}
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
WINDOW = ["--since", "2015-01-01", "--until", "2020-01-01"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    (folder / "known").mkdir()
    text = "\n".join(map(json.dumps, ROWS))
    (folder / "known" / "stream.jsonl").write_text(text, encoding="utf-8")
    lines = entity_lines(1000)  # 22 MB: six pieces of text
    (folder / "dump.json.gz").write_bytes(gzip.compress(dump_text(lines), 1))
    return folder


@pytest.fixture(scope="module")
def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "FKI_HOME": str(home / "home"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
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


def train(*words: str) -> list[str]:
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", *SWEEP, *sets, *words]


def download(*words: str) -> list[str]:
    return ["download", "wiki", "dump.json.gz", "--from", "dump", *WINDOW, *words]


@pytest.fixture
def start(
    home: Path, environment: dict[str, str]
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command of fki, on a cluster if its address is given."""
    started: list[subprocess.Popen[str]] = []

    def start_command(words: list[str], address: str = "") -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "fki", *words],
                cwd=home,
                env=environment | {"RAY_ADDRESS": address},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield start_command
    for command in started:  # of a test that failed
        command.kill()
        command.communicate()


def finish(command: subprocess.Popen[str]) -> str:
    shown, _ = command.communicate(timeout=300)
    assert command.returncode == 0, shown
    return shown


def kill_a_worker(option: str, is_working: Callable[[int], bool]) -> int:
    """Kill a worker whose command is working, and with it the command. Returns its part.

    Args:
        option: of the command, with the value PART/PARTS.
        is_working: whether the command of a part is in the middle of its work.
    """
    end = time.monotonic() + 300  # seconds; a busy machine starts a command in a minute
    while time.monotonic() < end:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes().decode().split("\0")
                parent = int((process.parent / "stat").read_text().rpartition(")")[2].split()[1])
                is_task = "ray::run_command" in Path(f"/proc/{parent}/cmdline").read_text()
                if not (is_task and option in words):
                    continue
                part = int(words[words.index(option) + 1].partition("/")[0])
                os.kill(child := int(process.parent.name), signal.SIGSTOP)  # it cannot end now
                if is_working(part):
                    os.kill(parent, signal.SIGKILL)
                    return part
                os.kill(child, signal.SIGCONT)
            except (OSError, ValueError):
                continue
        time.sleep(0.02)
    raise AssertionError("no worker was in the middle of its work")


@pytest.mark.slow
def test_a_killed_workers_cell_is_repeated_and_all_runs_equal_those_of_one_machine(
    home: Path, start: Callable[..., subprocess.Popen[str]], cluster: str
) -> None:
    finish(start(train("--output-dir", "here")))
    names = ("vanilla-s0", "recadam-s0", "vanilla-s1", "recadam-s1")

    def has_checkpoint(part: int) -> bool:
        checkpoints = home / "there" / names[part - 1] / "checkpoints"
        return bool(list(checkpoints.glob("*-step*/manifest.json")))

    driver = start(train("--output-dir", "there", "--on", "ray"), cluster)
    killed = names[kill_a_worker("--partition", has_checkpoint) - 1]
    shown = finish(driver)
    assert re.search(
        r"vanilla-s0: it needs [\d.]+ GiB of memory; the largest worker has 0\.1", shown
    )
    cells = sorted(folder.name for folder in (home / "there").iterdir())
    assert cells == sorted(names)
    assert all(f"{cell}: done, EM learned" in shown for cell in cells)
    attempts = (home / "there" / killed / "metrics.jsonl").read_text(encoding="utf-8")
    assert attempts.count("train/loss") == 80  # the log of a resumed run has each step once
    for cell in cells:
        ours, theirs = (
            load_file(home / place / cell / "checkpoints" / "2024-Q1" / "weights.safetensors")
            for place in ("there", "here")
        )
        assert all(torch.equal(ours[key], weight) for key, weight in theirs.items()), cell


@pytest.mark.slow
def test_a_killed_workers_shard_is_repeated_and_the_dataset_is_that_of_one_machine(
    home: Path, start: Callable[..., subprocess.Popen[str]], cluster: str
) -> None:
    pytest.importorskip("msgspec")
    finish(start(download("--output", "one")))
    driver = start(download("--output", "four", "--on", "ray", "--shards", "4"), cluster)

    def is_unfinished(part: int) -> bool:
        """Has the shard begun, without being complete?"""
        shards = home / "home" / "downloads"
        is_complete = any(shards.glob(f"*-shards/{part}-of-4"))
        return not is_complete and any(shards.glob(f"*-shards/.{part}-of-4.fki/*"))

    kill_a_worker("--shard", is_unfinished)
    shown = finish(driver)
    assert "4 shards in" in shown and "shards: 4" in shown
    assert not list((home / "home" / "downloads").glob("*-shards"))
    contents = [
        {
            str(file.relative_to(home / place)): re.sub(rb'"at": "[^"]*"', b"", file.read_bytes())
            for file in (home / place).rglob("*")
            if file.is_file()
        }
        for place in ("one", "four")
    ]
    assert {"stream.jsonl", "base.jsonl", "manifest.json", "README.md"} <= contents[0].keys()
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (train("--on", "dask"), "--on must be ray or ray://HOST:PORT"),
        (train("--on", "ray", "--partition", "1/2"), "without --partition"),
        (download("--on", "dask"), "--on must be ray or ray://HOST:PORT"),
        (download("--on", "ray", "--shard", "1/2"), "--shards N sets the number"),
        (download("--shards", "2"), "Add --on ray, or read one shard here: --shard 1/2"),
        (["download", "wiki", "--on", "ray"], "run: fki download wiki FILE --from dump"),
        (["download", "wikipedia", "--on", "ray"], "run: fki download wiki FILE --from dump"),
        (["download", "wiki", "a", "b", "--from", "dump", "--on", "ray"], "Leave --on out"),
    ],
)
def test_what_cannot_be_distributed_is_an_error(
    fki: Callable[..., Any], words: list[str], told: str
) -> None:
    shown = fki(*words)
    assert shown.code == 2 and told in shown.words, shown.words
