"""Parser functions have the text that MediaWiki shows, or cannot be computed."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fki.sources.wikipedia.parser_functions import (
    NotComputable,
    evaluate_expression,
    evaluate_function,
    format_decimal,
)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("formatnum", ["5432"], "5432"),
        ("formatnum", ["5,432", "R"], "5,432"),
        ("lc", ["ARVEN"], "arven"),
        ("uc", ["sea"], "SEA"),
        ("ucfirst", ["brel"], "Brel"),
        ("lcfirst", [""], ""),
        ("pagename", [], "Arven"),
        ("#if", ["", "a", "b"], "b"),
        ("#if", [" x ", "a"], "a"),
        ("#if", ["", "a"], ""),
        ("#ifeq", ["a", "b", "c", "d"], "d"),
        ("defaultsort", ["Arven, town"], ""),
    ],
)
def test_a_function_has_a_text(name: str, arguments: list[str], text: str) -> None:
    assert evaluate_function(name, arguments, "Arven") == text


@pytest.mark.parametrize("name", ["currentyear", "#invoke", "int", "formatnum", "plural"])
def test_other_functions_cannot_be_computed(name: str) -> None:
    with pytest.raises(NotComputable):
        evaluate_function(name, [], "Arven")
    with pytest.raises(NotComputable):
        evaluate_function("pagename", [], "")


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("1900 + 5", "1905"), ("2 - 3 - 4", "-5"), ("2 + 3 * 4", "14"), ("(2 + 3) * 4", "20"),
        ("7 / 2", "3.5"), ("7 div 2", "3.5"), ("-3 + 5", "2"), ("2*-3", "-6"), (".5 + 1", "1.5"),
        ("7 / 3 round 2", "2.33"), ("2.5 round 0", "3"), ("-2.5 round 0", "-3"),
        ("1 + 2.345 round 1", "3.3"), ("1234 round -2", "1200"), ("0", "0"),
    ],
)  # fmt: skip
def test_an_expression_has_the_precedence_of_mediawiki(expression: str, result: str) -> None:
    assert evaluate_expression(expression) == result


@pytest.mark.parametrize(
    "expression",
    ["", "1 / 3", "1 / 0", "2 ^ 3", "5 mod 2", "1 +", "(1", "1)", "1 2", "x", "1 = 1", "1,000",
     "2 round 1.5", "1 round 99", "9" * 201, "1e5", "pi"],
)  # fmt: skip
def test_other_expressions_cannot_be_computed(expression: str) -> None:
    with pytest.raises(NotComputable):
        evaluate_expression(expression)


numbers = st.integers(0, 10**6).map(str)
expressions = st.recursive(
    numbers,
    lambda inner: st.builds(
        lambda a, op, b: f"({a} {op} {b})", inner, st.sampled_from("+-*"), inner
    ),
    max_leaves=6,
)


@given(expressions)
def test_integer_arithmetic_is_that_of_python(expression: str) -> None:
    assert evaluate_expression(expression) == str(eval(expression))


@given(st.integers(-(10**12), 10**12), st.integers(0, 10))
def test_a_decimal_reads_back_as_its_number(number: int, decimals: int) -> None:
    value = Fraction(number, 10**decimals)
    assert Fraction(format_decimal(value)) == value
