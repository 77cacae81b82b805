"""DeepSpeed shards as its stage demands; runs learn and answer like those with whole weights."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import fki
from tests.training.test_sharded_runs import (
    KEPT,
    ROOT,
    TOGETHER,
    answers,
    find_worker,
    steps,
    wait_for_steps,
)

pytestmark = pytest.mark.skipif(find_spec("deepspeed") is None, reason="requires deepspeed")

ROWS = [
    {
        "relation": "mayor",
        "subject": f"Town {i}",
        "object": f"Person {i}",
        "start": f"2024-0{1 + i % 2}-05",
    }
    for i in range(13)
]
LLAMA = {
    "model": "llama-mini",
    "prompt_format": "completion",
    "document_objective": "next_token",
}
METHODS: dict[str, dict[str, Any]] = {
    "vanilla": {"reset_optimizer_per_period": False, "use_lr_scheduling": True},
    "llama": LLAMA,
    "recadam": {
        "method": "recadam",
        "recadam": {"anchor": "previous_period"},
        "weight_decay": 0.1,
    },
    "kadapter_2": {"method": "kadapter_2", "gradient_checkpointing": True},
    "lora": {"method": "lora", "replay": "prioritized", "prioritized": {"answers": "model"}},
    "kd": {"method": "kd"},
}
STAGES = {
    "vanilla": ("zero1", "zero3_offload"),
    "llama": ("zero2", "zero3"),
    "recadam": ("zero2_offload", "zero3"),
    "kadapter_2": ("zero3",),
    "lora": ("zero3",),
    "kd": ("zero2",),  # refused with zero3
}
LONG = {"num_train_epochs": 8, **LLAMA}

TRAIN = """
import json, sys
from pathlib import Path
import fki

for settings in json.loads(Path(sys.argv[1]).read_text()):
    fki.train(**settings)
"""
SHARES = """
from contextlib import nullcontext
from functools import partial
import torch
from fki.core.errors import DataError
from fki.modeling.device import make_accelerator
from fki.modeling.sharding import gathered
from fki.modeling.zero import ZeroEngine
from fki.testing import toy_model

found = {}
rank = make_accelerator().process_index
ids = torch.arange(1, 9).reshape(2, 4)
for stage in (1, 2, 3):
    torch.manual_seed(0)
    model = toy_model().eval()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    total = sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    engine = ZeroEngine(model, optimizer, f"zero{stage}", max_grad_norm=0.5, autocast=nullcontext)
    engine.backward(engine.module(input_ids=ids, labels=ids).loss, is_last=False)
    gradients = [p.grad.numel() for p in model.parameters() if p.grad is not None]
    found[stage, "gradients"] = sum(gradients) / total
    engine.backward(engine.module(input_ids=ids, labels=ids).loss, is_last=True)
    engine.step()
    moments = [values["exp_avg"].numel() for values in optimizer.state.values()]
    found[stage, "moments"] = sum(moments) / total
    found[stage, "weights"] = sum(p.numel() for p in model.parameters()) / total
    with gathered(model):
        for _ in range(rank):  # the processes run different numbers of passes
            model(input_ids=ids, labels=ids)
        found[stage, "gathered"] = sum(p.numel() for p in model.parameters()) / total
    try:
        engine.load_state({**engine.collect_state(), 0: {"exp_avg": torch.zeros(3)}})
    except DataError:
        found[stage, "refused"] = True
    engine.close()
    moves = [(p.detach() - before[n]).abs().max() for n, p in model.named_parameters()]
    found[stage, "moved"] = float(max(moves))

def loss_in_bf16(model):
    with bf16():
        return float(model(input_ids=ids, labels=ids).loss.detach())

bf16 = partial(torch.autocast, "cpu", torch.bfloat16)
found["bf16", "difference"] = loss_in_bf16(model) - float(model(input_ids=ids, labels=ids).loss)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
before = loss_in_bf16(model)
engine = ZeroEngine(model, optimizer, "zero3", max_grad_norm=0.0, autocast=bf16)
found["bf16", "error"] = loss_in_bf16(engine.module) - before
if rank == 1:
    Path("shares.json").write_text(json.dumps([[*key, value] for key, value in found.items()]))
"""


def run(name: str, sharding: str, **changes: Any) -> dict[str, Any]:
    """The arguments of `fki.train`: some settings, and the run's folder."""
    common = {"dataset": "known", "version": "month", "num_train_epochs": 2, "optimizer": "adamw"}
    common |= {"learning_rate": 1e-3, "max_grad_norm": 0.05, "method": "vanilla"}
    # few tokens a pass: the processes have different numbers of passes
    common |= {"train_batch_size": 5, "ngpu": 2, "micro_batch_tokens": 40}
    return {**common, "sharding": sharding, "output_dir": name, **changes}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stages")
    (folder / "known").mkdir()
    for file, rows in (("stream", ROWS), ("invariant", KEPT)):
        text = "\n".join(map(json.dumps, rows))
        (folder / "known" / f"{file}.jsonl").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FKI_HOME", str(folder / "home"))
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        patch.setenv("TORCH_EXTENSIONS_DIR", str(folder / "compiled"))
        yield folder


