"""Several processes do the work of one, on this machine's loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

TRAIN = [
    "--dataset",
    "data",
    "--version",
    "month",
    "--set",
    "num_train_epochs=2",
    "--set",
    "max_periods=1",
    "--set",
    "learning_rate=1e-4",
]
ALONE = [sys.executable]
TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def train(folder: Path, launcher: list[str], name: str, *more: str) -> Path:
    """Run `fki train` under a launcher. Returns the run's folder."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*launcher, "-m", "fki", "train", *TRAIN, "--output-dir", name, *more]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / name


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_two_processes_end_a_period_at_the_same_step_where_time_ends_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    fact = {"subject": "Town", "relation": "mayor", "object": "Ada", "start": "2024-01-05"}
    rows = [fact | {"subject": f"Town {i}"} for i in range(6)]
    (tmp_path / "data" / "stream.jsonl").write_text("\n".join(map(json.dumps, rows)))
    budget = ["--set", "budget.seconds=0.3", "--set", "num_train_epochs=5000"]
    measured = ["--set", "mixed_precision=auto"]  # the first process decides for both
    run = train(tmp_path, TOGETHER, "run", "--set", "ngpu=2", *budget, *measured)
    steps = [row for row in lines(run / "metrics.jsonl") if "train/loss" in row]
    assert sum(row["seconds"] for row in steps[:-1]) < 0.3 + 0.1  # the slowest process decides
    assert 0 < len(steps) < 5000
    assert json.loads((run / "run.json").read_text())["status"] == "done"


@pytest.mark.parametrize(
    "more",
    [(), ("--set", "replay=prioritized", "--set", "prioritized.answers=model")],
    ids=["vanilla", "prioritized"],
)
def test_two_processes_learn_and_answer_like_one_with_twice_the_batch(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    rows = [
        {
            "subject": f"Town {i}",
            "relation": "mayor",
            "object": f"Person {i}",
            "start": "2024-01-05",
        }
        for i in range(11)  # an odd number: the last optimizer batch leaves one process idle
    ]
    (tmp_path / "data" / "stream.jsonl").write_text("\n".join(map(json.dumps, rows)))
    known = [{"subject": f"City {i}", "relation": "mayor", "object": f"Dr {i}"} for i in range(4)]
    (tmp_path / "data" / "invariant.jsonl").write_text("\n".join(map(json.dumps, known)))
    one = train(tmp_path, ALONE, "one", "--set", "train_batch_size=10", *more)
    two = train(tmp_path, TOGETHER, "two", "--set", "train_batch_size=5", "--set", "ngpu=2", *more)
    name = Path("checkpoints") / "2024-01" / "weights.safetensors"
    alone, together = load_file(one / name), load_file(two / name)
    for key, weights in alone.items():
        torch.testing.assert_close(together[key], weights, atol=1e-4, rtol=0)
    first, second = (lines(run / "metrics.jsonl") for run in (one, two))
    steps = [[row for row in rows if "train/loss" in row] for rows in (first, second)]
    assert steps[0][0]["train/loss"] == pytest.approx(steps[1][0]["train/loss"], rel=1e-6)
    assert steps[0][0]["grad_norm"] == pytest.approx(steps[1][0]["grad_norm"], rel=1e-5)
    for a, b in zip(*steps, strict=True):
        assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-3)
    answers = [[row["text"] for row in lines(run / "samples.jsonl")] for run in (one, two)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "settings",
    [
        ["coreset=k_center", "repeat_num=2"],
        ["coreset=loss_net", "coreset_ratio=0.7"],
        ["method=kd", "kd.alpha=2.0", "kd.temperature=2.0"],
    ],
    ids=str,
)
def test_two_processes_select_and_distill_like_one_with_twice_the_batch(
    settings: list[str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    rows = [
        {
            "subject": f"Town {i} by the {'old ' * (i % 3)}river",
            "relation": "mayor",
            "object": f"Person {i}",
            "start": "2024-01-05",
        }
        for i in range(11)  # an odd number: the last optimizer batch leaves one process idle
    ]
    (tmp_path / "data" / "stream.jsonl").write_text("\n".join(map(json.dumps, rows)))
    more = [part for setting in settings for part in ("--set", setting)]
    one = train(tmp_path, ALONE, "one", "--set", "train_batch_size=10", *more)
    two = train(tmp_path, TOGETHER, "two", "--set", "train_batch_size=5", "--set", "ngpu=2", *more)
    name = Path("checkpoints") / "2024-01" / "weights.safetensors"
    alone, together = load_file(one / name), load_file(two / name)
    for key, weights in alone.items():
        torch.testing.assert_close(together[key], weights, atol=1e-4, rtol=0)
    steps = [
        [row for row in lines(run / "metrics.jsonl") if "train/loss" in row] for run in (one, two)
    ]
    assert steps[0][0]["train/loss"] == pytest.approx(steps[1][0]["train/loss"], rel=1e-5)
    assert [row["tokens"] for row in steps[0]] == [row["tokens"] for row in steps[1]]


def test_two_processes_run_each_cell_of_a_grid_as_they_run_it_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    row = {"subject": "Town", "relation": "mayor", "object": "Ann", "start": "2024-01-05"}
    (tmp_path / "data" / "stream.jsonl").write_text(json.dumps(row))
    grid = train(tmp_path, TOGETHER, "grid", "--methods", "vanilla,lora", "--set", "ngpu=2")
    alone = train(tmp_path, TOGETHER, "alone", "--preset", "t5_lora", "--set", "ngpu=2")
    name = Path("checkpoints") / "2024-01" / "weights.safetensors"
    ours, theirs = load_file(grid / "lora-s0" / name), load_file(alone / name)
    assert all(torch.equal(ours[key], weights) for key, weights in theirs.items())
    assert json.loads((grid / "vanilla-s0" / "run.json").read_text())["status"] == "done"


def test_two_processes_retrieve_and_answer_like_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    row = {"relation": "mayor", "start": "2024-01-05"}
    rows = [row | {"subject": f"Town {i}", "object": f"Person {i}"} for i in range(7)]
    (tmp_path / "data" / "stream.jsonl").write_text("\n".join(map(json.dumps, rows)))
    alone = train(tmp_path, ALONE, "one", "--preset", "t5_retrieval")
    both = train(tmp_path, TOGETHER, "two", "--preset", "t5_retrieval", "--set", "ngpu=2")
    answers = [[row["text"] for row in lines(run / "samples.jsonl")] for run in (alone, both)]
    assert answers[0] == answers[1]
    first, second = (json.loads((run / "run.json").read_text()) for run in (alone, both))
    assert first["reading_check"] == second["reading_check"]
    assert first["spent"]["question_tokens"] == second["spent"]["question_tokens"] > 0
    name = Path("checkpoints") / "2024-01" / "training.safetensors"
    assert (alone / name).read_bytes() == (both / name).read_bytes()
