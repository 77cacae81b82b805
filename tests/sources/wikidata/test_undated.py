"""In a set of objects, a statement without a date is an answer, or its key is skipped."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fki.sources.wikidata.relations import Relation
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.select_facts import FactSelector
from fki.sources.wikidata.spans import ENDS_BEFORE_START, OPEN_END, Span, UnclearTimeline, make_span
from fki.sources.wikidata.statements import (
    TWO_DATES,
    UNKNOWN_BEGIN,
    UNKNOWN_END,
    Claim,
    PartialDate,
    Subject,
    Window,
)
from fki.sources.wikidata.timeline import build_timeline
from fki.sources.wikidata.undated import (
    POINT_ONLY,
    UNDATED_BELOW_PREFERRED,
    UNDATED_BESIDE_ENDED,
    place_undated,
)

WINDOW = Window(date(2025, 10, 1), date(2026, 1, 1))
GRID = [date(2020, 1, 1), date(2025, 9, 30), date(2025, 10, 1), date(2025, 11, 15)]
GRID += [date(2025, 12, 31), date(2026, 1, 1), date(2026, 5, 1)]
SEEN = GRID[1:5]  # the day before the window, and days of it
TWINS = Relation("P190", "twin town", "several", ("[X] is twinned with [Y].", "[Y] twins [X]."))


def on(day: str) -> PartialDate:
    return PartialDate(day, "day")


OLD = Claim("P190", "B", "b", start=on("1990-05-26"))
NEW = Claim("P190", "C", "c", start=on("2025-11-01"))
UNDATED = Claim("P190", "A", "a")


def sets_of(*claims: Claim) -> tuple[list[str], int]:
    """The sets of objects before and in the window, and the number of undated statements."""
    line = build_timeline(claims, "several", WINDOW)
    states = ([line.before] if line.before else []) + [*line.changes]
    return ["".join(o.id for o in state.objects) for state in states], line.undated


def test_an_undated_statement_is_valid_throughout_the_window() -> None:
    assert sets_of(UNDATED, OLD, NEW) == (["AB", "ABC"], 1)
    assert sets_of(OLD, NEW) == (["B", "BC"], 0)


def test_an_undated_statement_of_a_dated_object_adds_nothing() -> None:
    again = Claim("P190", "C", "c")
    assert sets_of(again, OLD, NEW) == (["B", "BC"], 0)
    over = Claim("P190", "A", "a", start=on("2001-01-01"), end=on("2005-01-01"))
    assert sets_of(UNDATED, over, OLD, NEW) == (["B", "BC"], 0)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Claim("P190", "D", "d", start=on("2001-01-01"), end=on("2005-01-01")),
         UNDATED_BESIDE_ENDED),
        (Claim("P190", "D", "d", end=on("2005-01-01")), UNDATED_BESIDE_ENDED),
        (Claim("P190", "D", "d", start=on("2001-01-01"), is_preferred=True),
         UNDATED_BELOW_PREFERRED),
        (Claim("P190", "D", "d", start=on("2001-01-01"), fault=UNKNOWN_END), UNKNOWN_END),
        (Claim("P190", "D", "d", start=on("2001-01-01"), fault=TWO_DATES), TWO_DATES),
        (Claim("P190", "D", "d", start=on("2010-01-01"), end=on("2001-01-01")), ENDS_BEFORE_START),
        (Claim("P190", "D", "d", is_start_unknown=True), UNKNOWN_BEGIN),
        (Claim("P190", "D", "d", point=on("2001-01-01")), POINT_ONLY),
    ],
)  # fmt: skip
def test_a_key_whose_undated_statement_may_be_over_is_unclear(other: Claim, reason: str) -> None:
    with pytest.raises(UnclearTimeline, match=reason.replace("(", r"\(").replace(")", r"\)")):
        sets_of(UNDATED, OLD, NEW, other)


def test_a_preferred_undated_statement_is_valid() -> None:
    preferred = Claim("P190", "A", "a", is_preferred=True)
    assert sets_of(preferred, OLD, NEW) == (["AB", "ABC"], 1)


def test_a_fault_outside_of_the_window_has_no_effect() -> None:
    later = Claim("P190", "D", "d", start=on("2026-01-01"), fault=UNKNOWN_END)
    over = Claim("P190", "D", "d", start=on("2001-01-01"), end=on("2005-01-01"), fault=TWO_DATES)
    assert sets_of(OLD, NEW, later, over)[0] == ["B", "BC"]


def test_more_than_fifteen_objects_with_undated_ones_are_unclear() -> None:
    crowd = [Claim("P190", f"O{n}", "o") for n in range(15)]
    with pytest.raises(UnclearTimeline, match="more than 15"):
        sets_of(OLD, *crowd)


dates = st.sampled_from(GRID)
ends = st.one_of(st.none(), dates)
# object, kind, start or point, end, whether it is preferred
STATEMENTS = st.lists(
    st.tuples(
        st.sampled_from("AB"),
        st.sampled_from(["dated", "undated", "point", UNKNOWN_END, UNKNOWN_BEGIN, TWO_DATES]),
        dates, ends, st.booleans(),
    ),
    max_size=5,
)  # fmt: skip
Statement = tuple[str, str, date, date | None, bool]


def to_claim(statement: Statement) -> Claim:
    name, kind, day, end, preferred = statement
    start, last = on(str(day)), on(str(end)) if end and end > day else None
    if kind == "point":
        return Claim("P190", name, name, point=start, is_preferred=preferred)
    if kind == "undated":
        return Claim("P190", name, name, is_preferred=preferred)
    if kind == UNKNOWN_BEGIN:
        return Claim("P190", name, name, end=last, is_preferred=preferred, is_start_unknown=True)
    last = None if kind == UNKNOWN_END else last
    fault = "" if kind == "dated" else kind
    return Claim("P190", name, name, start, last, is_preferred=preferred, fault=fault)


def possible_days(claim: Claim) -> set[frozenset[date]]:
    """The sets of days on which a statement may be valid, given the part of its dates that is
    known."""
    start = date.fromisoformat(claim.start.day) if claim.start else None
    end = date.fromisoformat(claim.end.day) if claim.end else None
    point = date.fromisoformat(claim.point.day) if claim.point else None
    periods = [(a, b) for a, b in product([date.min, *GRID], [*GRID, OPEN_END]) if a < b]
    if claim.fault == TWO_DATES:  # the start is one of two dates, of which `start` is the later
        periods = [(a, b) for a, b in periods if b <= (end or OPEN_END)]
    elif claim.fault == UNKNOWN_END:
        periods = [(a, b) for a, b in periods if a == start]
    elif claim.is_start_unknown:
        periods = [(a, b) for a, b in periods if b == (end or OPEN_END)]
    elif point:
        periods = [(a, b) for a, b in periods if a <= point < b]
    elif claim.start or claim.end:
        periods = [(start or date.min, end or OPEN_END)]
    return {frozenset(day for day in SEEN if a <= day < b) for a, b in periods}


def is_dated(claim: Claim) -> bool:
    return not claim.fault and not claim.is_start_unknown and bool(claim.start or claim.end)


@given(STATEMENTS)
@settings(max_examples=600, deadline=None)
def test_a_key_is_clear_if_all_that_may_be_true_gives_the_same_answers(
    statements: list[Statement],
) -> None:
    """The twin goes through every period that each statement may have had."""
    claims = [to_claim(s) for s in statements]
    dated = [c for c in claims if is_dated(c)]
    known: dict[str, set[date]] = {"A": set(), "B": set()}
    for claim in dated:
        known[claim.object] |= next(iter(possible_days(claim)))
    objects_with_days = {c.object for c in dated}
    doubtful = any(c.end or c.fault == UNKNOWN_END for c in claims)
    clear, held = True, 0
    for claim in (c for c in claims if not is_dated(c)):
        plain = not (claim.fault or claim.is_start_unknown or claim.point)
        outranked = not claim.is_preferred and any(c.is_preferred for c in claims)
        period_of = [
            c for c in dated if claim.point and c.object == claim.object
            and c.start and c.start.day <= claim.point.day < (c.end.day if c.end else "9999")
        ]  # fmt: skip
        if (plain and claim.object in objects_with_days) or (plain is False and period_of):
            continue  # the same statement, with its days
        if plain and not doubtful and not outranked:
            held += 1
        elif any(days - known[claim.object] for days in possible_days(claim)):
            clear = False
    spans = [make_span(c, "several", WINDOW) for c in dated]
    try:
        placed: list[Span] | None = place_undated(claims, spans, WINDOW)
    except UnclearTimeline:
        placed = None
    assert (placed is not None) == clear
    assert placed is None or [(s.start, s.end) for s in placed] == [(date.min, OPEN_END)] * held


def tables_of(subjects: list[Subject]) -> tuple[dict[str, list[list[str]]], dict[str, int]]:
    selector = FactSelector([TWINS], WINDOW)
    for subject in subjects:
        selector.add(subject)
    tables = {
        name: [[row["subject"], row["object"], row["start"]] for row in rows]
        for name, rows in selector.build_tables().items()
    }
    return tables, dict(selector.undated)


def test_undated_twin_towns_are_answers_by_dump_and_by_query_service(
    open_crawl: Callable[..., object],
) -> None:
    pytest.importorskip("msgspec")
    pytest.importorskip("pyoxigraph")
    from collections import Counter

    from fki.sources.wikidata.entities import read_entity
    from tests.support.sparql_server import World, sparql

    it = World()
    names = ["Northtown", "Easttown", "Westtown", "Southtown"]
    for number, name in enumerate(names, 1):
        it.add_label(f"Q{number}", name)
    it.add_statement("Q1", "P190", "Q2")
    it.add_statement("Q1", "P190", "Q3", start="1990-05-26")
    it.add_statement("Q1", "P190", "Q4", start="2025-11-01")
    labels = {f"Q{n}": name for n, name in enumerate(names, 1)}
    scope = Scope.from_relations(WINDOW, [TWINS])
    read = [
        read_entity(line.rstrip(",").encode(), scope, Counter())
        for line in it.dump.splitlines()[1:-1]
    ]
    of_dump = [
        Subject(s.id, s.label, [
            Claim(c.relation, c.object, labels[c.object], c.start, c.end) for c in s.claims
        ])
        for s in read if s
    ]  # fmt: skip
    with sparql(it) as site:
        of_service = [*open_crawl(site, relations=[TWINS]).iter_subjects()]  # type: ignore[attr-defined]
    expected = {
        "base": [["Northtown", "Easttown", "1990-05-26"], ["Northtown", "Westtown", "1990-05-26"]],
        "stream": [["Northtown", name, "2025-11-01"] for name in sorted(names[1:])],
        "invariant": [],
    }
    assert tables_of(of_dump) == tables_of(of_service)
    assert tables_of(of_dump) == (expected, {"statements": 1, "keys": 1})


def test_the_eve_is_seen() -> None:
    assert SEEN[0] == WINDOW.since - timedelta(days=1)
