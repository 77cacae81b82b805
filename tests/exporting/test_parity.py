"""What counts as the same model, in text, likelihood and exact match."""

from dataclasses import replace
from itertools import pairwise

import pytest

from fki.core.types import Probe
from fki.exporting.parity import Parity, ProbeSetParity
from fki.runs.recorded_answers import sample_evenly

EXACT = Parity(
    asked=100,
    same_answers=100,
    same_beams=100,
    largest_difference=1e-5,
    mean_difference=1e-6,
    tolerance=1e-3,
    least_same=1.0,
    em_tolerance=2.0,
    reason="rounding",
    probe_sets=(ProbeSetParity("new", 100, 50.0, 50.0, 0),),
)
ROUGH = replace(EXACT, tolerance=1.0, least_same=0.9)


@pytest.mark.parametrize(
    "change",
    [
        {"same_answers": 99},
        {"same_beams": 99},
        {"largest_difference": 0.002},
        {"largest_difference": float("inf")},
        {"probe_sets": (ProbeSetParity("new", 100, 50.0, 49.0, 1),)},
        {"probe_sets": (ProbeSetParity("new", 100, 50.0, 50.0, 2),)},  # one won, one lost
        {"probe_sets": (ProbeSetParity("new", 100, 50.0, 47.0, 0),)},  # too many near-ties
    ],
    ids=str,
)
def test_in_fp32_nothing_may_differ_but_near_ties(change: dict[str, object]) -> None:
    assert EXACT.holds
    assert not replace(EXACT, **change).holds  # type: ignore[arg-type]


def test_a_rougher_format_has_room_but_not_for_another_exact_match() -> None:
    assert replace(ROUGH, same_answers=91, same_beams=None, largest_difference=0.9).holds
    for em, differing, holds in ((48.5, 5, True), (47.0, 3, False), (50.0, 11, False)):
        one = ProbeSetParity("new", 100, 50.0, em, differing)
        assert replace(ROUGH, probe_sets=(one,)).holds == holds


def test_of_few_probes_one_near_tie_may_go_either_way() -> None:
    assert replace(EXACT, probe_sets=(ProbeSetParity("new", 4, 50.0, 75.0, 0),)).holds
    assert not replace(EXACT, probe_sets=(ProbeSetParity("new", 4, 50.0, 0.0, 0),)).holds


@pytest.mark.parametrize("most", [0, 1, 3, 10, 11])
def test_probes_are_spread_evenly_over_all(most: int) -> None:
    probes = [Probe(str(i), "base", "?", ("a",)) for i in range(10)]
    chosen = [int(p.id) for p in sample_evenly(probes, most)]
    assert len(chosen) == (min(most, 10) or 10) and chosen == sorted(set(chosen))
    gaps = {b - a for a, b in pairwise(chosen)}
    assert not gaps or max(gaps) - min(gaps) <= 1