def write_command(
    home: Path, processes: int, runs: list[dict[str, Any]], first: str = ""
) -> list[str]:
    """A command that trains runs, one after another, after a script."""
    (home / "train.py").write_text(TRAIN.replace("\nfor", f"{first}\nfor"), encoding="utf-8")
    (home / "runs.json").write_text(json.dumps(runs), encoding="utf-8")
    return [*TOGETHER, f"--nproc_per_node={processes}", "train.py", "runs.json"]


def launch(home: Path, processes: int, runs: list[dict[str, Any]], first: str = "") -> None:
    command = write_command(home, processes, runs, first)
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    words = f"{done.stdout}{done.stderr}".lower()
    assert "deepspeed" not in words and "futurewarning" not in words  # it is silent


@pytest.fixture(scope="module")
def runs(home: Path) -> Path:
    """Each method by two processes, with DDP and with DeepSpeed; before, the shares of each."""
    pairs = [(name, kind) for name, stages in STAGES.items() for kind in ("none", *stages)]
    runs = [run(f"{name}-{kind}", kind, **METHODS[name]) for name, kind in pairs]
    launch(home, 2, [*runs, run("long", "zero3", **LONG)], SHARES)
    return home


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "2024-02" / "weights.safetensors")


def losses(run: Path) -> list[float]:
    return [row["train/loss"] for row in steps(run)]


def assert_alike(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    assert len(losses(one)) > 3
    assert losses(one) == pytest.approx(losses(other), abs=tolerance)
    assert answers(one) == answers(other)
    for key, weight in weights(one).items():
        mean = float((weights(other)[key] - weight).abs().mean())
        assert mean < tolerance / 10, key  # Adam amplifies the rounding of some gradients


def read_shares(runs: Path, stage: int | str) -> dict[str, float]:
    rows = json.loads((runs / "shares.json").read_text(encoding="utf-8"))
    return {name: value for of_stage, name, value in rows if of_stage == stage}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_process_holds_the_part_that_its_stage_shards(stage: int, runs: Path) -> None:
    found = read_shares(runs, stage)
    assert 0.45 < found["moments"] < 0.55
    assert found["gradients"] == (stage == 1)  # beside those of the process's part
    assert (found["weights"] < 0.6) == (stage == 3)
    assert found["gathered"] == 1 and found["refused"]
    assert 0.005 < found["moved"] < 0.02  # the first step of Adam is the learning rate


@pytest.mark.parametrize("name", METHODS)
def test_all_stages_learn_and_answer_like_whole_weights(name: str, runs: Path) -> None:
    for kind in STAGES[name]:
        assert_alike(runs / f"{name}-none", runs / f"{name}-{kind}")


def test_the_forward_pass_is_in_the_precision_of_the_run(runs: Path) -> None:
    found = read_shares(runs, "bf16")
    assert abs(found["error"]) < 1e-5 < 1e-4 < abs(found["difference"])


def test_nothing_is_compiled(runs: Path) -> None:
    assert not (runs / "compiled").exists()


def test_three_processes_are_like_two(runs: Path) -> None:
    launch(runs, 3, [run("llama-three", "zero3", **LLAMA)])
    assert_alike(runs / "llama-none", runs / "llama-three")


@pytest.mark.slow
def test_a_run_whose_process_was_killed_goes_on(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many processes end with the same bits; a single one, without DeepSpeed, with rounding."""
    killed = run("killed", "zero3", save_every_steps=3, **LONG)
    started = subprocess.Popen(
        write_command(runs, 2, [killed]), cwd=runs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_for_steps(runs / "killed", 5)
    os.kill(find_worker(started.pid), signal.SIGKILL)
    assert started.communicate(timeout=60) and started.returncode != 0
    assert 5 <= len(losses(runs / "killed")) < len(losses(runs / "long"))
    shutil.copytree(runs / "killed", runs / "alone")
    launch(runs, 2, [killed | {"resume": True}])
    assert losses(runs / "killed") == losses(runs / "long")
    for key, weight in weights(runs / "long").items():
        assert torch.equal(weights(runs / "killed")[key], weight)
    monkeypatch.chdir(runs)
    fki.train(**killed | {"output_dir": "alone"}, resume=True)
    assert_alike(runs / "long", runs / "alone", 2e-3)
