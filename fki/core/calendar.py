"""Days, months and quarters: names, bounds, and parsing of dates."""

import re
from calendar import monthrange
from datetime import date
from typing import cast

from fki.core.types import Version

_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?|-?Q([1-4]))?$")


def parse_date(text: str) -> tuple[date, str]:
    """Parse a date. Returns its first day and its precision: "day", "month", "quarter" or "year".

    Accepts 2023-01-03, 2023-1-3, 2023-01, 2023-Q1 and 2023. Raises ValueError for any other text.
    """
    match = _DATE.match(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a date such as 2023-01-31, 2023-01, 2023-Q1 or 2023")
    year, month, day, quarter = match.groups()
    if quarter:
        return date(int(year), 3 * int(quarter) - 2, 1), "quarter"
    precision = "day" if day else "month" if month else "year"
    try:
        return date(int(year), int(month or 1), int(day or 1)), precision
    except ValueError as error:
        raise ValueError(f"'{text}' is not a date: {error}") from None


def last_day(first: date, precision: str) -> date:
    """The last day of the day, month, quarter or year that begins on `first`."""
    if precision == "year":
        return date(first.year, 12, 31)
    return period_bounds(first, cast(Version, precision))[1]


def period_name(day: date, version: Version) -> str:
    """The name of the period of a day: "2023-01-03", "2023-01" or "2023-Q1"."""
    if version == "day":
        return day.isoformat()
    if version == "month":
        return f"{day.year:04}-{day.month:02}"
    return f"{day.year:04}-Q{(day.month + 2) // 3}"


def period_bounds(day: date, version: Version) -> tuple[date, date]:
    """First and last day (inclusive) of the period of a day."""
    if version == "day":
        return day, day
    last_month = day.month if version == "month" else (day.month + 2) // 3 * 3
    first_month = last_month if version == "month" else last_month - 2
    last_day = monthrange(day.year, last_month)[1]
    return date(day.year, first_month, 1), date(day.year, last_month, last_day)
