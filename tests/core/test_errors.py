"""The nearest right name."""

from fki.core.errors import closest_match, did_you_mean


def test_the_closest_name_is_found_whatever_its_case() -> None:
    assert closest_match("LoRA", ["vanilla", "lora"]) == "lora"
    assert closest_match("invariants", ["Invariant", "new"]) == "Invariant"


def test_nothing_is_suggested_where_no_name_is_alike() -> None:
    assert did_you_mean("xyz", ["vanilla", "lora"]) == ""
