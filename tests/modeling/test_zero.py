"""The settings that DeepSpeed is given, and the parts of a state that a process has."""

import sys

import pytest
import torch

from fki.core.errors import DataError
from fki.modeling.zero import Place, import_deepspeed, is_partitioned, join, make_config, stage_of
from fki.testing import toy_decoder, toy_model

SHAPES = [torch.Size([2, 3]), torch.Size([4])]
TENSORS = [torch.arange(6.0).reshape(2, 3), torch.arange(10.0, 14.0)]


def make_places(rank: int) -> list[Place]:
    """Of two parameters with 6 and 4 elements, in two parts of 5."""
    flat = torch.zeros(5)
    if rank == 0:
        return [Place(flat, 0, 0, 5), Place(flat, 0, 0, 0)]
    return [Place(flat, 0, 5, 1), Place(flat, 1, 0, 4)]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_has_its_part_of_each_tensor(rank: int) -> None:
    parts = [[0, 1, 2, 3, 4], [5, 10, 11, 12, 13]]
    places = make_places(rank)
    flat = join(TENSORS, SHAPES, places)
    assert flat.tolist() == parts[rank]
    for tensor, place in zip(TENSORS, places, strict=True):
        assert torch.equal(place.in_flat(flat), place.in_whole(tensor))


def test_a_missing_tensor_is_zero_and_a_number_of_steps_stays_one() -> None:
    places = make_places(1)
    assert join([None, TENSORS[1]], SHAPES, places).tolist() == [0, 10, 11, 12, 13]
    stored = torch.tensor(7.0)
    taken = join([None, stored], SHAPES, places)
    taken += 1
    assert taken == 8 and stored == 7


def test_a_state_of_other_parameters_is_an_error() -> None:
    with pytest.raises(DataError, match="does not fit the parameters"):
        join([TENSORS[1], TENSORS[1]], SHAPES, make_places(0))


@pytest.mark.parametrize("name", ["none", "fsdp", "fsdp_offload"])
def test_other_kinds_of_sharding_have_no_stage(name: str) -> None:
    assert stage_of(name) == 0
    assert not is_partitioned(toy_model())


@pytest.mark.parametrize(
    ("name", "stage", "offloads"),
    [
        ("zero1", 1, []),
        ("zero2", 2, []),
        ("zero2_offload", 2, ["offload_optimizer"]),
        ("zero3", 3, []),
        ("zero3_offload", 3, ["offload_optimizer", "offload_param"]),
    ],
)
def test_the_name_of_the_sharding_has_stage_and_offload(
    name: str, stage: int, offloads: list[str]
) -> None:
    config = make_config(toy_decoder("llama"), name, 0.5)
    zero = config["zero_optimization"]
    assert stage_of(name) == zero["stage"] == stage
    assert [key for key in zero if key.startswith("offload")] == offloads
    assert config["gradient_clipping"] == 0.5


def test_without_deepspeed_the_error_has_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(DataError, match="requires deepspeed, which is not installed") as caught:
        import_deepspeed()
    assert "[deepspeed]" in str(caught.value.hint)
