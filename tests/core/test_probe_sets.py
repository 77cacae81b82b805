"""Probe sets stand in one table, and other facts follow from it."""

import pytest

from fki.core.probe_sets import (
    FACTS,
    PARAPHRASES,
    PROBE_SETS,
    describe,
    kept_probe_set,
    matrix_probe_sets,
)
from fki.core.types import HELD_OUT_WORDINGS


def test_the_table_has_each_set_once_with_names_of_its_own() -> None:
    assert all(name == probe_set.name for name, probe_set in PROBE_SETS.items())
    for field in ("short", "meaning"):
        values = [getattr(probe_set, field) for probe_set in PROBE_SETS.values()]
        assert len(set(values)) == len(values) and all(values)
    assert {name: probe_set.role for name, probe_set in PROBE_SETS.items()} == {
        "invariant": "keep",
        "initial": "keep",
        "updated": "change",
        "new": "learn",
        "paraphrase": "learn",
        "paraphrase_2": "learn",
        "cloze": "learn",
    }


def test_there_is_a_paraphrase_set_for_each_wording_that_is_never_trained_on() -> None:
    assert PARAPHRASES == {"paraphrase": 1, "paraphrase_2": 2}
    assert tuple(PARAPHRASES.values()) == HELD_OUT_WORDINGS and PARAPHRASES.keys() < {*PROBE_SETS}


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["new"], FACTS), (["cloze", "updated"], FACTS), (["cloze"], ("cloze",)), ([], ("cloze",))],
)
def test_the_matrix_is_of_facts_or_else_of_cloze_probes(
    names: list[str], expected: tuple[str, ...]
) -> None:
    assert matrix_probe_sets(names) == expected


def test_what_is_kept_is_invariant_facts_or_else_initial_ones() -> None:
    assert kept_probe_set(["initial", "invariant"]) == "invariant"
    assert kept_probe_set(["initial"]) == "initial"


def test_a_set_of_ones_own_is_described_too() -> None:
    assert describe("new") == PROBE_SETS["new"].meaning and describe("capitals")
