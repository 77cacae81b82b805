"""Dates of other people's data are read as they spell them, or not at all."""

from datetime import date, datetime, timezone
from decimal import Decimal

import pytest

from fki.core.calendar import parse_date
from fki.sources.tables.parse_date import AMBIGUOUS, NO_DATE, UNKNOWN, normalize_date


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (date(2021, 3, 5), "2021-03-05"),
        (datetime(2021, 3, 5, 23, 59, tzinfo=timezone.utc), "2021-03-05"),
        ("2021", "2021"),
        (2021, "2021"),
        (2021.0, "2021"),
        ("2021-03", "2021-03"),
        ("2021-Q2", "2021-Q2"),
        ("2021-3-5", "2021-3-5"),
        ("2021-03-05T10:11:12Z", "2021-03-05"),
        ("2021-03-05 10:11:12.5+02:00", "2021-03-05"),
        ("2021/03/05", "2021-03-05"),
        ("2021.03.05", "2021-03-05"),
        ("+2021-03-00T00:00:00Z", "2021-03"),
        ("+2021-00-00T00:00:00Z", "2021"),
        ("20210305", "2021-03-05"),
        (20210305, "2021-03-05"),
        ("202103", "2021-03"),
        ("2024010112", "2024-01-01"),
        (2024010112, "2024-01-01"),
        (2024010112.0, "2024-01-01"),
        ("202401011230", "2024-01-01"),
        ("20240101123059", "2024-01-01"),
        ("1704110400", "2024-01-01"),
        (1704110400.5, "2024-01-01"),
        (Decimal(1704110400), "2024-01-01"),
        ("2021.05", "2021-05"),
        ("2021.5.3", "2021-5-3"),
        (1614902400, "2021-03-05"),
        ("1614902400000", "2021-03-05"),
        ("March 5, 2021", "2021-03-05"),
        ("5 Mar 2021", "2021-03-05"),
        ("Fri, 05 Mar 2021 10:11:12 GMT", "2021-03-05"),
        ("March 2021", "2021-03"),
        ("25/12/2021", "2021-12-25"),
        ("12/25/2021", "2021-12-25"),
        ("03/03/2021", "2021-03-03"),
    ],
)
def test_a_date_becomes_one_that_our_rows_take(value: object, read: str) -> None:
    assert normalize_date(value) == read
    parse_date(read)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, NO_DATE),
        ("", NO_DATE),
        (float("nan"), NO_DATE),
        ("0001-01-01", NO_DATE),
        ("0001-01-01T00:00:00", NO_DATE),
        (date.min, NO_DATE),
        ([], NO_DATE),
        (True, UNKNOWN),
        (["2021", "2022"], UNKNOWN),
        (float("inf"), UNKNOWN),
        (object(), UNKNOWN),
        ("²²²²²²²²²²", UNKNOWN),
        ("soon", UNKNOWN),
        ("2021-13-01", UNKNOWN),
        ("20211301", UNKNOWN),
        ("-44-03-15", UNKNOWN),
        (12345, UNKNOWN),
        ("0000", UNKNOWN),
        (0.5e18, UNKNOWN),
        ("03/04/2021", AMBIGUOUS),
        ("05/13/21", AMBIGUOUS),
        ("2021.5", AMBIGUOUS),
        (2021.5, AMBIGUOUS),
        ("202401311299", UNKNOWN),
    ],
)
def test_what_is_no_date_says_why(value: object, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        normalize_date(value)
    assert str(caught.value) == why
