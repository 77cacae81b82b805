"""Times are parsed with their precision, and a window excludes its end."""

from datetime import date

import pytest

from fki.sources.wikidata.statements import PartialDate, Window, parse_time

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
