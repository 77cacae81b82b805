"""Dates of rows, as people, spreadsheets and other datasets write them.

One parser for the rows of dataset folders and of imported tables. Day and month in either order
(05.01.2024, 1/5/2024) are a date if one of them is greater than 12, if they are equal, or if the
other rows of the table settle the order.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, timezone
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from fki.core.calendar import parse_date
from fki.data.row_files import Row, iter_values

DATE_COLUMNS = ("start", "end", "date", "period")
NO_DATE, UNKNOWN = "no date", "an unreadable date"
AMBIGUOUS = "an ambiguous date, such as 03/04/2021"
TIME = (  # 10:11, 10:11:12.5Z, 10:11 PM, 10:11:12+02, 10:11:12 GMT, 10:11+01:00[Europe/Paris]
    r"(?:(?:T|,? )\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
    r"(?: ?(?:[A-Z]{1,5}|[+-]\d\d(?::?\d\d)?))?(?:\[[\w/+-]+\])?)?"
)
ISO = re.compile(rf"\+?(\d{{4}}(?:-?Q[1-4])?(?:-\d{{1,2}}){{0,2}}){TIME}")
YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})(?:\2(\d{{1,2}}){TIME})?")
YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){TIME}")
SHORT_YEAR = re.compile(rf"\d{{1,2}}([-/.])\d{{1,2}}\1\d\d{TIME}")
WORDS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%B %Y", "%b %Y", "%a, %d %b %Y",
         "%a %b %d %Y")  # fmt: skip
CLOCK = re.compile(r"[ ,]+\d{1,2}:\d\d.*$")
WORD_HYPHEN = re.compile(r"(?<=\d)-(?=[A-Za-z])|(?<=[A-Za-z])-(?=\d)")  # Excel's 5-Jan-2024
SECONDS, MILLISECONDS = 10, 13  # digits of a current time since 1970
HOUR_STAMP = re.compile(  # 2024010112, and with minutes and seconds
    r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])(?:[0-5]\d){0,2}"
)
DECIMAL_YEAR = re.compile(r"\d{4}\.\d")  # the middle of a year, or its fifth month


class DayOrder:
    """The order of day and month in a table, whose dates are scanned when it is first needed."""

    def __init__(self, values: Callable[[], Iterable[object]] = tuple) -> None:
        """`values` begins to iterate over the dates of the table's rows."""
        self._values = values

    @cached_property
    def is_day_first(self) -> bool | None:
        """The order on which all dates agree that settle it, else None."""
        orders = {_order_of(value) for value in self._values() if isinstance(value, str)} - {None}
        return orders.pop() if len(orders) == 1 else None


class RowDates:
    """Parses the dates of a dataset folder's rows; each file has its order of day and month."""

    def __init__(self) -> None:
        self._orders: dict[Path, DayOrder] = {}

    def parse(self, row: Row, text: str) -> tuple[date, str]:
        """The first day and the precision of a date in a row, as `parse_date`.

        Raises ValueError if it is no date, or if the order of its day and month is open.
        """
        text = text.strip()
        try:
            return parse_date(text)
        except ValueError as error:
            no_date = error
        order = self._orders.setdefault(
            row.file, DayOrder(lambda: iter_values(row.file, DATE_COLUMNS))
        )
        try:
            return parse_date(normalize_date(text, order))
        except ValueError as error:
            if str(error) != AMBIGUOUS:
                raise no_date from None
        is_open = YEAR_LAST.fullmatch(text)
        fault = "may begin with its day or its month" if is_open else "is ambiguous"
        raise ValueError(f"'{text}' {fault}; write 2024-12-31")


def normalize_date(value: object, order: DayOrder | None = None) -> str:
    """Normalize a date to 2021, 2021-Q2, 2021-03 or 2021-03-05.

    Accepts datetimes, ISO 8601, Wikidata's 00 for unknown parts, years, 20210305, 2021030514,
    seconds or milliseconds since 1970, English month names, and day and month in the order of the
    table, by default in none. The first day of the calendar stands for no date. Raises ValueError
    with the reason otherwise.
    """
    if isinstance(value, datetime | date):
        found = value.strftime("%Y-%m-%d").zfill(10)
    elif text := _spell(value):
        found = _read_text(text, order or DayOrder())
    else:
        raise ValueError(NO_DATE)
    try:
        first, _ = parse_date(found)
    except ValueError:
        raise ValueError(UNKNOWN) from None
    if first == date.min:
        raise ValueError(NO_DATE)
    return found


def _spell(value: object) -> str:
    """A cell as text; "" if it is empty. Raises ValueError for what cannot be a date."""
    if value is None or value != value or value == []:
        return ""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        if not 0 <= value < 1e15:
            raise ValueError(UNKNOWN)
        if value < 10 ** (SECONDS - 1) and not value.is_integer():
            raise ValueError(AMBIGUOUS)
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(UNKNOWN)


def _read_text(text: str, order: DayOrder) -> str:
    if text.isascii() and text.isdigit() and len(text) > 4:
        return _read_digits(text)
    if DECIMAL_YEAR.fullmatch(text) or SHORT_YEAR.fullmatch(text):
        raise ValueError(AMBIGUOUS)
    if found := YEAR_FIRST.fullmatch(text):
        text = "-".join(filter(None, found.group(1, 3, 4)))
    if iso := ISO.fullmatch(text):
        return re.sub(r"(-0{1,2})+$", "", iso[1])
    if YEAR_LAST.fullmatch(text):
        return _read_day_month(text, order)
    words = WORD_HYPHEN.sub(" ", CLOCK.sub("", text))
    for form in WORDS:
        try:
            day = datetime.strptime(words, form)
        except ValueError:
            continue
        return day.strftime("%Y-%m-%d" if "%d" in form else "%Y-%m")
    raise ValueError(UNKNOWN)


def _read_digits(text: str) -> str:
    if len(text) in (6, 8):
        return "-".join(part for part in (text[:4], text[4:6], text[6:]) if part)
    if HOUR_STAMP.fullmatch(text):  # as seconds, 19... and 20... are years after 2030
        return f"{text[:4]}-{text[4:6]}-{text[6:8]}"
    if len(text) in (SECONDS, MILLISECONDS):
        seconds = int(text) / (1000 if len(text) == MILLISECONDS else 1)
        return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()
    raise ValueError(UNKNOWN)


def _read_day_month(text: str, order: DayOrder) -> str:
    """A date such as 31.12.2024; its own numbers settle the order, or the table's other dates."""
    first, second, year = _split_day_month(text)
    is_day_first = _order_of(text)
    if is_day_first is None and first != second and first <= 12:
        is_day_first = order.is_day_first
        if is_day_first is None:
            raise ValueError(AMBIGUOUS)
    day, month = (first, second) if is_day_first else (second, first)
    return f"{year:04}-{month:02}-{day:02}"


def _order_of(text: str) -> bool | None:
    """Does a date such as 31.12.2024 begin with its day? None if it does not settle this."""
    first, second, _ = _split_day_month(text)
    return True if first > 12 >= second else False if second > 12 >= first else None


def _split_day_month(text: str) -> tuple[int, int, int]:
    """The three numbers of a date such as 31.12.2024; zeros for any other text."""
    found = YEAR_LAST.fullmatch(" ".join(text.split()))
    return (int(found[1]), int(found[3]), int(found[4])) if found else (0, 0, 0)
