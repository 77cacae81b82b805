"""Days, weeks, months, quarters and years: names, bounds, and parsing of dates."""

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import Final, cast

from fki.core.types import Version

ALL: Final = "all"  # the version with a single period, and the name of that period
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?|-?Q([1-4])|-?W(\d\d))?$")


def day_before(day: str) -> str:
    """The day before the first day of a date. Raises what `parse_date` raises, OverflowError."""
    return (parse_date(day)[0] - timedelta(days=1)).isoformat()


def parse_date(text: str) -> tuple[date, str]:
    """Parse a date. Returns its first day and its precision: day, week, month, quarter or year.

    Accepts 2023-01-03, 2023-1-3, 2023-01, 2023-Q1, the ISO week 2023-W01, and 2023. Raises
    ValueError for any other text.
    """
    match = _DATE.match(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a date such as 2023-01-31, 2023-01, 2023-Q1 or 2023")
    year, month, day, quarter, week = match.groups()
    if quarter:
        return date(int(year), 3 * int(quarter) - 2, 1), "quarter"
    precision = "day" if day else "month" if month else "year"
    try:
        if week:
            return date.fromisocalendar(int(year), int(week), 1), "week"
        return date(int(year), int(month or 1), int(day or 1)), precision
    except ValueError as error:
        raise ValueError(f"'{text}' is not a date: {error}") from None


def last_day(first: date, precision: str) -> date:
    """The last day of the day, week, month, quarter or year that begins on `first`."""
    return period_bounds(first, cast(Version, precision))[1]


def period_name(day: date, version: Version) -> str:
    """The name of a day's period: 2023-01-03, 2023-W01 (ISO 8601), 2023-01, 2023-Q1, 2023, all."""
    if version == "day":
        return day.isoformat()
    if version == "week":
        year, week, _ = day.isocalendar()
        return f"{year:04}-W{week:02}"
    if version == "month":
        return f"{day.year:04}-{day.month:02}"
    if version == "quarter":
        return f"{day.year:04}-Q{(day.month + 2) // 3}"
    return f"{day.year:04}" if version == "year" else ALL


def period_bounds(day: date, version: Version) -> tuple[date, date]:
    """First and last day (inclusive) of the period of a day; those of `all` are the calendar's."""
    if version == "day":
        return day, day
    if version == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=min(6, (date.max - monday).days))
    if version == ALL:
        return date.min, date.max
    months = {"month": 1, "quarter": 3, "year": 12}[version]
    first_month = (day.month - 1) // months * months + 1
    last_month = first_month + months - 1
    last_day = monthrange(day.year, last_month)[1]
    return date(day.year, first_month, 1), date(day.year, last_month, last_day)
