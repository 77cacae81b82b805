"""Probe sets keep the order of their probes; batches move whole."""

import pytest
import torch

from fki.core.types import Batch, Example, Probe, ProbeSet, SegmentIds

PROBES = [Probe(str(n), period, "x", ("y",)) for n, period in enumerate("babac")]


def test_a_probe_set_of_listed_probes_keeps_their_order() -> None:
    probe_set = ProbeSet.of("new", "learn", PROBES)
    assert len(probe_set) == 5 and probe_set.probes == tuple(PROBES)
    assert [p.id for p in probe_set.of_periods({"a", "b"})] == ["0", "1", "2", "3"]
    assert [p.id for p in probe_set.by_period["a"]] == ["1", "3"]


def test_a_probe_set_by_period_has_the_order_of_the_periods() -> None:
    probe_set = ProbeSet("new", "learn", {"a": PROBES[1:2], "b": PROBES[0:1]})
    assert [p.id for p in probe_set.probes] == ["1", "0"]
    assert [p.id for p in probe_set.of_periods(["b"])] == ["0"] and len(probe_set) == 2


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_batch_moves_with_all_its_tensors(is_packed: bool) -> None:
    ids = torch.zeros(2, 3, dtype=torch.long)
    segments = SegmentIds(ids, ids) if is_packed else None
    moved = Batch(ids, ids, ids, ids[0], segments).to(torch.device("meta"))
    tensors = [*moved[:4], *(moved.segment_ids or ())]
    assert len(tensors) == (6 if is_packed else 4)
    assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.parametrize("others", [(), ("b",), ("b", "c")])
def test_an_example_takes_its_wordings_in_turn_and_then_stays_in_its_wording(
    others: tuple[str, ...],
) -> None:
    example = Example("1", "a", "t", "P6", is_invariant=True, other_sources=others)
    for turn in range(9):
        found = example.in_wording(turn)
        assert found == Example("1", ["a", *others][turn % (1 + len(others))], "t", "P6", True)
        assert found.in_wording(turn + 1) is found
    assert (example.in_wording(0) is example) == (not others)
