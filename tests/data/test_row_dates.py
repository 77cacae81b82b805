"""Dates are read as spreadsheets write them; no order of day and month is guessed."""

import json
from datetime import date
from pathlib import Path

import pytest

from fki.data.row_dates import RowDates
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
