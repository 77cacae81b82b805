"""Statements of a set of objects that have no usable days: are they valid in the window?

Most statements of Wikidata have no date. In a set, such as the twin towns of a city, a missing
object is a missing answer. An undated statement is therefore valid throughout the window, unless
its key shows that undated statements may be over: a statement of the key has ended, or another one
has the preferred rank, with which editors mark what is current. Such a key is unclear as a whole.
https://www.wikidata.org/wiki/Help:Ranking
"""

from collections.abc import Sequence
from datetime import date, timedelta

from fki.sources.wikidata.spans import (
    OPEN_END,
    UNKNOWN_START,
    Span,
    UnclearTimeline,
    find_fault,
    last_day_of,
)
from fki.sources.wikidata.statements import TWO_DATES, UNKNOWN_END, Claim, PartialDate, Window

POINT_ONLY = "dated only by a point in time (a period expected)"
UNDATED_BESIDE_ENDED = "undated statement next to one that ended"
UNDATED_BELOW_PREFERRED = "undated statement next to a preferred one"


def place_undated(claims: Sequence[Claim], dated: Sequence[Span], window: Window) -> list[Span]:
    """Spans of the undated statements that are valid throughout the window.

    Args:
        claims: all statements of a subject and a relation that holds several objects at a time.
        dated: the spans of those with usable days.
    Raises:
        UnclearTimeline: a statement may be valid on a day of the window, and on which is unknown.
    """
    placed = {id(span.claim) for span in dated}
    undated: list[Claim] = []
    reasons: set[str] = set()
    for claim in (c for c in claims if id(c) not in placed):
        own = [span for span in dated if span.claim.object == claim.object]
        if _are_known(_days_possible(claim, window), own):
            continue
        if fault := find_fault(claim, "several"):
            reasons.add(fault)
        elif claim.point:
            if not any(_contains(span, claim.point) for span in own):
                reasons.add(POINT_ONLY)
        elif not own:  # else the dated statement of the same object has its days
            undated.append(claim)
    if undated and any(c.end or c.fault == UNKNOWN_END for c in claims):
        reasons.add(UNDATED_BESIDE_ENDED)
    if any(c.is_preferred for c in claims) and not all(c.is_preferred for c in undated):
        reasons.add(UNDATED_BELOW_PREFERRED)
    if reasons:
        raise UnclearTimeline(min(reasons))  # the order of the claims has no effect
    return [Span(claim, UNKNOWN_START, OPEN_END, "day") for claim in undated]


def _days_possible(claim: Claim, window: Window) -> tuple[date, date]:
    """The days from the eve of the window on which a statement may be valid; the last is excluded.

    Of two dates in one qualifier the claim has the later one, so that only its end counts.
    """
    eve, start, end = window.since - timedelta(days=1), claim.start, claim.end
    if start and end and end.day < start.day:  # one of them is wrong, and which is unknown
        start = end = None
    is_start_known = start is not None and claim.fault != TWO_DATES
    first = date.fromisoformat(start.day) if start and is_start_known else eve
    return max(first, eve), min(last_day_of(end) if end else window.until, window.until)


def _are_known(days: tuple[date, date], spans: Sequence[Span]) -> bool:
    """Whether an object is valid on all of these days anyway, or there are none."""
    day, end = days
    for span in sorted(spans, key=lambda span: span.start):
        if span.start <= day:
            day = max(day, span.end)
    return day >= end


def _contains(span: Span, point: PartialDate) -> bool:
    return span.start <= date.fromisoformat(point.day) and last_day_of(point) < span.end
