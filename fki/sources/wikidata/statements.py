"""What both ways into Wikidata find: dated statements, in one form.

Dates follow Wikidata's model: a time has a precision, and a qualifier says what it is the time of
(P580 start, P582 end, P585 point in time). https://www.wikidata.org/wiki/Help:Dates
"""

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

START, END, POINT = "P580", "P582", "P585"
PRECISIONS = {9: "year", 10: "month", 11: "day"}  # Wikidata's numbers; coarser ones say too little


class PartialDate(NamedTuple):
    """A date as it is known: its first day, and how exact it is ("day", "month" or "year")."""

    day: str  # ISO; the first day of a month or year
    precision: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement about an item, with the item that it names and the time that it holds.

    A deprecated statement, or one whose value is unknown or no item, is none.
    """

    relation: str  # "P6"
    object: str  # "Q3052772"
    object_label: str  # English, or the one for all languages; "" where there is none
    start: PartialDate | None = None
    end: PartialDate | None = None
    point: PartialDate | None = None
    is_preferred: bool = False
    fault: str = ""
    """Why its time cannot be told: it has two starts, or ended nobody knows when."""


@dataclass(slots=True)
class Subject:
    """An item with all that its statements of the wanted relations say."""

    id: str
    label: str  # English, or the one for all languages; "" where there is none
    claims: list[Claim]


TWO_DATES = "two dates for one end of a statement"
UNKNOWN_END = "ended, but nobody knows when"


class Window(NamedTuple):
    """The days that facts are wanted of."""

    since: date  # the first
    until: date  # the first that is no longer wanted

    def holds(self, when: PartialDate | None) -> bool:
        """Does a date begin within it?"""
        return when is not None and self.since.isoformat() <= when.day < self.until.isoformat()


def parse_time(time: str, precision: int) -> PartialDate | None:
    """Wikidata's "+2025-10-05T00:00:00Z" and 11 as a date; None where it says less than a year, is
    before the year 1, or is no date."""
    known = PRECISIONS.get(precision)
    text = time.lstrip("+")
    if known is None or text.startswith("-") or text[4:5] != "-":
        return None
    year, month, day = text[:4], text[5:7], text[8:10]
    month = month if known != "year" and month != "00" else "01"
    day = day if known == "day" and day != "00" else "01"
    try:
        return PartialDate(date(int(year), int(month), int(day)).isoformat(), known)
    except ValueError:
        return None
