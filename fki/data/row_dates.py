"""Dates of a dataset folder's rows, as people and spreadsheets write them.

Beside the forms of `parse_date`: 20240105, 2024/01/05, a date with a time of day, and day and month
in either order (05.01.2024, 1/5/2024), if another row of the file settles the order.
"""

import re
from datetime import date
from pathlib import Path

from fki.core.calendar import parse_date
from fki.data.row_files import Row, iter_values

DATE_COLUMNS = ("start", "end", "date", "period")
TIME = r"(?:[T ]\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[AP]M|[+-]\d\d:?\d\d))?)?"
YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){TIME}")
COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)")
YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){TIME}")


class RowDates:
    """Parses the dates of rows; a file is scanned for the order of day and month when needed."""

    def __init__(self) -> None:
        self._is_day_first: dict[Path, bool | None] = {}

    def parse(self, row: Row, text: str) -> tuple[date, str]:
        """The first day and the precision of a date in a row, as `parse_date`.

        Raises ValueError if it is no date, or if the order of its day and month is open.
        """
        text = text.strip()
        if found := COMPACT.fullmatch(text):
            return parse_date("-".join(found.groups()))
        if found := YEAR_FIRST.fullmatch(text):
            return parse_date(f"{found[1]}-{found[3]}-{found[4]}")
        if found := YEAR_LAST.fullmatch(text):
            first, second, year = found[1], found[3], found[4]
            is_day_first = _order_of(text)
            if is_day_first is None and int(first) != int(second) and int(first) <= 12:
                is_day_first = self._order_of_file(row.file)
                if is_day_first is None:
                    raise ValueError(
                        f"'{text}' may begin with its day or its month; write 2024-12-31"
                    )
            day, month = (first, second) if is_day_first else (second, first)
            return parse_date(f"{year}-{month}-{day}")
        return parse_date(text)

    def _order_of_file(self, file: Path) -> bool | None:
        """The order on which all rows agree that settle it, else None."""
        if file not in self._is_day_first:
            orders = {_order_of(str(value)) for value in iter_values(file, DATE_COLUMNS)} - {None}
            self._is_day_first[file] = orders.pop() if len(orders) == 1 else None
        return self._is_day_first[file]


def _order_of(text: str) -> bool | None:
    """Does a date such as 31.12.2024 begin with its day? None if it does not settle this."""
    found = YEAR_LAST.fullmatch(text.strip())
    first, second = (int(found[1]), int(found[3])) if found else (0, 0)
    return True if first > 12 >= second else False if second > 12 >= first else None
