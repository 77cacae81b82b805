"""Build the timeline of one subject and relation: states in order, from dated statements.

Wikidata's statements are edited one by one, by many people: some lack an end, some overlap, some
are dated to the year only. A key (subject and relation) is kept if its states are clear for the
whole window; otherwise it is skipped as a whole, with a reason. A year is never read as its
January 1: facts of other months would then appear in January.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

from fki.core.calendar import last_day
from fki.sources.wikidata.statements import TWO_DATES, Claim, PartialDate, Window

MAX_OBJECTS = 15  # at once, as in TemporalWiki (Jang et al., 2022)
MAX_HANDOVER = timedelta(days=31)  # the longest overlap of two objects, or gap between two terms
UNKNOWN_START, OPEN_END = date.min, date.max
ENDS_BEFORE_START = "statement ends before it starts"


class UnclearTimeline(Exception):
    """The states of a key are unclear; the message is the reason."""


class LabeledItem(NamedTuple):
    """An item and its label."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class FactState:
    """The objects that are valid from `start` until `end` (exclusive)."""

    objects: tuple[LabeledItem, ...]
    start: date  # UNKNOWN_START if it is not known
    end: date  # OPEN_END if the state still holds
    precision: str  # of the start

    def holds_on(self, day: date) -> bool:
        """Whether the state is valid on that day."""
        return self.start <= day < self.end


@dataclass(frozen=True, slots=True)
class Timeline:
    """The states of a key in a window: the state before it opens, and the changes within it."""

    before: FactState | None
    changes: tuple[FactState, ...]


class _Span(NamedTuple):
    """A statement with the days on which it is valid."""

    claim: Claim
    start: date
    end: date
    precision: str  # of the start

    @property
    def latest_start(self) -> date:
        """The last day on which it may have started, given its precision."""
        return last_day(self.start, self.precision)


def build_timeline(claims: Sequence[Claim], update_rule: str, window: Window) -> Timeline:
    """Build the timeline of one subject and relation.

    Args:
        update_rule: "one", "several" or "latest", as in `Relation`.
    Raises:
        UnclearTimeline: the states are unclear.
    """
    dated = [
        claim
        for claim in claims
        if not _find_fault(claim, update_rule) and _position(claim, update_rule)
    ]
    all_spans = [_make_span(claim, update_rule, window) for claim in dated]
    spans = sorted((s for s in all_spans if s.start < s.end), key=_span_order)
    if update_rule != "several":
        _check_undated([c for c in claims if c not in dated], update_rule, spans, window)
    iter_states = {"one": _iter_single, "several": _iter_multiple, "latest": _iter_latest}
    states = iter_states[update_rule](spans, window)
    visible = tuple(_clip_to_window(state, window) for state in _merge_states(states, window))
    eve = window.since - timedelta(days=1)
    before = next((s for s in visible if s.holds_on(eve)), None)
    changes = tuple(s for s in visible if window.since <= s.start < window.until)
    last = changes[-1] if changes else before
    if last and last.end < OPEN_END:
        raise UnclearTimeline("ended without a successor")
    if before and before.start == UNKNOWN_START:
        raise UnclearTimeline("unknown start date")
    line = [before, *changes] if before else changes
    if any(state.objects == following.objects for state, following in pairwise(line)):
        raise UnclearTimeline("ended and resumed much later")
    return Timeline(before, changes)


def _position(claim: Claim, update_rule: str) -> PartialDate | None:
    """The date that places a statement in order; one with an end only is valid since ever."""
    return claim.point or claim.start if update_rule == "latest" else claim.start or claim.end


def _start_of(claim: Claim, update_rule: str) -> PartialDate | None:
    return _position(claim, update_rule) if update_rule == "latest" else claim.start


def _find_fault(claim: Claim, update_rule: str) -> str:
    """The reason why a statement's days are unusable; the end of a "latest" one is irrelevant."""
    if update_rule == "latest":
        return claim.fault if claim.fault == TWO_DATES else ""
    start, end = claim.start, claim.end
    if (
        start
        and end
        and last_day(date.fromisoformat(end.day), end.precision).isoformat() < start.day
    ):
        return claim.fault or ENDS_BEFORE_START
    return claim.fault


def _make_span(claim: Claim, update_rule: str, window: Window) -> _Span:
    start = _start_of(claim, update_rule)
    end = None if update_rule == "latest" else claim.end
    return _Span(
        claim,
        _first_day(start, window) if start else UNKNOWN_START,
        _first_day(end, window) if end else OPEN_END,
        start.precision if start else "day",
    )


def _span_order(span: _Span) -> tuple[date, date, str]:
    return span.start, span.end, span.claim.object


def _check_undated(
    claims: list[Claim], update_rule: str, spans: list[_Span], window: Window
) -> None:
    """Raises UnclearTimeline if a statement without usable days may be the valid one."""
    for claim in claims:
        if fault := _find_fault(claim, update_rule):
            start = _start_of(claim, update_rule)
            first = _first_day(start, window) if start else UNKNOWN_START
            if not any(first < s.start <= window.since for s in spans):
                raise UnclearTimeline(fault)
        elif update_rule == "one" and any(s.claim.object != claim.object for s in spans):
            raise UnclearTimeline("undated statement next to dated ones")


