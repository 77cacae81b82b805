"""The nearest right name."""

from fki.core.errors import closest, nearest


def test_the_closest_name_is_found_whatever_its_case() -> None:
    assert closest("LoRA", ["vanilla", "lora"]) == "lora"
    assert closest("invariants", ["Invariant", "new"]) == "Invariant"


def test_nothing_is_suggested_where_no_name_is_alike() -> None:
    assert nearest("xyz", ["vanilla", "lora"]) == ""
