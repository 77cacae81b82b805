"""The size of a checkpoint, as it is checked against the disk, is that of the files."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fki.core import registry
from fki.runs import checkpoint
from fki.training.run_lifecycle import OTHER_BYTES, STEP_BYTES, checkpoint_bytes, log_bytes
from fki.training.session import build_session

CASES: list[dict[str, Any]] = [
    *(
        {"method": name, "optimizer": "adafactor"}
        for name in registry.BUILTIN
        if registry.method_class(name).trains
    ),
    {"method": "vanilla", "optimizer": "adamw"},
    {"method": "lora", "optimizer": "adamw", "freeze_level": 1},
    {"method": "recadam", "recadam": {"anchor": "previous_period"}},
]


def tensor_bytes(file: Path) -> int:
    """Bytes of a safetensors file behind its header."""
    content = file.read_bytes()
    (header,) = struct.unpack("<Q", content[:8])
    return len(content) - 8 - int(header)


def take_step(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of all distinct tensors that an optimizer holds beside its parameters."""
    states = [value for state in optimizer.state.values() for value in state.values()]
    anchors = [anchor for group in optimizer.param_groups for anchor in group.get("anchors", ())]
    tensors = {id(t): t for t in [*states, *anchors] if isinstance(t, torch.Tensor)}
    return sum(tensor.nbytes for tensor in tensors.values())


@pytest.mark.parametrize("settings", CASES, ids=lambda s: "-".join(map(str, s.values())))
def test_the_stated_sizes_are_those_of_the_optimizer_and_the_checkpoint(
    resolved: Callable[..., Any], tmp_path: Path, settings: dict[str, Any]
) -> None:
    session = build_session(resolved(**settings).config)
    optimizer = session.method.optimizer(session.model, 3)
    take_step(optimizer)
    assert state_bytes(optimizer) == session.method.optimizer_bytes(session.model).memory
    session.method.begin_period(session.model, session.periods[0])
    state = session.method.state()
    folder = checkpoint.save(
        tmp_path, "x", session.model, order=1, optimizer=optimizer, training=state
    )
    assert sum(map(tensor_bytes, folder.glob("*.safetensors"))) == checkpoint_bytes(session)


@pytest.mark.parametrize("reset", ["none", "base"])
def test_the_stated_size_of_logs_is_near_that_of_the_files(
    make_runner: Callable[..., Any], tmp_path: Path, reset: str
) -> None:
    runner = make_runner(tmp_path / "run", reset=reset, num_train_epochs=2, max_periods=2)
    assert list(runner.events())
    folder = runner.run.folder
    files = [folder / name for name in ("samples.jsonl", "probes.jsonl")]
    session = runner.session
    answers = files[0].read_text(encoding="utf-8").splitlines()
    assert len(answers) == session.schedule.count_answers()
    size = sum(file.stat().st_size for file in files)
    steps = sum(session.expected_steps.values())
    stated = log_bytes(session) - OTHER_BYTES - STEP_BYTES * steps
    assert 0.5 * stated < size < 1.3 * stated
