"""The rows of JSONL and CSV files, one by one, and what is wrong with a file, in words."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fki.core.errors import DataError

T = TypeVar("T")
ROW_SUFFIXES = (".jsonl", ".csv")
MAX_SHOWN, MAX_WIDTH = 10, 400  # bad rows that an error spells out, and characters of each


class RowProblems:
    """What is wrong with a dataset: how many rows, and the first of them in words."""

    def __init__(self) -> None:
        self.count = 0
        self.shown: list[str] = []

    def append(self, problem: str) -> None:
        """One more."""
        self.count += 1
        if len(self.shown) < MAX_SHOWN:
            self.shown.append(problem)

    def extend(self, other: "RowProblems") -> None:
        """All of the other's, behind these."""
        self.count += other.count
        self.shown = [*self.shown, *other.shown][:MAX_SHOWN]


class Row(NamedTuple):
    """One row of a file, with where it stands."""

    file: Path
    number: int
    values: dict[str, Any]


def parse_rows(file: Path, reader: Callable[[Row], T], problems: RowProblems) -> Iterator[T]:
    """What `reader` makes of each row; its ValueErrors become problems."""
    try:
        for line in read_rows(file, problems):
            try:
                yield reader(line)
            except ValueError as error:
                problems.append(f"{line.file}:{line.number}: {error}")
    except UnicodeDecodeError:
        problems.append(f"{file}:{locate_bad_byte(file)}")
    except (OSError, ValueError, csv.Error) as error:
        problems.append(f"{file} cannot be read: {error}")


def read_rows(file: Path, problems: RowProblems) -> Iterator[Row]:
    """The rows of a JSONL or CSV file; one that cannot be read becomes a problem."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        if file.suffix == ".csv":
            reader = csv.DictReader(text)
            check_unique(reader.fieldnames or ())
            for row in reader:
                if None in row or None in row.values():
                    problems.append(
                        f"{file}:{reader.line_num}: more or fewer cells than the header"
                    )
                else:
                    yield Row(file, reader.line_num, {k: v for k, v in row.items() if v != ""})
            return
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                values = parse_json_row(line)
            except ValueError as error:
                problems.append(f"{file}:{number}: {error}")
                continue
            yield Row(file, number, values)


def parse_json_row(line: str) -> dict[str, Any]:
    """A line of JSONL. Raises ValueError where it is no object, or has a column twice."""
    try:
        row = json.loads(line, object_pairs_hook=_object)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"a row is a JSON object, not {type(row).__name__}")
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_unique(name for name, _ in pairs)
    return dict(pairs)


def check_unique(columns: Iterable[str]) -> None:
    """Raises ValueError where a column is there twice: which of them holds is anyone's guess."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise ValueError(f"the column '{twice[0]}' is there twice")


def locate_bad_byte(file: Path) -> str:
    """The line of the first byte that is not UTF-8 text, and what is wrong with it."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"{number}: this is not UTF-8 text: byte 0x{line[error.start]:02x}"
    return "1: this is not UTF-8 text"  # it was, a moment ago


def raise_for_problems(problems: RowProblems, place: Path) -> None:
    """Raises DataError where there are problems: their number, and the first of them."""
    if not problems.count:
        return
    shown = "\n".join(f"  {p[:MAX_WIDTH]}" for p in problems.shown)
    more = f"\n  ... and {problems.count - MAX_SHOWN} more" if problems.count > MAX_SHOWN else ""
    raise DataError(
        f"{problems.count} bad row{'s' * (problems.count > 1)} in {place}; "
        f"nothing was trained.\n{shown}{more}",
        hint="Correct these rows and run the same command again.",
    )
