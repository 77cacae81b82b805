"""Several processes do the work of one, on this machine's loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.commands_in_turn import run_in_turn

TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
WEIGHTS = Path("checkpoints") / "2024-01" / "weights.safetensors"
ROOT = Path(__file__).resolve().parents[2]
FACT = {"relation": "mayor", "start": "2024-01-05"}
MANY = [FACT | {"subject": f"Town {i}", "object": f"Person {i}"} for i in range(11)]
UNLIKE = [
    row | {"subject": f"{row['subject']} by the {'old ' * (i % 3)}river"}
    for i, row in enumerate(MANY)
]
DATA: dict[str, dict[str, list[dict[str, str]]]] = {
    "timed": {"stream": [FACT | {"subject": f"Town {i}", "object": "Ada"} for i in range(6)]},
    # an odd number: the last optimizer batch leaves one process idle
    "known": {
        "stream": MANY,
        "invariant": [
            {"subject": f"City {i}", "relation": "mayor", "object": f"Dr {i}"} for i in range(4)
        ],
    },
    "unlike": {"stream": UNLIKE},
    "single": {"stream": [FACT | {"subject": "Town", "object": "Ann"}]},
    "seven": {"stream": MANY[:7]},
}
LEARNED = {
    "vanilla": [],
    "prioritized": ["replay=prioritized", "prioritized.answers=model", "prioritized.refresh=1"],
}
SELECTED = {
    "k_center": ["coreset=k_center", "repeat_num=2"],
    "loss_net": ["coreset=loss_net", "coreset_ratio=0.7"],
    "kd": ["method=kd", "kd.alpha=2.0", "kd.temperature=2.0"],
}


def train(data: str, name: str, *more: str) -> list[str]:
    """The arguments of a short run into the folder `name`."""
    settings = ["num_train_epochs=2", "max_periods=1", "learning_rate=1e-4"]
    return [
        *("train", "--dataset", data, "--version", "month", "--output-dir", name),
        *sets(*settings),
        *more,
    ]


def sets(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def launch(folder: Path, command: list[str]) -> None:
    """Start a process in the folder and wait until it has ended well."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the datasets, where the runs of this module are."""
    folder = tmp_path_factory.mktemp("processes")
    for name, files in DATA.items():
        (folder / name).mkdir()
        for file, rows in files.items():
            text = "\n".join(map(json.dumps, rows))
            (folder / name / f"{file}.jsonl").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FKI_HOME", str(folder / "home"))
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def alone(home: Path) -> Path:
    """The folder with the runs of one process."""
    cases = {f"{name}-alone": ("known", settings) for name, settings in LEARNED.items()}
    cases |= {f"{name}-alone": ("unlike", settings) for name, settings in SELECTED.items()}
    run_in_turn(
        [
            *(
                train(data, name, *sets("train_batch_size=10", *s))
                for name, (data, s) in cases.items()
            ),
            train("seven", "retrieval-alone", "--preset", "t5_retrieval"),
        ]
    )
    return home


@pytest.fixture(scope="module")
def together(home: Path) -> Path:
    """The folder with the runs of two processes, which are started once for all of them."""
    cases = {f"{name}-together": ("known", settings) for name, settings in LEARNED.items()}
    cases |= {f"{name}-together": ("unlike", settings) for name, settings in SELECTED.items()}
    commands = [
        *(train(data, name, *sets("train_batch_size=5", *s)) for name, (data, s) in cases.items()),
        train("seven", "retrieval-together", "--preset", "t5_retrieval"),
        train("single", "grid", "--methods", "vanilla,lora"),
        train("single", "cell-together", "--preset", "t5_lora"),
    ]
    commands = [[*command, *sets("ngpu=2")] for command in commands]
    (home / "commands.json").write_text(json.dumps(commands), encoding="utf-8")
    launch(home, [*TOGETHER, "-m", "tests.support.commands_in_turn", "commands.json"])
    return home


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_two_processes_end_a_period_at_the_same_step_where_time_ends_it(home: Path) -> None:
    settings = ["ngpu=2", "budget.seconds=0.3", "num_train_epochs=5000"]
    measured = "mixed_precision=auto"  # the first process decides for both
    launch(home, [*TOGETHER, "-m", "fki", *train("timed", "timed-run", *sets(*settings, measured))])
    run = home / "timed-run"
    steps = [row for row in lines(run / "metrics.jsonl") if "train/loss" in row]
    assert sum(row["seconds"] for row in steps[:-1]) < 0.3 + 0.1  # the slowest process decides
    assert 0 < len(steps) < 5000
    assert json.loads((run / "run.json").read_text())["status"] == "done"


@pytest.mark.parametrize("name", LEARNED)
def test_two_processes_learn_and_answer_like_one_with_twice_the_batch(
    name: str, alone: Path, together: Path
) -> None:
    one, two = alone / f"{name}-alone", together / f"{name}-together"
    assert_same_weights(one, two)
    first, second = (lines(run / "metrics.jsonl") for run in (one, two))
    steps = [[row for row in rows if "train/loss" in row] for rows in (first, second)]
    assert steps[0][0]["train/loss"] == pytest.approx(steps[1][0]["train/loss"], rel=1e-6)
    assert steps[0][0]["grad_norm"] == pytest.approx(steps[1][0]["grad_norm"], rel=1e-5)
    for a, b in zip(*steps, strict=True):
        assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-3)
    answers = [[row["text"] for row in lines(run / "samples.jsonl")] for run in (one, two)]
    assert answers[0] == answers[1]


def assert_same_weights(one: Path, two: Path) -> None:
    alone, together = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    for key, weights in alone.items():
        torch.testing.assert_close(together[key], weights, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SELECTED)
def test_two_processes_select_and_distill_like_one_with_twice_the_batch(
    name: str, alone: Path, together: Path
) -> None:
    one, two = alone / f"{name}-alone", together / f"{name}-together"
    assert_same_weights(one, two)
    steps = [
        [row for row in lines(run / "metrics.jsonl") if "train/loss" in row] for run in (one, two)
    ]
    assert steps[0][0]["train/loss"] == pytest.approx(steps[1][0]["train/loss"], rel=1e-5)
    assert [row["tokens"] for row in steps[0]] == [row["tokens"] for row in steps[1]]


def test_two_processes_run_each_cell_of_a_grid_as_they_run_it_alone(together: Path) -> None:
    grid, cell = together / "grid", together / "cell-together"
    ours, theirs = load_file(grid / "lora-s0" / WEIGHTS), load_file(cell / WEIGHTS)
    assert all(torch.equal(ours[key], weights) for key, weights in theirs.items())
    assert json.loads((grid / "vanilla-s0" / "run.json").read_text())["status"] == "done"


def test_two_processes_retrieve_and_answer_like_one(alone: Path, together: Path) -> None:
    runs = alone / "retrieval-alone", together / "retrieval-together"
    answers = [[row["text"] for row in lines(run / "samples.jsonl")] for run in runs]
    assert answers[0] == answers[1]
    first, second = (json.loads((run / "run.json").read_text()) for run in runs)
    assert first["reading_check"] == second["reading_check"]
    assert first["spent"]["question_tokens"] == second["spent"]["question_tokens"] > 0
    name = Path("checkpoints") / "2024-01" / "training.safetensors"
    assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes()
