"""A checkpoint is whole or not there, and fits or is refused."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fki.config.schema import Config
from fki.core import registry
from fki.core.errors import DataError, FkiError
from fki.methods.base import trainable_parameters
from fki.runs import checkpoint
from fki.testing import Case, toy_model


def save(run: Path, name: str = "a", *, order: int = 1, keep_last: int = 9) -> Path:
    return checkpoint.save(run, name, model(), order=order, keep_last=keep_last)


def model(bias: float = 0.5) -> nn.Module:
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.bias, bias)
    return layer


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    saved, other = model(), model(9.0)
    checkpoint.load(checkpoint.save(tmp_path, "a", saved, order=1, keep_last=1), other)
    weights = other.state_dict()
    assert all(torch.equal(p, weights[n]) for n, p in saved.state_dict().items())


def test_loading_keeps_what_is_tied_tied(tmp_path: Path) -> None:
    first, second = toy_model(), toy_model()
    with torch.no_grad():
        first.shared.weight += 1
    checkpoint.load(checkpoint.save(tmp_path, "a", first, order=1, keep_last=1), second)
    assert second.lm_head.weight is second.shared.weight
    assert torch.equal(second.lm_head.weight, first.shared.weight)


def test_it_holds_all_that_trains_and_nothing_else(tmp_path: Path) -> None:
    ready = Case("lora").prepare(2)
    folder = checkpoint.save(tmp_path, "a", ready.model, order=1, keep_last=1)
    assert load_file(folder / checkpoint.WEIGHTS).keys() == trainable_parameters(ready.model).keys()


def test_it_is_safetensors_and_a_manifest_and_never_a_pickle(tmp_path: Path) -> None:
    folder = save(tmp_path)
    names = {"weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}
    assert {f.name for f in folder.iterdir()} == names
    content = (folder / "weights.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert {"weight", "bias"} <= header.keys()
    assert all(b"pickle" not in f.read_bytes() for f in folder.iterdir())


def test_further_tensors_are_a_file_of_their_own_which_is_verified_too(tmp_path: Path) -> None:
    further = {"method.teacher": torch.arange(3.0)}
    folder = checkpoint.save(tmp_path, "a", model(), order=1, training=further)
    assert torch.equal(checkpoint.load_training(folder)["method.teacher"], torch.arange(3.0))
    assert checkpoint.load_training(save(tmp_path, "b")) == {}
    (folder / checkpoint.TRAINING).write_bytes(b"")
    with pytest.raises(DataError, match=r"checksum of training\.safetensors"):
        checkpoint.verify(folder)


@pytest.mark.parametrize("place", [10, -1])
def test_a_damaged_file_is_refused(place: int, tmp_path: Path) -> None:
    file = save(tmp_path) / checkpoint.WEIGHTS
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    target = model(9.0)
    with pytest.raises(DataError, match="is damaged"):
        checkpoint.load(file.parent, target)
    assert torch.equal(target.state_dict()["bias"], torch.full((2,), 9.0))


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path) / checkpoint.WEIGHTS
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DataError, match="is damaged"):
        checkpoint.load(file.parent, model())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path)
    (folder / checkpoint.WEIGHTS).unlink()
    with pytest.raises(DataError, match=r"weights\.safetensors is missing or a link"):
        checkpoint.load(folder, model())


@pytest.mark.parametrize(
    "wrong", [nn.Linear(3, 2), nn.Linear(2, 2, bias=False), nn.Sequential(nn.Linear(2, 2))]
)
def test_weights_that_do_not_fit_are_refused(wrong: nn.Module, tmp_path: Path) -> None:
    before = {n: p.clone() for n, p in wrong.state_dict().items()}
    with pytest.raises(DataError, match="does not fit the model"):
        checkpoint.load(save(tmp_path), wrong)
    assert all(torch.equal(p, before[n]) for n, p in wrong.state_dict().items())


def test_another_freeze_level_is_refused(tmp_path: Path) -> None:
    saved = checkpoint.save(tmp_path, "a", Case("lora").prepare(2).model, order=1, keep_last=1)
    with pytest.raises(DataError, match="freeze_level"):
        checkpoint.load(saved, Case("lora").prepare(1).model)


def test_the_newest_stay_in_the_order_of_the_run_and_not_of_the_alphabet(tmp_path: Path) -> None:
    for order, name in enumerate(["c", "b", "d", "a"]):
        save(tmp_path, name, order=order, keep_last=2)
    assert [f.name for f in checkpoint.list_checkpoints(tmp_path)] == ["d", "a"]
    assert {f.name for f in (tmp_path / "checkpoints").iterdir()} == {"d", "a", "LATEST"}
    assert (tmp_path / "checkpoints" / "LATEST").read_text() == "a\n"


def test_those_that_are_named_stay_beside_the_newest(tmp_path: Path) -> None:
    for order, name in enumerate("abcd"):
        checkpoint.save(tmp_path, name, model(), order=order, keep_last=1, keep=["b"])
    assert [f.name for f in checkpoint.list_checkpoints(tmp_path)] == ["b", "d"]


def test_one_is_chosen_by_name_and_the_newest_without(tmp_path: Path) -> None:
    for order, name in enumerate("ba"):
        save(tmp_path, name, order=order)
    assert checkpoint.choose(tmp_path).name == "a"
    assert checkpoint.choose(tmp_path, "b").name == "b"
    with pytest.raises(DataError, match="no checkpoint 'x'; it has b, a"):
        checkpoint.choose(tmp_path, "x")


def test_a_run_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no checkpoint"):
        checkpoint.choose(tmp_path)


def test_what_a_killed_run_left_behind_is_passed_over(tmp_path: Path) -> None:
    whole = save(tmp_path, "a", order=1)
    scratch = whole.with_name(".b.123")
    scratch.mkdir()
    (scratch / "manifest.json").write_text('{"name": "b", "order": 2, "sha256": ""}')
    half = whole.with_name("c")
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")
    torn = whole.with_name("d")
    torn.mkdir()
    (torn / "manifest.json").write_text('{"order":')
    assert checkpoint.list_checkpoints(tmp_path) == [whole]


def test_a_disk_that_refuses_leaves_the_older_checkpoints_and_no_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = save(tmp_path, "a", order=1, keep_last=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FkiError, match=r"Cannot write the checkpoint .*No space left"):
        save(tmp_path, "b", order=2, keep_last=1)
    assert {f.name for f in (tmp_path / "checkpoints").iterdir()} == {whole.name, "LATEST"}
    checkpoint.verify(whole)


def test_the_newest_that_verifies_counts_and_the_user_is_told_of_the_others(tmp_path: Path) -> None:
    folders = [save(tmp_path, name, order=order) for order, name in enumerate("abc")]
    file = folders[2] / checkpoint.WEIGHTS
    file.write_bytes(file.read_bytes()[:-1])
    found, problems = checkpoint.find_newest_valid(tmp_path)
    assert found == folders[1]
    assert len(problems) == 1 and "c is damaged: the checksum of weights" in problems[0]


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    (folder / checkpoint.WEIGHTS).rename(elsewhere)
    (folder / checkpoint.WEIGHTS).symlink_to(elsewhere)
    with pytest.raises(DataError, match="missing or a link"):
        checkpoint.load(folder, model())


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NaN or infinity in bias"):
        checkpoint.load(
            checkpoint.save(tmp_path, "a", model(float("nan")), order=1, keep_last=1), model()
        )


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "recadam", "sgd"])
def test_an_optimizer_goes_on_where_it_was(kind: str, tmp_path: Path) -> None:
    def fresh(layer: nn.Module) -> torch.optim.Optimizer:
        if kind == "sgd":
            return torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        name = "recadam" if kind == "recadam" else "vanilla"
        settings = {"method": name, "optimizer": "adamw" if kind == "recadam" else kind}
        method = registry.method_class(name)(Config.model_validate(settings))
        method.anchors = {n: p.detach().clone() for n, p in layer.named_parameters()}
        return method.optimizer(layer, 10)

    def step(layer: nn.Module, optimizer: torch.optim.Optimizer, times: int) -> None:
        for i in range(times):
            optimizer.zero_grad()
            layer(torch.tensor([[1.0, i + 0.5]])).pow(2).sum().backward()
            optimizer.step()

    straight, stopped = model(), model()
    with torch.no_grad():
        stopped.weight.copy_(straight.weight)  # type: ignore[operator, arg-type]
    start = {n: p.detach().clone() for n, p in straight.named_parameters()}
    optimizer = fresh(straight)
    step(straight, optimizer, 3)
    folder = checkpoint.save(tmp_path, "a", straight, order=3, optimizer=optimizer)
    step(straight, optimizer, 3)
    with torch.no_grad():
        for name, p in stopped.named_parameters():
            p.copy_(start[name])
    again = fresh(stopped)  # whose anchors, if any, are the start weights
    checkpoint.load(folder, stopped)
    _, state = checkpoint.load_state(folder)
    again.load_state_dict(again.state_dict() | {"state": state})
    step(stopped, again, 3)
    for name, p in straight.named_parameters():
        assert torch.equal(p, stopped.get_parameter(name)), name


def test_ctrl_c_in_the_middle_leaves_no_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_tensors", pressed)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_path_means_a_checkpoint_or_the_newest_of_a_run(tmp_path: Path) -> None:
    folder = save(tmp_path)
    assert checkpoint.find(folder) == folder
    (tmp_path / "run.json").write_text("{}")
    assert checkpoint.find(tmp_path) == folder
    with pytest.raises(DataError, match="neither a run nor one of its checkpoints"):
        checkpoint.find(tmp_path / "checkpoints")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (checkpoint.STATE, b"{"),
        (checkpoint.STATE, b"[]"),
        (checkpoint.STATE, b'{"optimizer": 3}'),
        (checkpoint.STATE, b"[" * 10_000),
        (checkpoint.OPTIMIZER, b""),
        (checkpoint.OPTIMIZER, b"\xff" * 64),
    ],
)
def test_a_state_that_cannot_be_read_is_a_data_error(
    name: str, content: bytes, tmp_path: Path
) -> None:
    folder = save(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match="Cannot read"):
        checkpoint.load_state(folder)


def test_a_disk_that_fails_while_a_checkpoint_is_verified_is_a_data_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: Path) -> str:
        raise OSError(5, "Input/output error")

    folder = save(tmp_path)
    monkeypatch.setattr(checkpoint, "file_digest", fail)
    with pytest.raises(DataError, match=r"Cannot read the checkpoint .*Input/output error"):
        checkpoint.verify(folder)
    assert checkpoint.find_newest_valid(tmp_path)[0] is None
