"""What held when is what a look at every single day finds."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fki.sources.wikidata.statements import (
    TWO_DATES,
    UNKNOWN_END,
    Claim,
    PartialDate,
    Window,
    parse_time,
)
from fki.sources.wikidata.timeline import (
    MAX_HANDOVER,
    OPEN_END,
    UNKNOWN_START,
    Timeline,
    UnclearTimeline,
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


def found(claims: Sequence[Claim], holds: str = "one") -> list[tuple[str, str, str]]:
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


def test_a_successor_ends_what_was_before() -> None:
    both = [claim("A", "2020-05-01", "2025-11-03"), claim("B", "2025-11-03")]
    assert found(both) == [("A", "2020-05-01", "2025-11-03"), ("B", "2025-11-03", "")]


def test_one_left_open_gives_way_to_a_preferred_one_only() -> None:
    open_one = claim("A", "2020-05-01")
    assert found([open_one, claim("B", "2025-11-03", preferred=True)])[1][0] == "B"
    with pytest.raises(UnclearTimeline, match="two objects at once"):
        found([open_one, claim("B", "2025-11-03")])


def test_a_handover_of_some_days_is_a_succession_and_one_of_months_is_not() -> None:
    assert found([claim("A", "2020-05-01", "2025-11-20"), claim("B", "2025-11-03")])[1][0] == "B"
    with pytest.raises(UnclearTimeline, match="two objects at once"):
        found([claim("A", "2020-05-01", "2025-12-31"), claim("B", "2025-10-03")])


def test_two_that_held_at_once_long_ago_do_not_matter() -> None:
    old = [claim("A", "2000-01-01", "2010-01-01"), claim("B", "2002-01-01", "2010-01-01")]
    assert found([*old, claim("C", "2020-01-01")]) == [("C", "2020-01-01", "")]


def test_a_year_is_never_read_as_its_first_of_january() -> None:
    with pytest.raises(UnclearTimeline, match="only to the year"):
        found([claim("A", "2020-05-01", "2025"), claim("B", "2025")])
    assert found([claim("A", "2020")]) == [("A", "2020-01-01", "")]


def test_a_month_that_straddles_the_edge_of_the_window_is_too_coarse() -> None:
    window = Window(date(2025, 10, 15), date(2025, 12, 1))
    with pytest.raises(UnclearTimeline, match="only to the month"):
        build_timeline([claim("A", "2025-10")], "one", window)
    assert build_timeline([claim("A", "2025-11")], "one", window).changes[0].precision == "month"


def test_an_end_without_a_successor_leaves_the_key_out() -> None:
    with pytest.raises(UnclearTimeline, match="without a successor"):
        found([claim("A", "2020-05-01", "2025-11-03")])
    assert found([claim("A", "2020-05-01", "2026-02-01")]) == [("A", "2020-05-01", "")]


def test_what_comes_after_the_window_is_not_known_in_it() -> None:
    assert found([claim("A", "2020-05-01"), claim("B", "2026-01-01")]) == [("A", "2020-05-01", "")]


def test_an_undated_statement_beside_dated_ones_is_unclear_unless_it_says_the_same() -> None:
    assert found([claim("A"), claim("A", "2020-05-01")]) == [("A", "2020-05-01", "")]
    with pytest.raises(UnclearTimeline, match="undated"):
        found([claim("B"), claim("A", "2020-05-01")])


def test_an_unknown_end_matters_only_where_nothing_came_since() -> None:
    over = Claim("P6", "A", "a", start=when("2020-01-01"), fault=UNKNOWN_END)
    with pytest.raises(UnclearTimeline, match="unknown date"):
        found([over])
    assert found([over, claim("B", "2021-01-01")]) == [("B", "2021-01-01", "")]


def test_statements_that_go_on_with_one_object_are_one() -> None:
    terms = [claim("A", "2020-01-01", "2025-11-01"), claim("A", "2025-11-01")]
    assert found(terms) == [("A", "2020-01-01", "")]


def test_two_terms_that_are_not_far_apart_are_one() -> None:
    terms = [claim("A", "2020-01-01", "2025-10-09"), claim("A", "2025-10-10")]
    assert found(terms) == [("A", "2020-01-01", "")]
    with pytest.raises(UnclearTimeline, match="resumed"):
        found([claim("A", "2020-01-01", "2025-10-09"), claim("A", "2025-12-10")])
    other = [claim("A", "2020-01-01", "2025-10-09"), claim("B", "2025-12-10")]
    assert [row[0] for row in found(other)] == ["A", "B"]


def test_several_hold_at_once_and_a_leaver_changes_the_set() -> None:
    team = [claim("A", "2020-01-01", "2025-11-01"), claim("B", "2021-01-01")]
    assert found(team, "several") == [("A+B", "2021-01-01", "2025-11-01"), ("B", "2025-11-01", "")]


def test_more_than_fifteen_at_once_are_no_answer() -> None:
    crowd = [claim(f"O{n}", "2020-01-01") for n in range(16)]
    with pytest.raises(UnclearTimeline, match="more than 15"):
        found(crowd, "several")


def test_the_latest_replaces_what_came_before_it() -> None:
    prizes = [claim("A", point="2024-05-01"), claim("B", point="2025-12-10")]
    assert found(prizes, "latest") == [("A", "2024-05-01", "2025-12-10"), ("B", "2025-12-10", "")]


def test_the_latest_stays_so_though_nobody_knows_when_it_ended() -> None:
    prize = Claim("P166", "B", "b", point=when("2025-12-10"), fault=UNKNOWN_END)
    assert found([claim("A", point="2024-05-01"), prize], "latest")[1][0] == "B"


def test_the_latest_is_unclear_where_one_that_may_be_later_has_two_dates() -> None:
    twice = Claim("P166", "B", "b", point=when("2025-12-10"), fault=TWO_DATES)
    with pytest.raises(UnclearTimeline, match="conflicting dates"):
        found([claim("A", point="2024-05-01"), twice], "latest")
    long_ago = Claim("P166", "B", "b", point=when("2020-12-10"), fault=TWO_DATES)
    assert found([claim("A", point="2024-05-01"), long_ago], "latest")[0][0] == "A"


@pytest.mark.parametrize(("coarse", "day"), [("2024", "2024-05-01"), ("2025-11", "2025-11-20")])
def test_the_latest_is_unclear_where_another_one_of_that_year_or_month_may_be(
    coarse: str, day: str
) -> None:
    prizes = [claim("A", point=coarse), claim("B", point=day)]
    with pytest.raises(UnclearTimeline, match="ambiguous latest"):
        found(prizes, "latest")


def test_what_is_shared_on_one_day_is_the_latest_together() -> None:
    prizes = [claim("B", point="2025-11-20"), claim("A", point="2025-11-20")]
    assert found(prizes, "latest") == [("A+B", "2025-11-20", "")]


def test_the_latest_is_as_exact_as_the_date_that_puts_it_in_its_place() -> None:
    line = build_timeline([claim("A", "2020-01-01", point="2025-11")], "latest", WINDOW)
    assert line.changes[0].precision == "month"


def test_a_statement_that_ends_before_it_begins_matters_only_where_nothing_came_since() -> None:
    with pytest.raises(UnclearTimeline, match="before it starts"):
        found([claim("A", "2020-05-01"), claim("B", "2025-11-05", "2015-11-20")])
    long_ago = claim("B", "2010-05-01", "2001-05-01")
    assert found([long_ago, claim("A", "2020-05-01")]) == [("A", "2020-05-01", "")]


def test_since_when_must_be_known_of_what_held_before() -> None:
    with pytest.raises(UnclearTimeline, match="unknown start"):
        found([claim("A", "", "2025-11-03"), claim("B", "2025-11-03")])


def test_a_change_on_the_first_day_is_within_and_one_on_the_last_is_not() -> None:
    assert build_timeline([claim("A", "2025-10-01")], "one", WINDOW).before is None
    assert len(build_timeline([claim("A", "2025-10-01")], "one", WINDOW).changes) == 1
    assert build_timeline([claim("A", "2026-01-01")], "one", WINDOW) == Timeline(None, ())


days = st.dates(BEGIN, date(2026, 1, 31))
SPANS = st.lists(
    st.tuples(st.sampled_from("ABC"), days, st.one_of(st.none(), days)), min_size=1, max_size=6
)


@given(SPANS)
@settings(max_examples=300, deadline=None)
def test_several_are_what_a_look_at_every_day_finds(
    spans: list[tuple[str, date, date | None]],
) -> None:
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
def test_one_at_a_time_is_what_a_look_at_every_day_finds(starts: list[date]) -> None:
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


@pytest.mark.parametrize(
    ("time", "precision", "expected"),
    [
        ("+2025-10-05T00:00:00Z", 11, PartialDate("2025-10-05", "day")),
        ("2025-10-05T00:00:00Z", 11, PartialDate("2025-10-05", "day")),
        ("+2025-10-00T00:00:00Z", 10, PartialDate("2025-10-01", "month")),
        ("+2025-00-00T00:00:00Z", 9, PartialDate("2025-01-01", "year")),
        ("+2025-07-19T00:00:00Z", 9, PartialDate("2025-01-01", "year")),
        ("+2025-02-30T00:00:00Z", 11, None),
        ("-0044-03-15T00:00:00Z", 11, None),
        ("+1900-00-00T00:00:00Z", 7, None),
        ("+12025-01-01T00:00:00Z", 9, None),
        ("", 11, None),
    ],
)
def test_times_are_read_as_exactly_as_they_are_known(
    time: str, precision: int, expected: PartialDate | None
) -> None:
    assert parse_time(time, precision) == expected


def test_a_window_holds_its_first_day_and_not_its_last() -> None:
    assert WINDOW.contains(when("2025-10-01")) and not WINDOW.contains(when("2026-01-01"))
    assert not WINDOW.contains(None) and WINDOW.since > UNKNOWN_START
