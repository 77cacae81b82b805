"""Dates are read as spreadsheets write them; no order of day and month is guessed."""

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from fki.core.calendar import parse_date
from fki.data.row_dates import (
    AMBIGUOUS,
    NO_DATE,
    UNKNOWN,
    DayOrder,
    RowDates,
    normalize_date,
)
from fki.data.row_files import Row


def row(folder: Path, *dates: str) -> Row:
    """A row of a file with these dates."""
    file = folder / "stream.jsonl"
    file.write_text("".join(f"{json.dumps({'start': day})}\n" for day in dates), encoding="utf-8")
    return Row(file, 1, {})


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20240105", date(2024, 1, 5)),
        ("2024/01/05", date(2024, 1, 5)),
        ("2024.1.5", date(2024, 1, 5)),
        ("2025-01-02 00:00:00", date(2025, 1, 2)),
        ("2025-01-02T23:59:59.999Z", date(2025, 1, 2)),
        ("2025-01-02 10:00 +02:00", date(2025, 1, 2)),
        ("31.12.2024", date(2024, 12, 31)),
        ("12/31/2024 0:00", date(2024, 12, 31)),
        ("05.05.2024", date(2024, 5, 5)),
    ],
)
def test_a_date_of_a_spreadsheet_is_a_day(text: str, day: date, tmp_path: Path) -> None:
    assert RowDates().parse(row(tmp_path), text) == (day, "day")


@pytest.mark.parametrize(
    ("text", "found"),
    [("2024", "year"), ("2024-Q1", "quarter"), ("2024-01", "month"), ("2024-1-1", "day")],
)
def test_the_forms_of_own_folders_keep_their_precision(
    text: str, found: str, tmp_path: Path
) -> None:
    assert RowDates().parse(row(tmp_path), text) == (date(2024, 1, 1), found)


def test_other_rows_settle_the_order_of_day_and_month(tmp_path: Path) -> None:
    german = row(tmp_path, "03.04.2024", "13.04.2024", "2024-01-05", "soon")
    assert RowDates().parse(german, "03.04.2024")[0] == date(2024, 4, 3)
    american = row(tmp_path, "3/4/2024", "3/14/2024")
    assert RowDates().parse(american, "3/4/2024")[0] == date(2024, 3, 4)


@pytest.mark.parametrize("dates", [(), ("03.04.2024",), ("13.04.2024", "04.13.2024")])
def test_an_open_order_is_an_error(dates: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="may begin with its day or its month"):
        RowDates().parse(row(tmp_path, *dates), "03.04.2024")


@pytest.mark.parametrize(
    "text", ["2024105", "20241301", "2024-02-30", "32.13.2024", "2024-1/5", "x"]
)
def test_no_other_text_is_a_date(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="date"):
        RowDates().parse(row(tmp_path), text)


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
        ("25/12/2021 10:00 PM", "2021-12-25"),
        ("12/25/2021, 9:05:00\u202fAM", "2021-12-25"),
        ("5-Jan-2024", "2024-01-05"),
        ("5-January-2024 0:00", "2024-01-05"),
        ("2021-03-05 10:11:12+02", "2021-03-05"),
        ("2021-03-05 10:11:12 UTC", "2021-03-05"),
        ("2021-03-05T10:11:12+01:00[Europe/Paris]", "2021-03-05"),
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
        ("2021-03-05 10:00 to 2021-04-05", UNKNOWN),
        ("2021-3/5", UNKNOWN),
        ("5-Jan-24", UNKNOWN),
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


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("March 5, 2021", date(2021, 3, 5)),
        ("5-Jan-2024", date(2024, 1, 5)),
        ("1704110400", date(2024, 1, 1)),
        ("2021-03-05T10:11:12+02", date(2021, 3, 5)),
    ],
)
def test_own_rows_take_the_dates_of_imported_tables(text: str, day: date, tmp_path: Path) -> None:
    assert RowDates().parse(row(tmp_path), text) == (day, "day")


@pytest.mark.parametrize("text", ["05/13/21", "2021.5"])
def test_an_ambiguous_date_of_own_rows_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is ambiguous; write 2024-12-31"):
        RowDates().parse(row(tmp_path), text)


def test_a_table_is_scanned_once_and_only_for_an_open_order() -> None:
    scans = []

    def scan() -> list[object]:
        scans.append(1)
        return ["13.04.2021", None, 20210414, "soon", "05.05.2021"]

    order = DayOrder(scan)
    assert normalize_date("14.04.2021", order) == "2021-04-14"
    assert scans == []
    assert [normalize_date("03/04/2021", order) for _ in range(3)] == ["2021-04-03"] * 3
    assert scans == [1]
