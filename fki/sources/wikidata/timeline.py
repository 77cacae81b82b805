"""Build the timeline of one subject and relation: states in order, from dated statements.

Wikidata's statements are edited one by one, by many people: some lack an end, some overlap, some
are dated to the year only. A key (subject and relation) is kept if its states are clear for the
whole window; otherwise it is skipped as a whole, with a reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

from fki.sources.wikidata.spans import (
    OPEN_END,
    UNKNOWN_START,
    Span,
    UnclearTimeline,
    find_fault,
    find_position,
    find_start,
    first_day,
    make_span,
)
from fki.sources.wikidata.statements import Claim, Window
from fki.sources.wikidata.undated import place_undated

MAX_OBJECTS = 15  # at once, as in TemporalWiki (Jang et al., 2022)
MAX_HANDOVER = timedelta(days=31)  # the longest overlap of two objects, or gap between two terms


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
    undated: int = 0  # statements without a date that are taken as valid throughout the window


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
        if not find_fault(claim, update_rule) and find_position(claim, update_rule)
    ]
    all_spans = [make_span(claim, update_rule, window) for claim in dated]
    undated: list[Span] = []
    if update_rule == "several":
        undated = place_undated(claims, all_spans, window)
    spans = sorted((s for s in [*all_spans, *undated] if s.start < s.end), key=_span_order)
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
    return Timeline(before, changes, len(undated))


def _span_order(span: Span) -> tuple[date, date, str]:
    return span.start, span.end, span.claim.object


def _check_undated(
    claims: list[Claim], update_rule: str, spans: list[Span], window: Window
) -> None:
    """Raises UnclearTimeline if a statement without usable days may be the valid one."""
    for claim in claims:
        if fault := find_fault(claim, update_rule):
            start = find_start(claim, update_rule)
            first = first_day(start, window) if start else UNKNOWN_START
            if not any(first < s.start <= window.since for s in spans):
                raise UnclearTimeline(fault)
        elif update_rule == "one" and any(s.claim.object != claim.object for s in spans):
            raise UnclearTimeline("undated statement next to dated ones")


def _iter_single(spans: list[Span], window: Window) -> Iterator[FactState]:
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


def _are_concurrent(span: Span, later: list[Span], window: Window) -> bool:
    """Whether two overlapping statements are both valid at a time that affects the window."""
    following = later[0]
    is_handover = span.end < OPEN_END and span.end - following.start <= MAX_HANDOVER
    is_outranked = not span.claim.is_preferred and any(s.claim.is_preferred for s in later)
    affects_window = span.end > window.since and following.start < window.until
    return affects_window and not is_handover and not is_outranked


def _merge_repeats(spans: list[Span]) -> Iterator[Span]:
    """Merge adjacent or overlapping statements with the same object."""
    current: Span | None = None
    for span in spans:
        if current and current.claim.object == span.claim.object and span.start <= current.end:
            is_preferred = current.claim.is_preferred or span.claim.is_preferred
            claim = replace(current.claim, is_preferred=is_preferred)
            end = max(current.end, span.end)
            current = Span(claim, current.start, end, current.precision)
            continue
        if current:
            yield current
        current = span
    if current:
        yield current


def _iter_multiple(spans: list[Span], window: Window) -> Iterator[FactState]:
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


def _iter_latest(spans: list[Span], window: Window) -> Iterator[FactState]:
    """Yield the objects of each date; they are the latest until the next date."""
    days = sorted({s.start for s in spans})
    for day, following in pairwise([*days, OPEN_END]):
        started = [s for s in spans if s.start == day]
        if following > window.since and day < window.until:
            _check_latest([s for s in spans if s.start <= day <= s.latest_start])
        yield FactState(_sorted_objects(started), day, following, started[0].precision)


def _check_latest(spans: list[Span]) -> None:
    """Raises UnclearTimeline if the latest of these is ambiguous, or the objects are too many."""
    objects = {span.claim.object for span in spans}
    if len(objects) > MAX_OBJECTS:
        raise UnclearTimeline(f"more than {MAX_OBJECTS} objects at once")
    if len(objects) > 1 and len({(span.start, span.precision) for span in spans}) > 1:
        raise UnclearTimeline("ambiguous latest object")


def _end_precision(spans: list[Span], day: date) -> str:
    """The precision of the end date that falls on this day."""
    return next(
        (s.claim.end.precision for s in spans if s.end == day and s.claim.end is not None), "day"
    )


def _sorted_objects(spans: list[Span]) -> tuple[LabeledItem, ...]:
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
