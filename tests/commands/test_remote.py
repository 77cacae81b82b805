"""Runs and exports in an object store: a real S3 server on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    {"subject": f"Town {i}", "relation": "mayor", "object": f"Person {i}", "start": "2024-01-05"}
    for i in range(8)
]
WEIGHTS = Path("checkpoints") / "2024-Q1" / "weights.safetensors"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables for an S3 server with an empty bucket."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    variables = os.environ | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": str(ROOT),
    }
    make = "import s3fs; s3fs.S3FileSystem().mkdir('bucket')"
    try:
        for _ in range(100):
            done = subprocess.run([sys.executable, "-c", make], env=variables, capture_output=True)
            if done.returncode == 0:
                break
            time.sleep(0.1)
        assert done.returncode == 0, done.stderr
        yield variables
    finally:
        server.terminate()
        server.wait(timeout=30)


def fki(
    home: Path, environment: dict[str, str], *words: str, machine: str = "one"
) -> subprocess.CompletedProcess[str]:
    """A command on a machine, which has a data folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fki", *words],
        cwd=home,
        env=environment | {"FKI_HOME": str(home / machine)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "known").mkdir()
    text = "\n".join(map(json.dumps, ROWS))
    (tmp_path / "known" / "stream.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def train(output: str, *more: str) -> list[str]:
    settings = ["num_train_epochs=30", "train_batch_size=4", "save_every_steps=4"]
    sets = [part for setting in settings for part in ("--set", setting)]
    return ["train", "--dataset", "known", "--output-dir", output, *sets, *more]


@pytest.mark.slow
def test_a_killed_run_goes_on_on_another_machine(home: Path, environment: dict[str, str]) -> None:
    assert fki(home, environment, *train("whole")).returncode == 0
    address = "s3://bucket/runs/mine"
    started = subprocess.Popen(
        [sys.executable, "-m", "fki", *train(address)],
        cwd=home,
        env=environment | {"FKI_HOME": str(home / "one")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_checkpoint(home / "one")
    started.send_signal(signal.SIGKILL)
    started.wait(timeout=30)
    resumed = fki(home, environment, *train(address, "--resume"), machine="two")
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming" in resumed.stderr and f"Uploaded: {address}" in resumed.stderr

    compared = fki(home, environment, "compare", "s3://bucket/runs", "--json", machine="three")
    assert compared.returncode == 0, compared.stderr
    rows = [json.loads(line) for line in compared.stdout.splitlines()]
    assert [row["name"] for row in rows if "name" in row] == ["vanilla"]
    assert not list((home / "three").rglob("weights.safetensors"))

    asked = fki(home, environment, "ask", address, "The mayor of Town 1 is ___.", machine="four")
    assert asked.returncode == 0, asked.stderr
    [copy] = (home / "four").rglob(str(WEIGHTS))
    ours, theirs = load_file(copy), load_file(home / "whole" / WEIGHTS)
    assert all(torch.equal(ours[key], weight) for key, weight in theirs.items())

    exported = fki(
        home, environment, "export", address, "--to", "hf", "--output", "s3://bucket/model",
        machine="four",
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    asked = fki(home, environment, "ask", "s3://bucket/model", "The mayor of Town 1 is ___.")
    assert asked.returncode == 0, asked.stderr


def wait_for_checkpoint(home: Path) -> None:
    """Until a checkpoint has been saved and another one begun, so that the first is uploaded."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if len(list(home.rglob("checkpoints/*/manifest.json"))) >= 2:
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint was saved")


def test_a_dataset_at_an_address_is_copied(home: Path, environment: dict[str, str]) -> None:
    put = "import s3fs; s3fs.S3FileSystem().put('known', 'bucket/known', recursive=True)"
    subprocess.run([sys.executable, "-c", put], env=environment, cwd=home, check=True)
    planned = fki(home, environment, "plan", "--dataset", "s3://bucket/known")
    assert planned.returncode == 0 and "2024-Q1" in planned.stdout, planned.stderr
    words = ["train", "--dataset", "s3://bucket/known", "--output-dir", "run"]
    done = fki(home, environment, *words, "--set", "num_train_epochs=1")
    assert done.returncode == 0, done.stderr
    info: dict[str, Any] = json.loads((home / "run" / "run.json").read_text(encoding="utf-8"))
    assert info["dataset"]["name"] == "known"


def test_an_address_with_nothing_or_without_a_server_is_said_so(
    home: Path, environment: dict[str, str]
) -> None:
    empty = fki(home, environment, "eval", "s3://bucket/nothing")
    assert empty.returncode == 1 and "There is nothing at s3://bucket/nothing." in empty.stderr
    away = environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    down = fki(home, away, "eval", "s3://bucket/run")
    assert down.returncode == 1 and "s3://bucket/run cannot be reached" in down.stderr
    assert "Traceback" not in down.stderr
