"""Times are parsed with their precision, and a window excludes its end."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from fki.sources.wikidata.statements import PartialDate, Window, parse_time, to_gregorian

WINDOW = Window(date(2025, 10, 1), date(2026, 1, 1))


@pytest.mark.parametrize(
    ("time", "precision", "expected"),
    [
        ("+2025-10-05T00:00:00Z", 11, PartialDate("2025-10-05", "day")),
        ("2025-10-05T00:00:00Z", 11, PartialDate("2025-10-05", "day")),
        ("+2025-10-00T00:00:00Z", 10, PartialDate("2025-10-01", "month")),
        ("+2025-00-00T00:00:00Z", 9, PartialDate("2025-01-01", "year")),
        ("+2025-07-19T00:00:00Z", 9, PartialDate("2025-01-01", "year")),
        ("+2025-02-30T00:00:00Z", 11, None),
        ("-0044-03-15T00:00:00Z", 11, None),
        ("+1900-00-00T00:00:00Z", 7, None),
        ("+12025-01-01T00:00:00Z", 9, None),
        ("", 11, None),
    ],
)
def test_times_are_parsed_with_their_precision(
    time: str, precision: int, expected: PartialDate | None
) -> None:
    assert parse_time(time, precision) == expected


def test_a_window_contains_its_first_day_and_not_its_end() -> None:
    first, end = PartialDate("2025-10-01", "day"), PartialDate("2026-01-01", "day")
    assert WINDOW.contains(first) and not WINDOW.contains(end)
    assert not WINDOW.contains(None)


def julian_days(first: date, last: date) -> Iterator[tuple[int, int, int]]:
    """The Julian dates of consecutive days, by counting: October 5, 1582 was October 15."""
    year, month, day = 1582, 10, 5
    gregorian = date(1582, 10, 15)
    while gregorian <= last:
        if gregorian >= first:
            yield year, month, day
        length = 29 if month == 2 and year % 4 == 0 else monthrange(2001, month)[1]
        year, month, day = (
            (year, month, day + 1) if day < length
            else (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)
        )  # fmt: skip
        gregorian += timedelta(days=1)


def test_a_day_of_the_julian_calendar_is_the_gregorian_day() -> None:
    calendar = "http://www.wikidata.org/entity/Q1985786"
    day = date(1582, 10, 15)
    for year, month, number in julian_days(day, date(2110, 1, 1)):
        time = f"+{year:04}-{month:02}-{number:02}T00:00:00Z"
        assert to_gregorian(time, 11, calendar)[:10] == day.isoformat()
        day += timedelta(days=1)
    assert to_gregorian("+1917-10-25T00:00:00Z", 11, calendar)[:10] == "1917-11-07"
    assert to_gregorian("+0325-05-20T00:00:00Z", 11, calendar)[:10] == "0325-05-21"


@pytest.mark.parametrize(
    ("time", "precision", "calendar"),
    [
        ("+1917-10-25T00:00:00Z", 11, "Q1985727"),
        ("+1917-10-00T00:00:00Z", 10, "Q1985786"),
        ("+1917-02-29T00:00:00Z", 11, "Q1985786"),
        ("-0044-03-15T00:00:00Z", 11, "Q1985786"),
        ("", 11, "Q1985786"),
    ],
)
def test_other_times_stay(time: str, precision: int, calendar: str) -> None:
    assert to_gregorian(time, precision, calendar) == time
