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
from fki.sources.wikidata.statements import TWO_DATES, Claim, PartialDate, Window

MAX_OBJECTS = 15  # at once, as in TemporalWiki (Jang et al., 2022)
MAX_HANDOVER = timedelta(
    days=31
)  # for so long may two objects overlap, or two terms of one be apart
UNKNOWN_START, OPEN_END = date.min, date.max
ENDS_BEFORE_START = "a statement that ends before it begins"


class UnclearTimeline(Exception):
    """Why the states of a key cannot be told."""


class LabeledItem(NamedTuple):
    """An item and its label."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class FactState:
    """The objects that held from `start` to `end`, the first day that they no longer did."""

    objects: tuple[LabeledItem, ...]
    start: date  # FIRST where it is not known
    end: date  # LAST where it holds still
    precision: str  # of the start

    def holds_on(self, day: date) -> bool:
        """Is it true on that day?"""
        return self.start <= day < self.end


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a window sees of a key: what held when it opened, and what changed within it."""

    before: FactState | None
    changes: tuple[FactState, ...]


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


def build_timeline(claims: Sequence[Claim], holds: str, window: Window) -> Timeline:
    """The states of one subject and relation.

    Args:
        holds: "one" object at a time, "several", or the "latest" only, which is dated by a point.
    Raises:
        Unclear: they cannot be told.
    """
    dated = [claim for claim in claims if not _find_fault(claim, holds) and _start_of(claim, holds)]
    found = [_make_span(claim, holds, window) for claim in dated]
    spans = sorted((s for s in found if s.start < s.end), key=_span_order)
    if holds != "several":
        _check_undated([c for c in claims if c not in dated], holds, spans, window)
    states = {"one": _iter_single, "several": _iter_multiple, "latest": _iter_latest}[holds](
        spans, window
    )
    seen = tuple(_clip_to_window(state, window) for state in _merge_states(states, window))
    eve = window.since - timedelta(days=1)
    before = next((s for s in seen if s.holds_on(eve)), None)
    changes = tuple(s for s in seen if window.since <= s.start < window.until)
    last = changes[-1] if changes else before
    if last and last.end < OPEN_END:
        raise UnclearTimeline("it ends, and nothing follows")
    if before and before.start == UNKNOWN_START:
        raise UnclearTimeline("since when, nobody says")
    line = [before, *changes] if before else changes
    if any(one.objects == following.objects for one, following in pairwise(line)):
        raise UnclearTimeline("it ends, and comes back much later")
    return Timeline(before, changes)


def _start_of(claim: Claim, holds: str) -> PartialDate | None:
    """The date that puts a statement in its place; what only ended has held since ever."""
    return claim.point or claim.start if holds == "latest" else claim.start or claim.end


def _find_fault(claim: Claim, holds: str) -> str:
    """Why the days of a statement cannot be told; what is the latest stays so when it has ended."""
    if holds == "latest":
        return claim.fault if claim.fault == TWO_DATES else ""
    start, end = claim.start, claim.end
    if (
        start
        and end
        and last_day(date.fromisoformat(end.day), end.precision).isoformat() < start.day
    ):
        return claim.fault or ENDS_BEFORE_START
    return claim.fault


def _make_span(claim: Claim, holds: str, window: Window) -> _Span:
    begin = _start_of(claim, holds) if holds == "latest" else claim.start
    end = None if holds == "latest" else claim.end
    return _Span(
        claim,
        _first_day(begin, window) if begin else UNKNOWN_START,
        _first_day(end, window) if end else OPEN_END,
        begin.precision if begin else "day",
    )


def _span_order(span: _Span) -> tuple[date, date, str]:
    return span.start, span.end, span.claim.object


def _check_undated(others: list[Claim], holds: str, spans: list[_Span], window: Window) -> None:
    """Raises Unclear where a statement without days may be what holds."""
    for claim in others:
        if fault := _find_fault(claim, holds):
            begin = _start_of(claim, holds) if holds == "latest" else claim.start
            began = _first_day(begin, window) if begin else UNKNOWN_START
            if not any(began < s.start <= window.since for s in spans):
                raise UnclearTimeline(fault)
        elif holds == "one" and any(s.claim.object != claim.object for s in spans):
            raise UnclearTimeline("an undated statement beside dated ones")


