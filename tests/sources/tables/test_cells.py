"""Cells keep every digit and answer, and what is no text has a reason."""

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from fki.data.row_files import UNREADABLE
from fki.sources.tables.cells import (
    NO_TEXT,
    OBJECT,
    SEVERAL,
    columns_of,
    get_cell,
    read_answers,
    read_text,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("  Ann ", "Ann"),
        (7, "7"),
        (-7, "-7"),
        (1234567890123456, "1234567890123456"),
        (2**63 - 1, "9223372036854775807"),
        (10**40, "1" + "0" * 40),
        (7.0, "7"),
        (1234567890123456.0, "1234567890123456"),
        (0.1, "0.1"),
        (1.5, "1.5"),
        (0.1234567890123456, "0.1234567890123456"),
        (100.0, "100"),
        (1e20, "1" + "0" * 20),
        (1e300, "1e+300"),
        (0.00001, "0.00001"),
        (1e-30, "1e-30"),
        (-0.0, "0"),
        (math.nan, ""),
        (math.inf, ""),
        (-math.inf, ""),
        (Decimal("12.50"), "12.5"),
        (Decimal("5.000000000"), "5"),
        (Decimal("12345678901234567890.123"), "12345678901234567890.123"),
        (Decimal("NaN"), ""),
        (Decimal("Infinity"), ""),
        (True, "true"),
        (False, "false"),
        (date(2021, 3, 5), "2021-03-05"),
        (datetime(2021, 3, 5), "2021-03-05"),
        (datetime(2021, 3, 5, 10, 30), "2021-03-05 10:30:00"),
        ("Zürbel".encode(), "Zürbel"),
        ([], ""),
        ([["Ann"]], "Ann"),
    ],
)
def test_a_cell_is_read_as_it_is_written(value: Any, text: str) -> None:
    assert read_text(value) == text


@pytest.mark.parametrize(
    ("value", "why"),
    [(["a", "b"], SEVERAL), ({"a": 1}, OBJECT), (UNREADABLE, NO_TEXT), (b"\xff", "utf-8")],
)
def test_what_is_no_text_has_a_reason(value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_text(value)


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        ("Ann", ["Ann"]),
        (["Ann", "Bo", "Ann"], ["Ann", "Bo"]),
        ([["Alphatown"]], ["Alphatown"]),
        ([["Ann", "A."], "Bo", [["Cy"]]], ["Ann", "A.", "Bo", "Cy"]),
        ([None, "", math.nan, 0], ["0"]),
        (None, []),
        ([], []),
    ],
)
def test_answers_are_read_from_lists_of_any_depth(value: Any, answers: list[str]) -> None:
    assert read_answers(value) == answers


def test_a_deep_list_has_its_answer() -> None:
    value: Any = "Ann"
    for _ in range(100_000):
        value = [value]
    assert read_answers(value) == ["Ann"] and read_text(value) == "Ann"
    while isinstance(value, list):  # its destructor would recurse
        value = value.pop()


def test_an_object_among_answers_is_an_error() -> None:
    with pytest.raises(ValueError, match=OBJECT):
        read_answers(["Ann", {"text": "Bo"}])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b", "the column itself"),
        ("a.c", "x"),
        ("l.t", ["x", None]),
        ("a.c.d", None),
        ("none", None),
    ],
)
def test_a_dot_reaches_a_field_unless_a_column_has_that_name(path: str, value: Any) -> None:
    cells = {"a": {"b": 1, "c": "x"}, "a.b": "the column itself", "l": [{"t": "x"}, {}]}
    assert get_cell(cells, path) == value


CELLS = {
    "a": "x",
    "b": "",
    "c": ["y", "z"],
    "choices": ["Ann", "Bo", "Cy"],
    "answer": "1",
    "n": 2,
    "letter": "c",
    "list": ["0"],
    "far": 9,
    "deep": {"choices": ["Dee"], "at": 0},
    "odd|name": 1,
    "odd[name]": 2,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a|b|c", ["x", ["y", "z"]]),
        ("b|none", []),
        ("choices[answer]", "Bo"),
        ("choices[n]", "Cy"),
        ("choices[letter]", "Cy"),
        ("choices[list]", "Ann"),
        ("choices[far]", None),
        ("choices[a]", None),
        ("a[n]", None),
        ("deep.choices[deep.at]", "Dee"),
        ("odd|name", 1),  # a column of this name
        ("odd[name]", 2),
    ],
)
def test_a_path_joins_columns_and_chooses_from_lists(path: str, value: Any) -> None:
    assert get_cell(CELLS, path) == value


@pytest.mark.parametrize(
    ("path", "columns"),
    [("a", ["a"]), ("a|b.c", ["a", "b.c"]), ("x[y]", ["x", "y"]), ("a|x[y.z]", ["a", "x", "y.z"])],
)
def test_a_path_reads_these_columns(path: str, columns: list[str]) -> None:
    assert columns_of(path) == columns
