"""Templates of dates and ages: {{start date|2020|5|3}}, {{age|1970|5|3|2000|1|1}}.

English Wikipedia shows "May 3, 2020", or "3 May 2020" with df=yes. An age at the day of reading
cannot be computed.
"""

from collections.abc import Sequence
from datetime import date

from fki.sources.wikipedia.parser_functions import NotComputable

MONTHS = (  # `calendar` has those of the locale
    *("", "January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
Arguments = list[str]


def render_date(arguments: Arguments, named: dict[str, str]) -> str:
    """{{start date|2020|5|3}} as "May 3, 2020"; a year, or a month of it, is shown as such."""
    numbers = [argument for argument in arguments if argument]
    if len(numbers) == 1 and not numbers[0].isdigit():
        return numbers[0]  # {{birth-date|7 December 1941}}
    if not 1 <= len(numbers) <= 3 or not all(number.isdigit() for number in numbers):
        raise NotComputable
    year, *rest = map(int, numbers)
    if not rest:
        return str(year)
    if not 1 <= rest[0] <= 12:
        raise NotComputable
    month = MONTHS[rest[0]]
    if len(rest) == 1:
        return f"{month} {year}"
    is_day_first = named.get("df", "").casefold() in ("y", "yes", "true", "1")
    return f"{rest[1]} {month} {year}" if is_day_first else f"{month} {rest[1]}, {year}"


def render_age(arguments: Arguments, _: dict[str, str]) -> str:
    """{{age|1970|5|3|2000|1|1}} as "29"."""
    return str(_count_years(_to_date(arguments[:3]), _to_date(arguments[3:6])))


def render_death(arguments: Arguments, named: dict[str, str]) -> str:
    """{{death date and age|2020|5|3|1970|6|1}} as "May 3, 2020 (aged 49)"."""
    age = _count_years(_to_date(arguments[3:6]), _to_date(arguments[:3]))
    return f"{render_date(arguments[:3], named)} (aged {age})"


def _to_date(numbers: Sequence[str]) -> date:
    try:
        year, month, day = map(int, numbers)
        return date(year, month, day)
    except ValueError:
        raise NotComputable from None


def _count_years(birth: date, day: date) -> int:
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))
