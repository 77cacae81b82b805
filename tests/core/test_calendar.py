"""Dates as people write them, and the periods that they fall in."""

from datetime import date, timedelta

import pytest

from fki.core.calendar import parse_date, period_bounds, period_name
from fki.core.types import Version

VERSIONS: tuple[Version, ...] = ("day", "month", "quarter")


@pytest.mark.parametrize(
    ("text", "day", "precision"),
    [
        ("2023-01-03", date(2023, 1, 3), "day"),
        ("2023-1-3", date(2023, 1, 3), "day"),
        (" 2023-10-31 ", date(2023, 10, 31), "day"),
        ("2024-02-29", date(2024, 2, 29), "day"),
        ("2023-9", date(2023, 9, 1), "month"),
        ("2023-09", date(2023, 9, 1), "month"),
        ("2023-Q1", date(2023, 1, 1), "quarter"),
        ("2023Q4", date(2023, 10, 1), "quarter"),
        ("2023", date(2023, 1, 1), "year"),
    ],
)
def test_a_date_is_read_with_its_precision(text: str, day: date, precision: str) -> None:
    assert parse_date(text) == (day, precision)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "23-01-01", "2023-02-29", "2023-13", "2023-00", "2023-Q5", "2023-Q0"),
        *("0000", "0000-Q1", "01/02/2023", "2023-1-1T00:00", "2023-", "20230101"),
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_date(text)


@pytest.mark.parametrize(
    ("version", "name", "first", "last"),
    [
        ("day", "2024-02-10", date(2024, 2, 10), date(2024, 2, 10)),
        ("month", "2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("quarter", "2024-Q1", date(2024, 1, 1), date(2024, 3, 31)),
    ],
)
def test_a_day_falls_in_one_period(version: Version, name: str, first: date, last: date) -> None:
    assert period_name(date(2024, 2, 10), version) == name
    assert period_bounds(date(2024, 2, 10), version) == (first, last)


@pytest.mark.parametrize("version", VERSIONS)
def test_periods_follow_one_another_without_a_gap(version: Version) -> None:
    day = date(2022, 12, 31)
    while day < date(2025, 1, 1):
        first, last = period_bounds(day, version)
        assert first <= day <= last
        assert period_name(first, version) == period_name(last, version)
        after = last + timedelta(days=1)
        assert period_name(after, version) != period_name(day, version)
        assert period_bounds(after, version)[0] == after
        day = after


@pytest.mark.parametrize("version", VERSIONS)
def test_a_period_s_name_is_read_as_its_first_day(version: Version) -> None:
    for day in (date(2023, 1, 1), date(2023, 11, 30), date(2024, 2, 29), date(987, 6, 5)):
        assert parse_date(period_name(day, version)) == (period_bounds(day, version)[0], version)
