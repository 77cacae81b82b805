"""Reads the cells of other people's tables as texts and answers."""

import math
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from fki.data.row_files import Cells

PLAIN_RANGE = (1e-7, 1e21)  # of numbers without an exponent, as in JavaScript
INDEXED = re.compile(r"(.+)\[(.+)\]")  # choices[answer]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SEVERAL, OBJECT, NO_TEXT = "several values", "an object, not a text", "no text"


def get_cell(cells: Cells, path: str) -> Any:
    """The value of a column; None if it is missing.

    `answers.text` is a field within a column. `a|b` has the values of several columns, without the
    empty ones. `choices[answer]` is the element of a list whose number is in another column: from
    0, or a letter from A.
    """
    if path in cells:
        return cells[path]
    if "|" in path:
        found = [get_cell(cells, part) for part in path.split("|")]
        return [value for value in found if value not in (None, "", [])]
    if indexed := INDEXED.fullmatch(path):
        return _get_element(get_cell(cells, indexed[1]), unwrap(get_cell(cells, indexed[2])))
    column, *inner = path.split(".")
    value = cells.get(column)
    for part in inner:
        value = _get_field(value, part)
    return value


def columns_of(path: str) -> list[str]:
    """The columns that a path reads."""
    parts: list[str] = []
    for part in path.split("|"):
        indexed = INDEXED.fullmatch(part)
        parts += indexed.groups() if indexed else [part]
    return parts


def _get_element(values: Any, number: Any) -> Any:
    """The element of a list by its number, from 0, or by a letter; None if there is none."""
    text = str(number).strip()
    place = int(text) if text.isdecimal() else LETTERS.find(text.upper()) if len(text) == 1 else -1
    is_there = isinstance(values, list) and 0 <= place < len(values)
    return values[place] if is_there else None


def _get_field(value: Any, part: str) -> Any:
    """A field of an object, or of each object in a list."""
    if isinstance(value, list):
        return [_get_field(each, part) for each in value]
    return value.get(part) if isinstance(value, dict) else None


def unwrap(value: Any) -> Any:
    """The only element of a list, however deep; any other value as it is."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def read_text(value: Any) -> str:
    """A cell as text; "" if it is empty. Raises ValueError for several values or an object."""
    value = unwrap(value)
    if isinstance(value, list):
        if value:
            raise ValueError(SEVERAL)
        return ""
    match value:
        case None:
            return ""
        case str():
            return value.strip()
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return _format_number(value)
        case datetime():
            return str(value).removesuffix(" 00:00:00")
        case date():
            return value.isoformat()
        case bytes():
            return value.decode().strip()  # text of Parquet files without its type
        case dict():
            raise ValueError(OBJECT)
    raise ValueError(NO_TEXT)


def read_answers(value: Any) -> list[str]:
    """The texts of a cell with a text or a list of texts, also of lists within it, each once.

    Raises ValueError for an object.
    """
    found: dict[str, None] = {}
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, list):
            rest += reversed(part)
        elif text := read_text(part):
            found[text] = None
    return [*found]


def _format_number(value: int | float | Decimal) -> str:
    """A number with all of its digits; "" for NaN and infinity."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return ""
    if isinstance(value, float) and value and not PLAIN_RANGE[0] <= abs(value) < PLAIN_RANGE[1]:
        return repr(value)
    text = format(Decimal(repr(value)) if isinstance(value, float) else value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
