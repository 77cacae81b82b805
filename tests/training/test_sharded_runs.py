"""Sharded runs learn and answer like runs with whole weights, also after a process was killed."""

import json
import os
import signal
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
TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
FACT = {"relation": "mayor", "start": "2024-01-05"}
ROWS = [
    FACT | {"subject": f"Town {i} by the {'old ' * (i % 3)}river", "object": f"Person {i}"}
    for i in range(11)
]
KEPT = [{"subject": f"City {i}", "relation": "mayor", "object": f"Dr {i}"} for i in range(4)]
METHODS = {
    "vanilla": [],
    "lora": ["method=lora"],
    "recadam": ["method=recadam"],
    "kadapter_2": ["method=kadapter_2"],
    "modular": ["method=modular"],
    "mixreview": ["method=mixreview"],
    "own-answers": ["replay=prioritized", "prioritized.answers=model", "prioritized.refresh=1"],
    "llama": ["model=llama-mini", "prompt_format=completion", "document_objective=next_token"],
}
LLAMA = METHODS["llama"]
KINDS = {
    "none": [],
    "fsdp": ["sharding=fsdp", "scoring_weights=sharded"],
    "fsdp_offload": ["sharding=fsdp_offload", "scoring_weights=gathered"],
}


def train(name: str, *settings: str) -> list[str]:
    common = ["num_train_epochs=2", "max_periods=1", "learning_rate=1e-3", "optimizer=adamw"]
    # few tokens a pass: the processes have different numbers of passes
    common += ["train_batch_size=5", "ngpu=2", "micro_batch_tokens=40"]
    sets = [part for setting in (*common, *settings) for part in ("--set", setting)]
    return ["train", "--dataset", "known", "--version", "month", "--output-dir", name, *sets]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sharded")
    (folder / "known").mkdir()
    for file, rows in (("stream", ROWS), ("invariant", KEPT)):
        text = "\n".join(map(json.dumps, rows))
        (folder / "known" / f"{file}.jsonl").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FKI_HOME", str(folder / "home"))
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        yield folder


def launch(home: Path, processes: int, commands: list[list[str]]) -> None:
    file = home / f"commands-{processes}.json"
    file.write_text(json.dumps(commands), encoding="utf-8")
    turn = [f"--nproc_per_node={processes}", "-m", "tests.support.commands_in_turn", file.name]
    done = subprocess.run([*TOGETHER, *turn], cwd=home, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(home: Path) -> Path:
    """Each method by two processes, with whole weights and with shards."""
    commands = [
        train(f"{name}-{kind}", *KINDS[kind], *settings)
        for name, settings in METHODS.items()
        for kind in (KINDS if name in ("vanilla", "llama") else ("none", "fsdp"))
    ]
    for kind in ("none", "fsdp"):
        commands.append(train(f"long-{kind}", "num_train_epochs=30", *KINDS[kind], *LLAMA))
        sets = [part for setting in KINDS[kind] for part in ("--set", setting)]
        commands.append(["eval", "kadapter_2-none", "--output", f"scores-{kind}", *sets])
    launch(home, 2, commands)
    return home


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def steps(run: Path) -> list[dict[str, Any]]:
    return [row for row in lines(run / "metrics.jsonl") if "train/loss" in row]


def answers(run: Path) -> list[str]:
    return [row["text"] for row in lines(run / "samples.jsonl")]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "2024-01" / "weights.safetensors")


def assert_alike(one: Path, other: Path, tolerance: float) -> None:
    ours, theirs = steps(one), steps(other)
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-5, abs=tolerance)
    assert answers(one) == answers(other)
    for key, weight in weights(one).items():
        torch.testing.assert_close(weights(other)[key], weight, atol=10 * tolerance, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_shards_learn_and_answer_like_whole_weights(name: str, runs: Path) -> None:
    for kind in ("fsdp", "fsdp_offload"):
        if (runs / f"{name}-{kind}").exists():
            assert_alike(runs / f"{name}-none", runs / f"{name}-{kind}", 1e-5)


def test_one_and_three_processes_are_like_two(runs: Path) -> None:
    launch(runs, 1, [train("llama-alone", *LLAMA)])
    launch(runs, 3, [train("llama-three", *KINDS["fsdp"], *LLAMA)])
    for other in ("llama-alone", "llama-three"):  # llama-mini has no dropout
        assert_alike(runs / "llama-none", runs / other, 1e-5)


def test_an_evaluation_of_shards_is_that_of_whole_weights(runs: Path) -> None:
    assert answers(runs / "scores-fsdp") == answers(runs / "scores-none") != []
    ours, theirs = (lines(runs / f"scores-{kind}" / "samples.jsonl") for kind in ("fsdp", "none"))
    for one, other in zip(ours, theirs, strict=True):
        assert one["log_likelihood"] == pytest.approx(other["log_likelihood"], abs=1e-6)


def start_and_kill(
    home: Path, command: list[str], run: str, *options: str
) -> subprocess.Popen[bytes]:
    """Start two processes, and kill one of them after twelve steps."""
    turn = ["--nproc_per_node=2", "-m", "fki", *command]
    started = subprocess.Popen(
        [*TOGETHER, *turn], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_for_steps(home / run, 12)
    os.kill(find_worker(started.pid), signal.SIGKILL)
    return started


def assert_equal(run: Path, whole: Path) -> None:
    """To the last bit."""
    ours, theirs = ([row["train/loss"] for row in steps(one)] for one in (run, whole))
    assert ours == theirs
    stored = weights(run)
    assert all(torch.equal(stored[key], weight) for key, weight in weights(whole).items())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "after"), [("fsdp", 2), ("fsdp", 1), ("none", 2)])
def test_a_run_whose_process_was_killed_goes_on(runs: Path, kind: str, after: int) -> None:
    """Then as many processes as `after` go on."""
    name, whole = f"killed-{kind}-{after}", runs / f"long-{kind}"
    command = train(name, "num_train_epochs=30", "save_every_steps=3", *KINDS[kind], *LLAMA)
    started = start_and_kill(runs, command, name)
    assert started.communicate(timeout=60) and started.returncode != 0
    assert 12 <= len(steps(runs / name)) < 60
    launch(runs, after, [[*command, "--resume"]])
    if after == 2:
        assert_equal(runs / name, whole)
    else:
        assert_alike(whole, runs / name, 2e-3)


def wait_for_steps(run: Path, count: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        file = run / "metrics.jsonl"
        if file.exists() and file.read_text(encoding="utf-8").count("train/loss") >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the run did not train")


def find_worker(launcher: int) -> int:
    """A process that the launcher started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return int(children[-1])
