"""Reads the first sheet of an Excel workbook (.xlsx) as rows of texts, by openpyxl."""

import math
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from fki.core.errors import DataError

SUFFIX = ".xlsx"
ERRORS = frozenset(
    ("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#SPILL!", "#CALC!")
)
MAX_WHOLE = 2**53  # up to which Excel's numbers are exact


def iter_sheet(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the texts of each row that is not empty, without empty cells at its end.

    A cell with a formula has its last result. A date without a time is like 2024-12-21, a whole
    number has no decimal point.

    Raises:
        DataError: openpyxl is missing.
        ValueError: the file is no workbook, or has no sheet with cells.
    """
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise DataError(
            f"Reading {file} requires the package openpyxl.",
            hint='Run: pip install "openpyxl>=3.1"   or save the sheet as CSV',
        ) from None
    try:
        book = load_workbook(file, read_only=True, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, OSError, ValueError) as error:
        raise ValueError(f"it is no Excel workbook ({error})") from None
    try:
        if not book.worksheets:
            raise ValueError("it has no sheet with cells")
        for number, cells in enumerate(book.worksheets[0].iter_rows(values_only=True), 1):
            texts = [to_text(cell) for cell in cells]
            while texts and not texts[-1]:
                texts.pop()
            if texts:
                yield number, texts
    finally:
        book.close()


def to_text(value: Any) -> str:
    """A cell as text; "" if it is empty."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case float() if math.isfinite(value) and value.is_integer() and abs(value) < MAX_WHOLE:
            return str(int(value))
        case _:
            return str(value).strip()


def find_error(texts: list[str]) -> str | None:
    """The first cell that has an error of Excel, such as #REF!."""
    return next((text for text in texts if text in ERRORS), None)
