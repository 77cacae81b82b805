"""Dated statements of Wikidata in one form, whichever source they were read from.

Dates follow Wikidata's data model: a time value has a precision, and a qualifier gives its role
(P580 start, P582 end, P585 point in time). https://www.wikidata.org/wiki/Help:Dates
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

START, END, POINT = "P580", "P582", "P585"
DAY = 11  # Wikidata's code of the precision
JULIAN = "Q1985786"  # the calendar's item
PLAIN_DAY = re.compile(r"\+?(\d{4})-(\d\d)-(\d\d)")
MONTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
JULIAN_OFFSET = -308  # of day 1 of a year that begins in March, to `date.toordinal`
PRECISIONS = {9: "year", 10: "month", 11: "day"}  # Wikidata's codes; coarser dates are ignored

# Faults of a claim's dates
TWO_DATES = "conflicting dates in one qualifier"
UNKNOWN_END = "ended at an unknown date"
UNKNOWN_BEGIN = "started at an unknown date"

# Reasons why a line or a statement of a dump is skipped
NOT_AN_ENTITY = "line is not an entity"
NOT_AN_ITEM = "entity is not an item"
MISSING_OR_REDIRECT = "entity is missing or merged into another"
NO_LABEL = "item has no English label"
DEPRECATED = "deprecated statement"
NO_VALUE = "statement without a known value"
VALUE_NOT_AN_ITEM = "statement whose value is not an item"
MALFORMED = "malformed statement"
OUTSIDE_WINDOW = "statement outside the window"


class PartialDate(NamedTuple):
    """A date with a precision of "day", "month" or "year"."""

    day: str  # ISO; the first day of the month or year
    precision: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement about an item: a relation, the item that is its value, and its dates.

    Deprecated statements, and statements whose value is unknown or not an item, are not claims.
    """

    relation: str  # "P6"
    object: str  # "Q3052772"
    object_label: str  # English, else the label for all languages; "" if neither exists
    start: PartialDate | None = None
    end: PartialDate | None = None
    point: PartialDate | None = None
    is_preferred: bool = False
    fault: str = ""
    """The reason why the dates are unusable, such as two different starts; "" if they are fine."""
    is_start_unknown: bool = False
    """Whether it has a start or a point in time that is unknown or coarser than a year.

    A start before the year 1 is not unknown: it is earlier than every window."""


@dataclass(slots=True)
class Subject:
    """An item with its claims of the requested relations."""

    id: str
    label: str  # English, else the label for all languages; "" if neither exists
    claims: list[Claim]


class Window(NamedTuple):
    """The days whose facts are requested: `since` is the first, `until` is excluded."""

    since: date
    until: date

    def contains(self, day: PartialDate | None) -> bool:
        """Whether the date's first day is in the window."""
        return day is not None and self.since.isoformat() <= day.day < self.until.isoformat()


def parse_time(time: str, precision: int) -> PartialDate | None:
    """Parse a time of Wikidata, such as "+2025-10-05T00:00:00Z" with precision 11.

    Returns None for a precision coarser than a year, a year before 1, or an invalid date.
    """
    unit = PRECISIONS.get(precision)
    text = time.lstrip("+")
    if unit is None or is_before_christ(text) or text[4:5] != "-":
        return None
    year, month, day = text[:4], text[5:7], text[8:10]
    month = month if unit != "year" and month != "00" else "01"
    day = day if unit == "day" and day != "00" else "01"
    try:
        return PartialDate(date(int(year), int(month), int(day)).isoformat(), unit)
    except ValueError:
        return None


def to_gregorian(time: str, precision: int, calendar: str) -> str:
    """A time in the Gregorian calendar, as in Wikidata's RDF: only days of the Julian one differ.

    https://www.mediawiki.org/wiki/Wikibase/DataModel#Dates_and_times
    """
    match = PLAIN_DAY.match(time)
    if not calendar.endswith(JULIAN) or precision != DAY or match is None:
        return time
    year, month, day = map(int, match.groups())
    has_leap_day = month == 2 and year % 4 == 0
    if not 1 <= month <= 12 or not 1 <= day <= MONTHS[month] + has_leap_day:
        return time
    march = (month - 3) % 12  # years that begin in March have their leap day at the end
    years = year - (month < 3)
    ordinal = day + (153 * march + 2) // 5 + 365 * years + years // 4 + JULIAN_OFFSET
    return f"{date.fromordinal(ordinal)}T00:00:00Z" if ordinal > 0 else time


def is_before_christ(time: str) -> bool:
    """Whether a time of Wikidata lies before the year 1."""
    return time.startswith("-")