def _first_day(when: PartialDate, window: Window) -> date:
    """A date's first day. Raises Unclear where it is too coarse to be put before, into or behind
    the window."""
    first = date.fromisoformat(when.day)
    last = last_day(first, when.precision)
    touches = first < window.until and last >= window.since
    lies_within = window.since <= first and last < window.until
    if touches and (when.precision == "year" or not lies_within):
        raise UnclearTimeline(f"known to the {when.precision} only")
    return first


def _iter_single(spans: list[_Span], window: Window) -> Iterator[FactState]:
    """One object at a time: each ends where the next begins.

    One that is open, or ends a little later, gives way to the next; where it does so for long, or
    its rank does not say which of the two is meant, two hold at once.
    """
    held = [*_merge_repeats(spans)]
    for number, span in enumerate(held, 1):
        later, end = held[number:], span.end
        if later and later[0].start < end:
            if _are_concurrent(span, later, window):
                raise UnclearTimeline("two at once where one is meant")
            end = later[0].start
        if span.start < end:
            yield FactState((_labeled_item(span.claim),), span.start, end, span.precision)


def _are_concurrent(span: _Span, later: list[_Span], window: Window) -> bool:
    """Do two that overlap do so in earnest, where it matters to the window?"""
    following = later[0]
    gives_way = span.end < OPEN_END and span.end - following.start <= MAX_HANDOVER
    is_outranked = not span.claim.is_preferred and any(s.claim.is_preferred for s in later)
    matters = span.end > window.since and following.start < window.until
    return matters and not gives_way and not is_outranked


def _merge_repeats(spans: list[_Span]) -> Iterator[_Span]:
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


def _iter_multiple(spans: list[_Span], window: Window) -> Iterator[FactState]:
    """The set of objects that hold at once, cut wherever a member comes or goes."""
    days = sorted({s.start for s in spans} | {s.end for s in spans})
    for day, following in pairwise(days):
        if following <= window.since - timedelta(days=1):
            continue
        held = [s for s in spans if s.start <= day < s.end]
        if len({s.claim.object for s in held}) > MAX_OBJECTS:
            raise UnclearTimeline(f"more than {MAX_OBJECTS} objects at once")
        if held:
            came = [s for s in held if s.start == day]
            precision = came[0].precision if came else _end_precision(spans, day)
            yield FactState(_objects(held), day, following, precision)


def _iter_latest(spans: list[_Span], window: Window) -> Iterator[FactState]:
    """What happened last: the objects of one date hold until the next date."""
    days = sorted({s.start for s in spans})
    for day, following in pairwise([*days, OPEN_END]):
        came = [s for s in spans if s.start == day]
        if following > window.since and day < window.until:
            _check_latest([s for s in spans if s.start <= day <= s.last])
        yield FactState(_objects(came), day, following, came[0].precision)


def _check_latest(spans: list[_Span]) -> None:
    """Raises Unclear where nobody knows which of these came last, or they are too many."""
    objects = {span.claim.object for span in spans}
    if len(objects) > MAX_OBJECTS:
        raise UnclearTimeline(f"more than {MAX_OBJECTS} objects at once")
    if len(objects) > 1 and len({(span.start, span.precision) for span in spans}) > 1:
        raise UnclearTimeline("which came last, nobody says")


def _end_precision(spans: list[_Span], day: date) -> str:
    """How exactly the end is known that falls on this day."""
    return next(
        (s.claim.end.precision for s in spans if s.end == day and s.claim.end is not None), "day"
    )


def _objects(spans: list[_Span]) -> tuple[LabeledItem, ...]:
    return tuple(sorted({_labeled_item(s.claim) for s in spans}))


def _labeled_item(claim: Claim) -> LabeledItem:
    return LabeledItem(claim.object, claim.object_label)


def _merge_states(states: Iterator[FactState], window: Window) -> Iterator[FactState]:
    """States that follow upon each other with the same objects are one, as two terms are."""
    held: FactState | None = None
    for state in states:
        is_near = held and state.start < window.until and state.start - held.end <= MAX_HANDOVER
        if held and is_near and held.objects == state.objects:
            held = replace(held, end=state.end)
            continue
        if held:
            yield held
        held = state
    if held:
        yield held


def _clip_to_window(state: FactState, window: Window) -> FactState:
    """The state as it is known when the window closes."""
    return replace(state, end=OPEN_END) if state.end >= window.until else state
