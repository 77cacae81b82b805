"""Numbers read the same wherever they are shown."""

import pytest

from fki.core.formatting import (
    escape_pipes,
    format_count,
    format_duration,
    format_list,
    format_number,
    format_p_value,
    markdown_table,
)


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [
        (None, 1, True, "-"),
        (12.34, 1, False, "12.3"),
        (1234.5, 0, False, "1,234"),
        (-0.04, 1, False, "0.0"),
        (-0.04, 1, True, "+0.0"),
        (-0.06, 1, True, "-0.1"),
        (3.0, 2, True, "+3.00"),
    ],
)
def test_a_number_is_rounded_and_never_minus_nothing(
    value: float | None, digits: int, sign: bool, text: str
) -> None:
    assert format_number(value, digits, sign=sign) == text


def test_times_and_counts_are_short() -> None:
    assert [format_duration(s) for s in (6.6, 125, 3725)] == ["7 s", "2:05", "1:02:05"]
    assert [format_count(n) for n in (999, 47_000, 1_456_384, 3 * 10**9)] == [
        *("999", "47 k", "1.46 M", "3 G")
    ]


def test_p_values_are_short() -> None:
    values = (None, 0.0004, 0.0312, 1.0)
    assert [format_p_value(p) for p in values] == ["-", "<0.001", "0.031", "1.000"]


def test_a_list_reads_as_a_sentence() -> None:
    names = ("", "a", "ab", "abc")
    assert [format_list(list(name)) for name in names] == ["", "a", "a and b", "a, b and c"]
    assert format_list(["a, 1", "b, 2", "c"]) == "a, 1; b, 2 and c"


def test_a_markdown_table_has_a_rule_under_its_head() -> None:
    rows = [[escape_pipes("a|b"), "1"]]
    assert markdown_table(["x", "n"], rows, "lr") == [
        "| x | n |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
    ]
    assert markdown_table(["x"], []) == ["| x |", "| --- |"]
