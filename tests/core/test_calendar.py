"""Dates as people write them, and the periods that they fall in."""

from datetime import date, timedelta

import pytest

from fki.core.calendar import day_before, last_day, parse_date, period_bounds, period_name
from fki.core.types import Version

VERSIONS: tuple[Version, ...] = ("day", "week", "month", "quarter", "year")


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
        ("2023-W01", date(2023, 1, 2), "week"),
        ("2020-W53", date(2020, 12, 28), "week"),
        ("2026W01", date(2025, 12, 29), "week"),
    ],
)
def test_a_date_is_read_with_its_precision(text: str, day: date, precision: str) -> None:
    assert parse_date(text) == (day, precision)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "23-01-01", "2023-02-29", "2023-13", "2023-00", "2023-Q5", "2023-Q0"),
        *(
            "2021-W53",
            "2023-W00",
            "2023-W1",
            "2023-W54",
            "0000-W01",
            "0000",
            "0000-Q1",
            "01/02/2023",
            "2023-1-1T00:00",
            "2023-",
            "20230101",
        ),
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
        ("week", "2024-W06", date(2024, 2, 5), date(2024, 2, 11)),
        ("year", "2024", date(2024, 1, 1), date(2024, 12, 31)),
        ("all", "all", date.min, date.max),
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


def test_weeks_are_those_of_iso_8601() -> None:
    for ordinal in range(date(1999, 12, 20).toordinal(), date(2033, 1, 20).toordinal()):
        day = date.fromordinal(ordinal)
        year, week, weekday = day.isocalendar()
        assert period_name(day, "week") == f"{year}-W{week:02}"
        monday = day - timedelta(days=weekday - 1)
        assert period_bounds(day, "week") == (monday, monday + timedelta(days=6))


@pytest.mark.parametrize("version", [*VERSIONS, "all"])
def test_names_in_the_order_of_the_alphabet_are_in_the_order_of_their_dates(
    version: Version,
) -> None:
    days = [date.fromordinal(n) for n in range(date(2019, 12, 1).toordinal(), 738_000, 3)]
    names = [period_name(day, version) for day in days]
    assert names == sorted(names)


@pytest.mark.parametrize("version", [*VERSIONS, "all"])
def test_periods_at_the_ends_of_the_calendar_stay_within_it(version: Version) -> None:
    assert period_bounds(date.min, version)[0] == date.min
    assert period_bounds(date.max, version)[1] == date.max


@pytest.mark.parametrize("precision", VERSIONS)
def test_the_last_day_is_that_of_the_period(precision: Version) -> None:
    for text in ("2020-W53", "2020-12", "2020-Q4", "2020", "2020-12-28"):
        first, found = parse_date(text)
        if found == precision:
            assert last_day(first, found) == period_bounds(first, precision)[1]


@pytest.mark.parametrize(
    ("day", "before"),
    [("2024-03-01", "2024-02-29"), ("2024-01", "2023-12-31"), ("2024", "2023-12-31")],
)
def test_the_day_before_a_date_is_that_before_its_first_day(day: str, before: str) -> None:
    assert day_before(day) == before
