"""A statement's days follow from its dates and their precision."""

from datetime import date

import pytest

from fki.sources.wikidata.spans import (
    ENDS_BEFORE_START,
    OPEN_END,
    UNKNOWN_START,
    UnclearTimeline,
    find_fault,
    first_day,
    make_span,
)
from fki.sources.wikidata.statements import UNKNOWN_BEGIN, Claim, PartialDate, Window

WINDOW = Window(date(2025, 10, 1), date(2026, 1, 1))
MAY = PartialDate("2020-05-01", "month")


def test_a_statement_with_an_end_only_is_valid_since_ever() -> None:
    span = make_span(Claim("P54", "Q1", "", end=MAY), "several", WINDOW)
    assert (span.start, span.end) == (UNKNOWN_START, date(2020, 5, 1))


def test_the_end_of_a_latest_statement_is_irrelevant() -> None:
    span = make_span(Claim("P166", "Q1", "", point=MAY, end=MAY), "latest", WINDOW)
    assert (span.start, span.end, span.latest_start) == (
        date(2020, 5, 1),
        OPEN_END,
        date(2020, 5, 31),
    )


@pytest.mark.parametrize(
    ("end", "fault"), [("2020-05-20", ""), ("2020-05-01", ""), ("2020-04-30", ENDS_BEFORE_START)]
)
def test_an_end_is_before_a_start_if_all_of_its_days_are(end: str, fault: str) -> None:
    claim = Claim("P54", "Q1", "", start=MAY, end=PartialDate(end, "day"))
    assert find_fault(claim, "several") == fault


def test_an_unknown_start_is_a_fault_where_several_objects_hold() -> None:
    claim = Claim("P54", "Q1", "", is_start_unknown=True)
    faults = [find_fault(claim, rule) for rule in ("one", "several", "latest")]
    assert faults == ["", UNKNOWN_BEGIN, ""]


def test_a_year_that_touches_the_window_is_too_coarse() -> None:
    with pytest.raises(UnclearTimeline, match="only to the year"):
        first_day(PartialDate("2025-01-01", "year"), WINDOW)
    assert first_day(PartialDate("2024-01-01", "year"), WINDOW) == date(2024, 1, 1)
