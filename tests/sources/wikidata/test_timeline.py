"""What held when is what a look at every single day finds."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fki.sources.wikidata.spans import OPEN_END, UnclearTimeline
from fki.sources.wikidata.statements import (
    TWO_DATES,
    UNKNOWN_END,
    Claim,
    PartialDate,
    Window,
)
from fki.sources.wikidata.timeline import (
    MAX_HANDOVER,
    Timeline,
    build_timeline,
)

WINDOW = Window(date(2025, 10, 1), date(2026, 1, 1))
BEGIN = date(2025, 9, 1)  # where the twin starts to look


def when(text: str) -> PartialDate | None:
    """2025, 2025-10 or 2025-10-05 as a date."""
    precision = {4: "year", 7: "month", 10: "day"}.get(len(text))
    return PartialDate((text + "-01-01")[:10], precision) if precision else None


def claim(
    name: str, start: str = "", end: str = "", point: str = "", *, preferred: bool = False
) -> Claim:
    return Claim(
        "P6",
        name,
        name.lower(),
        start=when(start),
        end=when(end),
        point=when(point),
        is_preferred=preferred,
    )


def states_of(claims: Sequence[Claim], holds: str = "one") -> list[tuple[str, str, str]]:
    """(objects, start, end) of what held before and of each change."""
    line = build_timeline(claims, holds, WINDOW)
    states = ([line.before] if line.before else []) + [*line.changes]
    return [
        (
            "+".join(o.id for o in state.objects),
            state.start.isoformat(),
            "" if state.end == OPEN_END else state.end.isoformat(),
        )
        for state in states
    ]


def test_a_successor_ends_the_state_before() -> None:
    both = [claim("A", "2020-05-01", "2025-11-03"), claim("B", "2025-11-03")]
    assert states_of(both) == [("A", "2020-05-01", "2025-11-03"), ("B", "2025-11-03", "")]


def test_an_open_state_is_replaced_by_a_preferred_one_only() -> None:
    open_one = claim("A", "2020-05-01")
    assert states_of([open_one, claim("B", "2025-11-03", preferred=True)])[1][0] == "B"
    with pytest.raises(UnclearTimeline, match="two objects at once"):
        states_of([open_one, claim("B", "2025-11-03")])


def test_a_handover_of_some_days_is_a_succession_and_one_of_months_is_not() -> None:
    assert (
        states_of([claim("A", "2020-05-01", "2025-11-20"), claim("B", "2025-11-03")])[1][0] == "B"
    )
    with pytest.raises(UnclearTimeline, match="two objects at once"):
        states_of([claim("A", "2020-05-01", "2025-12-31"), claim("B", "2025-10-03")])


def test_an_overlap_long_before_the_window_has_no_effect() -> None:
    old = [claim("A", "2000-01-01", "2010-01-01"), claim("B", "2002-01-01", "2010-01-01")]
    assert states_of([*old, claim("C", "2020-01-01")]) == [("C", "2020-01-01", "")]


def test_a_year_is_never_read_as_january_1() -> None:
    with pytest.raises(UnclearTimeline, match="only to the year"):
        states_of([claim("A", "2020-05-01", "2025"), claim("B", "2025")])
    assert states_of([claim("A", "2020")]) == [("A", "2020-01-01", "")]


def test_a_month_that_straddles_the_edge_of_the_window_is_too_coarse() -> None:
    window = Window(date(2025, 10, 15), date(2025, 12, 1))
    with pytest.raises(UnclearTimeline, match="only to the month"):
        build_timeline([claim("A", "2025-10")], "one", window)
    assert build_timeline([claim("A", "2025-11")], "one", window).changes[0].precision == "month"


def test_a_key_that_ends_without_a_successor_is_skipped() -> None:
    with pytest.raises(UnclearTimeline, match="without a successor"):
        states_of([claim("A", "2020-05-01", "2025-11-03")])
    assert states_of([claim("A", "2020-05-01", "2026-02-01")]) == [("A", "2020-05-01", "")]


def test_changes_after_the_window_are_unknown_in_it() -> None:
    assert states_of([claim("A", "2020-05-01"), claim("B", "2026-01-01")]) == [
        ("A", "2020-05-01", "")
    ]


def test_an_undated_statement_next_to_dated_ones_is_unclear_unless_it_is_the_same() -> None:
    assert states_of([claim("A"), claim("A", "2020-05-01")]) == [("A", "2020-05-01", "")]
    with pytest.raises(UnclearTimeline, match="undated"):
        states_of([claim("B"), claim("A", "2020-05-01")])


def test_an_unknown_end_is_a_fault_only_without_a_successor() -> None:
    over = Claim("P6", "A", "a", start=when("2020-01-01"), fault=UNKNOWN_END)
    with pytest.raises(UnclearTimeline, match="unknown date"):
        states_of([over])
    assert states_of([over, claim("B", "2021-01-01")]) == [("B", "2021-01-01", "")]


def test_adjacent_statements_with_one_object_are_merged() -> None:
    terms = [claim("A", "2020-01-01", "2025-11-01"), claim("A", "2025-11-01")]
    assert states_of(terms) == [("A", "2020-01-01", "")]


def test_two_terms_with_a_short_gap_are_merged() -> None:
    terms = [claim("A", "2020-01-01", "2025-10-09"), claim("A", "2025-10-10")]
    assert states_of(terms) == [("A", "2020-01-01", "")]
    with pytest.raises(UnclearTimeline, match="resumed"):
        states_of([claim("A", "2020-01-01", "2025-10-09"), claim("A", "2025-12-10")])
    other = [claim("A", "2020-01-01", "2025-10-09"), claim("B", "2025-12-10")]
    assert [row[0] for row in states_of(other)] == ["A", "B"]


def test_an_end_changes_the_set_of_simultaneous_objects() -> None:
    team = [claim("A", "2020-01-01", "2025-11-01"), claim("B", "2021-01-01")]
    assert states_of(team, "several") == [
        ("A+B", "2021-01-01", "2025-11-01"),
        ("B", "2025-11-01", ""),
    ]


def test_more_than_fifteen_objects_at_once_are_unclear() -> None:
    crowd = [claim(f"O{n}", "2020-01-01") for n in range(16)]
    with pytest.raises(UnclearTimeline, match="more than 15"):
        states_of(crowd, "several")


def test_the_latest_replaces_the_object_before() -> None:
    prizes = [claim("A", point="2024-05-01"), claim("B", point="2025-12-10")]
    assert states_of(prizes, "latest") == [
        ("A", "2024-05-01", "2025-12-10"),
        ("B", "2025-12-10", ""),
    ]


def test_an_unknown_end_of_the_latest_has_no_effect() -> None:
    prize = Claim("P166", "B", "b", point=when("2025-12-10"), fault=UNKNOWN_END)
    assert states_of([claim("A", point="2024-05-01"), prize], "latest")[1][0] == "B"


def test_the_latest_is_unclear_if_a_later_candidate_has_two_dates() -> None:
    twice = Claim("P166", "B", "b", point=when("2025-12-10"), fault=TWO_DATES)
    with pytest.raises(UnclearTimeline, match="conflicting dates"):
        states_of([claim("A", point="2024-05-01"), twice], "latest")
    long_ago = Claim("P166", "B", "b", point=when("2020-12-10"), fault=TWO_DATES)
    assert states_of([claim("A", point="2024-05-01"), long_ago], "latest")[0][0] == "A"


@pytest.mark.parametrize(("coarse", "day"), [("2024", "2024-05-01"), ("2025-11", "2025-11-20")])
def test_the_latest_is_unclear_if_a_coarse_date_overlaps(coarse: str, day: str) -> None:
    prizes = [claim("A", point=coarse), claim("B", point=day)]
    with pytest.raises(UnclearTimeline, match="ambiguous latest"):
        states_of(prizes, "latest")


def test_objects_of_one_day_are_the_latest_together() -> None:
    prizes = [claim("B", point="2025-11-20"), claim("A", point="2025-11-20")]
    assert states_of(prizes, "latest") == [("A+B", "2025-11-20", "")]


def test_the_latest_has_the_precision_of_its_point_in_time() -> None:
    line = build_timeline([claim("A", "2020-01-01", point="2025-11")], "latest", WINDOW)
    assert line.changes[0].precision == "month"


def test_an_end_before_the_start_is_a_fault_only_without_a_successor() -> None:
    with pytest.raises(UnclearTimeline, match="before it starts"):
        states_of([claim("A", "2020-05-01"), claim("B", "2025-11-05", "2015-11-20")])
    long_ago = claim("B", "2010-05-01", "2001-05-01")
    assert states_of([long_ago, claim("A", "2020-05-01")]) == [("A", "2020-05-01", "")]


def test_the_state_before_the_window_must_have_a_start() -> None:
    with pytest.raises(UnclearTimeline, match="unknown start"):
        states_of([claim("A", "", "2025-11-03"), claim("B", "2025-11-03")])


def test_a_change_on_the_first_day_is_within_and_one_on_the_last_is_not() -> None:
    assert build_timeline([claim("A", "2025-10-01")], "one", WINDOW).before is None
    assert len(build_timeline([claim("A", "2025-10-01")], "one", WINDOW).changes) == 1
    assert build_timeline([claim("A", "2026-01-01")], "one", WINDOW) == Timeline(None, ())


days = st.dates(BEGIN, date(2026, 1, 31))
SPANS = st.lists(
    st.tuples(st.sampled_from("ABC"), days, st.one_of(st.none(), days)), min_size=1, max_size=6
)


@example(  # the first term ends less than a month before the window
    [("A", date(2025, 9, 1), date(2025, 9, 2)), ("A", date(2025, 10, 1), None)]
)
@given(SPANS)
@settings(max_examples=300, deadline=None)
def test_simultaneous_states_equal_a_scan_of_every_day(
    spans: list[tuple[str, date, date | None]],
) -> None:
    spans = [(o, min(s, e or s), e and max(s, e)) for o, s, e in spans]
    claims = [claim(o, s.isoformat(), e.isoformat() if e else "") for o, s, e in spans]
    every = [BEGIN + timedelta(days=n) for n in range((WINDOW.until - BEGIN).days)]
    seen = {d: frozenset(o for o, s, e in spans if s <= d < (e or OPEN_END)) for d in every}
    filled = [d for d in every if seen[d]]
    for last, back in pairwise(filled):  # two terms that are not far apart are one
        if seen[last] == seen[back] and back - last <= MAX_HANDOVER + timedelta(days=1):
            seen |= {d: seen[last] for d in every if last < d < back}
    seen = {d: objects for d, objects in seen.items() if d >= WINDOW.since - timedelta(days=1)}
    filled = [d for d in seen if seen[d]]
    comes_back = any(
        seen[last] == seen[back] and back - last > timedelta(days=1)
        for last, back in pairwise(filled)
    )
    if comes_back or (filled and filled[-1] < every[-1]):
        with pytest.raises(UnclearTimeline, match=r"without a successor|resumed"):
            build_timeline(claims, "several", WINDOW)
        return
    line = build_timeline(claims, "several", WINDOW)
    states = ([line.before] if line.before else []) + [*line.changes]
    for day, objects in seen.items():
        held = [s for s in states if s.holds_on(day)]
        assert [frozenset(o.id for o in s.objects) for s in held] == ([objects] if objects else [])
    assert all(a.objects != b.objects or a.end != b.start for a, b in pairwise(states))


@given(st.lists(days, min_size=1, max_size=6, unique=True))
@settings(max_examples=200, deadline=None)
def test_single_states_equal_a_scan_of_every_day(starts: list[date]) -> None:
    """Each holder, every second one open, gives way to the next, which is preferred."""
    starts = sorted(starts)
    ends = [s.isoformat() for s in starts[1:]]
    claims = [
        claim(
            f"O{n}",
            s.isoformat(),
            ends[n] if n < len(ends) and n % 2 else "",
            preferred=n == len(ends),
        )
        for n, s in enumerate(starts)
    ]
    line = build_timeline(claims, "one", WINDOW)
    states = ([line.before] if line.before else []) + [*line.changes]
    day = WINDOW.since - timedelta(days=1)
    while day < WINDOW.until:
        expected = [f"O{n}" for n, s in enumerate(starts) if s <= day][-1:]
        assert [s.objects[0].id for s in states if s.holds_on(day)] == expected
        day += timedelta(days=1)