def _first_day(when: PartialDate, window: Window) -> date:
    """The first day of a date.

    Raises UnclearTimeline if the date is too coarse to place it before, in or after the window.
    """
    first = date.fromisoformat(when.day)
    last = last_day(first, when.precision)
    touches = first < window.until and last >= window.since
    lies_within = window.since <= first and last < window.until
    if touches and (when.precision == "year" or not lies_within):
        raise UnclearTimeline(f"date known only to the {when.precision}")
    return first


def _iter_single(spans: list[_Span], window: Window) -> Iterator[FactState]:
    """Yield states of one object at a time: each ends when the next starts.

    An object without an end, or with a slightly later end, is replaced by the next one. A long
    overlap of two objects, neither of which has the preferred rank, is unclear.
    """
    merged = [*_merge_repeats(spans)]
    for number, span in enumerate(merged, 1):
        later, end = merged[number:], span.end
        if later and later[0].start < end:
            if _are_concurrent(span, later, window):
                raise UnclearTimeline("two objects at once (one expected)")
            end = later[0].start
        if span.start < end:
            yield FactState((_labeled_item(span.claim),), span.start, end, span.precision)


def _are_concurrent(span: _Span, later: list[_Span], window: Window) -> bool:
    """Whether two overlapping statements are both valid at a time that affects the window."""
    following = later[0]
    is_handover = span.end < OPEN_END and span.end - following.start <= MAX_HANDOVER
    is_outranked = not span.claim.is_preferred and any(s.claim.is_preferred for s in later)
    affects_window = span.end > window.since and following.start < window.until
    return affects_window and not is_handover and not is_outranked


def _merge_repeats(spans: list[_Span]) -> Iterator[_Span]:
    """Merge adjacent or overlapping statements with the same object."""
    current: _Span | None = None
    for span in spans:
        if current and current.claim.object == span.claim.object and span.start <= current.end:
            is_preferred = current.claim.is_preferred or span.claim.is_preferred
            claim = replace(current.claim, is_preferred=is_preferred)
            end = max(current.end, span.end)
            current = _Span(claim, current.start, end, current.precision)
            continue
        if current:
            yield current
        current = span
    if current:
        yield current


def _iter_multiple(spans: list[_Span], window: Window) -> Iterator[FactState]:
    """Yield the sets of objects that are valid at once, split where an object starts or ends."""
    days = sorted({s.start for s in spans} | {s.end for s in spans})
    for day, following in pairwise(days):
        if following <= window.since - timedelta(days=1) - MAX_HANDOVER:
            continue  # later states that start after the eve are no second term of this one
        valid = [s for s in spans if s.start <= day < s.end]
        if len({s.claim.object for s in valid}) > MAX_OBJECTS:
            raise UnclearTimeline(f"more than {MAX_OBJECTS} objects at once")
        if valid:
            started = [s for s in valid if s.start == day]
            precision = started[0].precision if started else _end_precision(spans, day)
            yield FactState(_sorted_objects(valid), day, following, precision)


def _iter_latest(spans: list[_Span], window: Window) -> Iterator[FactState]:
    """Yield the objects of each date; they are the latest until the next date."""
    days = sorted({s.start for s in spans})
    for day, following in pairwise([*days, OPEN_END]):
        started = [s for s in spans if s.start == day]
        if following > window.since and day < window.until:
            _check_latest([s for s in spans if s.start <= day <= s.latest_start])
        yield FactState(_sorted_objects(started), day, following, started[0].precision)


def _check_latest(spans: list[_Span]) -> None:
    """Raises UnclearTimeline if the latest of these is ambiguous, or the objects are too many."""
    objects = {span.claim.object for span in spans}
    if len(objects) > MAX_OBJECTS:
        raise UnclearTimeline(f"more than {MAX_OBJECTS} objects at once")
    if len(objects) > 1 and len({(span.start, span.precision) for span in spans}) > 1:
        raise UnclearTimeline("ambiguous latest object")


def _end_precision(spans: list[_Span], day: date) -> str:
    """The precision of the end date that falls on this day."""
    return next(
        (s.claim.end.precision for s in spans if s.end == day and s.claim.end is not None), "day"
    )


def _sorted_objects(spans: list[_Span]) -> tuple[LabeledItem, ...]:
    return tuple(sorted({_labeled_item(s.claim) for s in spans}))


def _labeled_item(claim: Claim) -> LabeledItem:
    return LabeledItem(claim.object, claim.object_label)


def _merge_states(states: Iterator[FactState], window: Window) -> Iterator[FactState]:
    """Merge successive states with the same objects, such as two terms of office."""
    current: FactState | None = None
    for state in states:
        is_near = (
            current and state.start < window.until and state.start - current.end <= MAX_HANDOVER
        )
        if current and is_near and current.objects == state.objects:
            current = replace(current, end=state.end)
            continue
        if current:
            yield current
        current = state
    if current:
        yield current


def _clip_to_window(state: FactState, window: Window) -> FactState:
    """The state as it is known at the end of the window."""
    return replace(state, end=OPEN_END) if state.end >= window.until else state
