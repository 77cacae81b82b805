"""Files of tensors, against the reader and the writer of the library safetensors."""

import gc
import weakref
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fki.runs.tensor_file import DTYPES, send_shards, write_tensors


def tensors() -> dict[str, Tensor]:
    """One of each type and shape."""
    found = {f"{dtype}": torch.arange(5).to(dtype) for dtype in DTYPES}
    return found | {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "turned": torch.arange(6.0).reshape(2, 3).T,
    }


def test_the_file_is_that_of_the_library(tmp_path: Path) -> None:
    write_tensors(tmp_path / "ours", tensors())
    save_file({n: t.contiguous() for n, t in tensors().items()}, tmp_path / "theirs")
    ours, theirs = load_file(tmp_path / "ours"), load_file(tmp_path / "theirs")
    assert ours.keys() == theirs.keys() == tensors().keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor)
    assert (tmp_path / "ours").stat().st_size == (tmp_path / "theirs").stat().st_size


def test_no_tensor_makes_an_empty_file(tmp_path: Path) -> None:
    write_tensors(tmp_path / "none", {})
    assert load_file(tmp_path / "none") == {}


class Shard(Tensor):
    """A shard whose whole tensors are counted while they exist."""

    order: list[float]
    alive: "weakref.WeakSet[Tensor]"
    most = 0

    @classmethod
    def begin(cls) -> None:
        cls.order, cls.alive, cls.most = [], weakref.WeakSet(), 0

    def full_tensor(self) -> Tensor:
        gc.collect()
        whole = self.as_subclass(Tensor) + 0
        type(self).alive.add(whole)
        type(self).most = max(type(self).most, len(type(self).alive))
        type(self).order.append(float(whole[0]))
        return whole


def test_one_tensor_at_a_time_is_whole_and_all_processes_have_one_order(tmp_path: Path) -> None:
    named = {f"{i}": torch.full((4,), float(i)).as_subclass(Shard) for i in (2, 0, 1)}
    mixed: dict[str, Any] = {**named, "plain": torch.ones(2)}
    Shard.begin()
    write_tensors(tmp_path / "file", mixed)
    assert Shard.order == [0.0, 1.0, 2.0] and Shard.most == 1
    assert torch.equal(load_file(tmp_path / "file")["1"], torch.ones(4))
    Shard.begin()
    send_shards(dict(reversed(mixed.items())))
    assert Shard.order == [0.0, 1.0, 2.0] and Shard.most == 1
