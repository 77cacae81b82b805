"""Numbers read the same wherever they are shown."""

import pytest

from fki.core.formatting import format_count, format_duration, format_number


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
