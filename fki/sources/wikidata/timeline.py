"""What held when: the statements about one subject and relation as states, one after another.

Wikidata's statements are written one by one, by many hands: some lack an end, some overlap, some
are known to the year only. A key (subject and relation) is kept where its states can be told for
the whole window, and left out as a whole, with the reason, where they cannot. A year is never read
as its first of January: that would make facts of January that are not of January.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

from fki.core.calendar import last_day
from fki.sources.wikidata.statements import TWO_DATES, Claim, When, Window

MOST_OBJECTS = 15  # at once, as in TemporalWiki (Jang et al., 2022)
HANDOVER = timedelta(days=31)  # for so long may two objects overlap, or two terms of one be apart
FIRST, LAST = date.min, date.max
REVERSED = "a statement that ends before it begins"


class Unclear(Exception):
    """Why the states of a key cannot be told."""


class Named(NamedTuple):
    """An item and its label."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class State:
    """The objects that held from `start` to `end`, the first day that they no longer did."""

    objects: tuple[Named, ...]
    start: date  # FIRST where it is not known
    end: date  # LAST where it holds still
    precision: str  # of the start

    def holds_on(self, day: date) -> bool:
        """Is it true on that day?"""
        return self.start <= day < self.end


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a window sees of a key: what held when it opened, and what changed within it."""

    before: State | None
    changes: tuple[State, ...]


class _Span(NamedTuple):
    """A statement with the days that it is true of."""

    claim: Claim
    start: date
    end: date
    precision: str  # of the start

    @property
    def last(self) -> date:
        """The last day that it may have begun on."""
        return last_day(self.start, self.precision)


def timeline(claims: Sequence[Claim], holds: str, window: Window) -> Timeline:
    """The states of one subject and relation.

    Args:
        holds: "one" object at a time, "several", or the "latest" only, which is dated by a point.
    Raises:
        Unclear: they cannot be told.
    """
    dated = [claim for claim in claims if not _fault(claim, holds) and _begin(claim, holds)]
    found = [_span(claim, holds, window) for claim in dated]
    spans = sorted((s for s in found if s.start < s.end), key=_order)
    if holds != "several":
        _check_others([c for c in claims if c not in dated], holds, spans, window)
    states = {"one": _one, "several": _several, "latest": _latest}[holds](spans, window)
    seen = tuple(_cut(state, window) for state in _merged(states, window))
    eve = window.since - timedelta(days=1)
    before = next((s for s in seen if s.holds_on(eve)), None)
    changes = tuple(s for s in seen if window.since <= s.start < window.until)
    last = changes[-1] if changes else before
    if last and last.end < LAST:
        raise Unclear("it ends, and nothing follows")
    if before and before.start == FIRST:
        raise Unclear("since when, nobody says")
    line = [before, *changes] if before else changes
    if any(one.objects == following.objects for one, following in pairwise(line)):
        raise Unclear("it ends, and comes back much later")
    return Timeline(before, changes)


def _begin(claim: Claim, holds: str) -> When | None:
    """The date that puts a statement in its place; what only ended has held since ever."""
    return claim.point or claim.start if holds == "latest" else claim.start or claim.end


def _fault(claim: Claim, holds: str) -> str:
    """Why the days of a statement cannot be told; what is the latest stays so when it has ended."""
    if holds == "latest":
        return claim.fault if claim.fault == TWO_DATES else ""
    start, end = claim.start, claim.end
    if (
        start
        and end
        and last_day(date.fromisoformat(end.day), end.precision).isoformat() < start.day
    ):
        return claim.fault or REVERSED
    return claim.fault


def _span(claim: Claim, holds: str, window: Window) -> _Span:
    begin = _begin(claim, holds) if holds == "latest" else claim.start
    end = None if holds == "latest" else claim.end
    return _Span(
        claim,
        _day(begin, window) if begin else FIRST,
        _day(end, window) if end else LAST,
        begin.precision if begin else "day",
    )


def _order(span: _Span) -> tuple[date, date, str]:
    return span.start, span.end, span.claim.object


def _check_others(others: list[Claim], holds: str, spans: list[_Span], window: Window) -> None:
    """Raises Unclear where a statement without days may be what holds."""
    for claim in others:
        if fault := _fault(claim, holds):
            begin = _begin(claim, holds) if holds == "latest" else claim.start
            began = _day(begin, window) if begin else FIRST
            if not any(began < s.start <= window.since for s in spans):
                raise Unclear(fault)
        elif holds == "one" and any(s.claim.object != claim.object for s in spans):
            raise Unclear("an undated statement beside dated ones")


def _day(when: When, window: Window) -> date:
    """A date's first day. Raises Unclear where it is too coarse to be put before, into or behind
    the window."""
    first = date.fromisoformat(when.day)
    last = last_day(first, when.precision)
    touches = first < window.until and last >= window.since
    lies_within = window.since <= first and last < window.until
    if touches and (when.precision == "year" or not lies_within):
        raise Unclear(f"known to the {when.precision} only")
    return first


def _one(spans: list[_Span], window: Window) -> Iterator[State]:
    """One object at a time: each ends where the next begins.

    One that is open, or ends a little later, gives way to the next; where it does so for long, or
    its rank does not say which of the two is meant, two hold at once.
    """
    held = [*_without_repeats(spans)]
    for number, span in enumerate(held, 1):
        later, end = held[number:], span.end
        if later and later[0].start < end:
            if _hold_at_once(span, later, window):
                raise Unclear("two at once where one is meant")
            end = later[0].start
        if span.start < end:
            yield State((_named(span.claim),), span.start, end, span.precision)


def _hold_at_once(span: _Span, later: list[_Span], window: Window) -> bool:
    """Do two that overlap do so in earnest, where it matters to the window?"""
    following = later[0]
    gives_way = span.end < LAST and span.end - following.start <= HANDOVER
    is_outranked = not span.claim.is_preferred and any(s.claim.is_preferred for s in later)
    matters = span.end > window.since and following.start < window.until
    return matters and not gives_way and not is_outranked


def _without_repeats(spans: list[_Span]) -> Iterator[_Span]:
    """Statements that go on with the object of the one before are one."""
    held: _Span | None = None
    for span in spans:
        if held and held.claim.object == span.claim.object and span.start <= held.end:
            is_preferred = held.claim.is_preferred or span.claim.is_preferred
            claim = replace(held.claim, is_preferred=is_preferred)
            held = _Span(claim, held.start, max(held.end, span.end), held.precision)
            continue
        if held:
            yield held
        held = span
    if held:
        yield held


def _several(spans: list[_Span], window: Window) -> Iterator[State]:
    """The set of objects that hold at once, cut wherever a member comes or goes."""
    days = sorted({s.start for s in spans} | {s.end for s in spans})
    for day, following in pairwise(days):
        if following <= window.since - timedelta(days=1):
            continue
        held = [s for s in spans if s.start <= day < s.end]
        if len({s.claim.object for s in held}) > MOST_OBJECTS:
            raise Unclear(f"more than {MOST_OBJECTS} objects at once")
        if held:
            came = [s for s in held if s.start == day]
            precision = came[0].precision if came else _ending(spans, day)
            yield State(_objects(held), day, following, precision)


def _latest(spans: list[_Span], window: Window) -> Iterator[State]:
    """What happened last: the objects of one date hold until the next date."""
    days = sorted({s.start for s in spans})
    for day, following in pairwise([*days, LAST]):
        came = [s for s in spans if s.start == day]
        if following > window.since and day < window.until:
            _check_last([s for s in spans if s.start <= day <= s.last])
        yield State(_objects(came), day, following, came[0].precision)


def _check_last(spans: list[_Span]) -> None:
    """Raises Unclear where nobody knows which of these came last, or they are too many."""
    objects = {span.claim.object for span in spans}
    if len(objects) > MOST_OBJECTS:
        raise Unclear(f"more than {MOST_OBJECTS} objects at once")
    if len(objects) > 1 and len({(span.start, span.precision) for span in spans}) > 1:
        raise Unclear("which came last, nobody says")


def _ending(spans: list[_Span], day: date) -> str:
    """How exactly the end is known that falls on this day."""
    return next(
        (s.claim.end.precision for s in spans if s.end == day and s.claim.end is not None), "day"
    )


def _objects(spans: list[_Span]) -> tuple[Named, ...]:
    return tuple(sorted({_named(s.claim) for s in spans}))


def _named(claim: Claim) -> Named:
    return Named(claim.object, claim.object_label)


def _merged(states: Iterator[State], window: Window) -> Iterator[State]:
    """States that follow upon each other with the same objects are one, as two terms are."""
    held: State | None = None
    for state in states:
        is_near = held and state.start < window.until and state.start - held.end <= HANDOVER
        if held and is_near and held.objects == state.objects:
            held = replace(held, end=state.end)
            continue
        if held:
            yield held
        held = state
    if held:
        yield held


def _cut(state: State, window: Window) -> State:
    """The state as it is known when the window closes."""
    return replace(state, end=LAST) if state.end >= window.until else state
