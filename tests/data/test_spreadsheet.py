"""The first sheet of an Excel file becomes the rows that a CSV file of its texts would be."""

import builtins
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from fki.core.errors import DataError
from fki.data.dataset_folder import read_folder
from fki.data.row_files import Row, RowProblems, parse_rows, read_table
from fki.data.spreadsheet import iter_sheet, to_text

HEAD = ("subject", "relation", "object", "start")


def save(file: Path, *rows: Sequence[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook()
    for row in rows:
        book.active.append([*row])
    book.create_sheet("notes").append(["another sheet"])
    book.save(file)
    return file


def strict(file: Path) -> tuple[list[Row], list[str]]:
    problems = RowProblems()
    return [*parse_rows(file, lambda row: row, problems)], problems.shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("  Oslo ", "Oslo"),
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (1e300, "1e+300"),
        (True, "TRUE"),
        (date(2024, 12, 21), "2024-12-21"),
        (datetime(2024, 12, 21), "2024-12-21"),
        (datetime(2024, 12, 21, 8, 30), "2024-12-21 08:30:00"),
        (time(8, 30), "08:30:00"),
    ],
)
def test_a_cell_is_text(value: Any, text: str) -> None:
    assert to_text(value) == text


def test_rows_have_the_numbers_of_the_sheet_and_their_filled_cells(tmp_path: Path) -> None:
    day = datetime(2024, 12, 21)
    file = save(tmp_path / "a.xlsx", HEAD, (), ("A", "head", "Bo", day), ("B", "head", 7, None))
    rows, problems = strict(file)
    assert [(row.number, row.values) for row in rows] == [
        (3, {"subject": "A", "relation": "head", "object": "Bo", "start": "2024-12-21"}),
        (4, {"subject": "B", "relation": "head", "object": "7"}),
    ]
    assert problems == []
    assert [*read_table(file)][1] == {
        "subject": "B",
        "relation": "head",
        "object": "7",
        "start": "",
    }


def test_a_faulty_row_is_named_with_its_number(tmp_path: Path) -> None:
    file = save(tmp_path / "a.xlsx", HEAD, ("A", "x", "#N/A"), ("A", "x", "y", "2024", "more"))
    rows, problems = strict(file)
    assert rows == [] and problems == [
        f"{file}:2: a cell with Excel's error #N/A",
        f"{file}:3: a cell in a column without a name",
    ]
    assert next(read_table(file)) == {"subject": "A", "relation": "x", "object": "", "start": ""}
    _, problems = strict(save(tmp_path / "b.xlsx", ("a", "a"), ("x", "y")))
    assert problems == [f"{tmp_path / 'b.xlsx'} cannot be read: the column 'a' occurs twice"]


@pytest.mark.parametrize("content", [b"", b"subject,relation\n", b"PK\x03\x04 not a zip"])
def test_a_file_that_is_no_workbook_is_an_error_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xlsx").write_bytes(content)
    rows, problems = strict(tmp_path / "a.xlsx")
    assert rows == [] and "it is no Excel workbook" in problems[0]
    with pytest.raises(DataError, match="it is no Excel workbook"):
        next(read_table(tmp_path / "a.xlsx"))


def test_a_folder_may_have_a_workbook(tmp_path: Path) -> None:
    save(tmp_path / "stream.xlsx", HEAD, ("A", "head", "Bo", datetime(2024, 12, 21)))
    save(tmp_path / "probes" / "keep.xlsx", ("prompt", "target"), ("The sky is ___.", "blue"))
    stream = read_folder(tmp_path, "month", "sentinel", name="firm")
    [period] = stream.periods
    assert period.name == "2024-12" and [f.objects for f in period.facts] == [("Bo",)]
    assert {"keep", "new"} <= {probe_set.name for probe_set in stream.probe_sets}
    (tmp_path / "stream.csv").write_text("subject\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"stream\.csv.* stream\.xlsx|stream\.xlsx"):
        read_folder(tmp_path, "month", "sentinel", name="firm")


def test_without_openpyxl_the_error_states_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *more: Any) -> Any:
        if name.startswith("openpyxl"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match="requires the package openpyxl") as caught:
        next(iter_sheet(tmp_path / "a.xlsx"))
    assert "openpyxl>=3.1" in str(caught.value.hint)
