"""Versions of edits: their form, and the names of their periods."""

import pytest

from fki.core.edit_version import (
    EditVersion,
    check_version,
    describe_periods,
    parse_edit_version,
)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("edits:1", EditVersion(1, None)),
        ("edits:100", EditVersion(100, None)),
        ("edits:all", EditVersion(0, None)),
        ("edits:10:3", EditVersion(10, 3)),
        ("edits:all:0", EditVersion(0, 0)),
    ],
)
def test_a_version_has_a_size_and_a_seed(version: str, expected: EditVersion) -> None:
    assert parse_edit_version(version) == expected
    assert check_version(version) == version


@pytest.mark.parametrize("version", ["edits", "edits:", "edits:0", "edits:-1", "edits:1:", "edit"])
def test_other_texts_are_no_versions_of_edits(version: str) -> None:
    assert parse_edit_version(version) is None
    with pytest.raises(ValueError, match=r"must be 'day', .* or edits:N"):
        check_version(version)


def test_a_similar_version_is_suggested() -> None:
    with pytest.raises(ValueError, match="Did you mean 'quarter'"):
        check_version("quater")


def test_the_names_of_periods_sort_in_their_order() -> None:
    one, ten, whole = EditVersion(1, None), EditVersion(10, None), EditVersion(0, None)
    assert one.period_name(7, 7, 50) == "edit-07"
    assert ten.period_name(91, 100, 250) == "edits-091-100"
    assert ten.period_name(241, 241, 250) == "edit-241"
    assert whole.period_name(1, 250, 250) == "all"


@pytest.mark.parametrize(
    ("number", "version", "expected"),
    [
        (12, "quarter", "12 quarters"),
        (1, "all", "1 period"),
        (50, "edits:1", "50 periods of 1 edit"),
        (5, "edits:10:3", "5 periods of 10 edits"),
        (1, "edits:all", "1 period"),
    ],
)
def test_periods_are_described(number: int, version: str, expected: str) -> None:
    assert describe_periods(number, version) == expected
