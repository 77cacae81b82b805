"""Numbers read the same wherever they are shown."""

import ast
import shlex
from pathlib import Path

import pytest

from fki.core.formatting import (
    escape_pipes,
    format_command,
    format_count,
    format_duration,
    format_list,
    format_minutes,
    format_number,
    format_p_value,
    format_some,
    markdown_table,
    quote_python,
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


def test_long_times_are_in_hours() -> None:
    assert [format_minutes(m) for m in (0, 0.93, 1.4, 1.5)] == ["1 s", "56 s", "84 s", "2 min"]
    assert [format_minutes(m) for m in (2, 99, 100, 138)] == ["2 min", "99 min", "1.7 h", "2.3 h"]


def test_p_values_are_short() -> None:
    values = (None, 0.0004, 0.0312, 1.0)
    assert [format_p_value(p) for p in values] == ["-", "<0.001", "0.031", "1.000"]


def test_a_list_reads_as_a_sentence() -> None:
    names = ("", "a", "ab", "abc")
    assert [format_list(list(name)) for name in names] == ["", "a", "a and b", "a, b and c"]
    assert format_list(["a, 1", "b, 2", "c"]) == "a, 1; b, 2 and c"
    assert format_some(list("abcd")) == "a, b, c and d"
    assert format_some(list("abcde")) == "a, b, c and 2 others"


def test_a_markdown_table_has_a_rule_under_its_head() -> None:
    rows = [[escape_pipes("a|b"), "1"]]
    assert markdown_table(["x", "n"], rows, "lr") == [
        "| x | n |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
    ]
    assert markdown_table(["x"], []) == ["| x |", "| --- |"]


@pytest.mark.parametrize("name", ["runs/a", "runs/lo ra", "ü [x] $HOME `y`", "it's", 'a"b', "a;b"])
def test_a_command_is_read_by_a_shell_as_it_was_meant(name: str) -> None:
    words = ["fki", "ask", name, "The capital of France is ___."]
    assert shlex.split(format_command(*words)) == words
    assert shlex.split(format_command("fki", "compare", Path(name)))[-1] == name
    assert ast.literal_eval(quote_python(name)) == name


def test_a_plain_command_has_no_quotes_and_a_path_is_no_option() -> None:
    assert format_command("fki", "export", Path("runs/a"), "--to", "hf") == (
        "fki export runs/a --to hf"
    )
    assert format_command("fki", "compare", Path("-runs")) == "fki compare ./-runs"
