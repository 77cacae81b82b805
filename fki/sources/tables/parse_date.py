"""Normalizes dates of other datasets to 2021, 2021-03 or 2021-03-05."""

import re
from datetime import date, datetime, timezone
from decimal import Decimal

from fki.core.calendar import parse_date

NO_DATE, UNKNOWN = "no date", "an unreadable date"
AMBIGUOUS = "an ambiguous date, such as 03/04/2021"
ISO = re.compile(r"\+?(\d{4}(?:-?Q[1-4])?(?:-\d{1,2}){0,2})(?:[T ]\d{1,2}:.*)?")
WORDS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%B %Y", "%b %Y", "%a, %d %b %Y",
         "%a %b %d %Y")  # fmt: skip
CLOCK = re.compile(r"[ ,]+\d{1,2}:\d\d.*$")
SECONDS, MILLISECONDS = 10, 13  # digits of a current time since 1970
HOUR_STAMP = re.compile(  # 2024010112, and with minutes and seconds
    r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])(?:[0-5]\d){0,2}"
)
DECIMAL_YEAR = re.compile(r"\d{4}\.\d")  # the middle of a year, or its fifth month


def normalize_date(value: object) -> str:
    """Normalize a date.

    Accepts datetimes, ISO 8601, Wikidata's 00 for unknown parts, years, 20210305, 2021030514,
    seconds or milliseconds since 1970, and English month names. The first day of the calendar
    stands for no date. Raises ValueError with the reason otherwise.
    """
    if isinstance(value, datetime | date):
        found = value.strftime("%Y-%m-%d").zfill(10)
    elif text := _spell(value):
        found = _read_text(text)
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
        return value.strip()
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


def _read_text(text: str) -> str:
    if text.isascii() and text.isdigit() and len(text) > 4:
        return _read_digits(text)
    if DECIMAL_YEAR.fullmatch(text):
        raise ValueError(AMBIGUOUS)
    plain = re.sub(r"(?<=\d)[/.](?=\d)", "-", text) if re.match(r"\d{4}[/.]\d", text) else text
    if iso := ISO.fullmatch(plain):
        return re.sub(r"(-0{1,2})+$", "", iso[1])
    if re.match(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b", text):
        return _read_day_month(text)
    words = re.sub(r"\s+", " ", CLOCK.sub("", text))
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


def _read_day_month(text: str) -> str:
    """Day and month in either order, if one of them is greater than 12."""
    first, second, year = re.findall(r"\d+", text)[:3]
    if len(year) != 4:
        raise ValueError(AMBIGUOUS)
    if first == second:
        return f"{year}-{int(first):02}-{int(second):02}"
    day, month = (first, second) if int(first) > 12 else (second, first)
    if int(day) <= 12:
        raise ValueError(AMBIGUOUS)
    return f"{year}-{int(month):02}-{int(day):02}"
