"""A statement as a span: the days on which it is valid.

A year is never read as its January 1: facts of other months would then appear in January.
"""

from datetime import date
from typing import NamedTuple

from fki.core.calendar import last_day
from fki.sources.wikidata.statements import TWO_DATES, UNKNOWN_BEGIN, Claim, PartialDate, Window

UNKNOWN_START, OPEN_END = date.min, date.max
ENDS_BEFORE_START = "statement ends before it starts"


class UnclearTimeline(Exception):
    """The states of a key are unclear; the message is the reason."""


class Span(NamedTuple):
    """A statement with the days on which it is valid."""

    claim: Claim
    start: date  # UNKNOWN_START if it is valid since ever
    end: date  # exclusive; OPEN_END if it is still valid
    precision: str  # of the start

    @property
    def latest_start(self) -> date:
        """The last day on which it may have started, given its precision."""
        return last_day(self.start, self.precision)


def find_position(claim: Claim, update_rule: str) -> PartialDate | None:
    """The date that places a statement in order; one with an end only is valid since ever."""
    return claim.point or claim.start if update_rule == "latest" else claim.start or claim.end


def find_start(claim: Claim, update_rule: str) -> PartialDate | None:
    """The date on which a statement starts, None if it has none."""
    return find_position(claim, update_rule) if update_rule == "latest" else claim.start


def find_fault(claim: Claim, update_rule: str) -> str:
    """The reason why a statement's days are unusable; the end of a "latest" one is irrelevant."""
    if update_rule == "latest":
        return claim.fault if claim.fault == TWO_DATES else ""
    start, end = claim.start, claim.end
    if start and end and last_day_of(end).isoformat() < start.day:
        return claim.fault or ENDS_BEFORE_START
    if update_rule == "several" and claim.is_start_unknown:
        return claim.fault or UNKNOWN_BEGIN
    return claim.fault


def make_span(claim: Claim, update_rule: str, window: Window) -> Span:
    """The days of a statement. Raises UnclearTimeline as `first_day` does."""
    start = find_start(claim, update_rule)
    end = None if update_rule == "latest" else claim.end
    return Span(
        claim,
        first_day(start, window) if start else UNKNOWN_START,
        first_day(end, window) if end else OPEN_END,
        start.precision if start else "day",
    )


def first_day(when: PartialDate, window: Window) -> date:
    """The first day of a date.

    Raises UnclearTimeline if the date is too coarse to place it before, in or after the window.
    """
    first, last = date.fromisoformat(when.day), last_day_of(when)
    touches = first < window.until and last >= window.since
    lies_within = window.since <= first and last < window.until
    if touches and (when.precision == "year" or not lies_within):
        raise UnclearTimeline(f"date known only to the {when.precision}")
    return first


def last_day_of(when: PartialDate) -> date:
    """The last day of a date."""
    return last_day(date.fromisoformat(when.day), when.precision)
