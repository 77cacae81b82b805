"""Normalizes dates of other datasets to 2021, 2021-03 or 2021-03-05."""

import re
from datetime import date, datetime, timezone

from fki.core.calendar import parse_date

NO_DATE, UNKNOWN = "no date", "an unreadable date"
AMBIGUOUS = "an ambiguous date, such as 03/04/2021"
ISO = re.compile(r"\+?(\d{4}(?:-?Q[1-4])?(?:-\d{1,2}){0,2})(?:[T ]\d{1,2}:.*)?")
WORDS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%B %Y", "%b %Y", "%a, %d %b %Y",
         "%a %b %d %Y")  # fmt: skip
CLOCK = re.compile(r"[ ,]+\d{1,2}:\d\d.*$")
SECONDS, MILLISECONDS = 10, 13  # digits of a current time since 1970


def normalize_date(value: object) -> str:
    """Normalize a date.

    Accepts datetimes, ISO 8601, Wikidata's 00 for unknown parts, years, 20210305, seconds or
    milliseconds since 1970, and English month names. Raises ValueError with the reason otherwise.
    """
    if isinstance(value, datetime | date):
        return value.strftime("%Y-%m-%d").zfill(10)
    if isinstance(value, float):
        value = str(int(value)) if value == value and abs(value) < 1e15 else ""
    text = str(value).strip() if isinstance(value, str | int) and value is not True else ""
    if not text:
        raise ValueError(NO_DATE)
    found = _read_text(text)
    try:
        parse_date(found)
    except ValueError:
        raise ValueError(UNKNOWN) from None
    return found


def _read_text(text: str) -> str:
    if text.isdigit() and len(text) > 4:
        return _read_digits(text)
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
