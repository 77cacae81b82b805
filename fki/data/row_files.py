"""Reads rows: the JSONL and CSV files of a dataset folder, and tables of Parquet, Arrow, CSV, JSON.

`parse_rows` is strict: it checks every row of a dataset folder's file and collects the faults with
their line numbers. `read_table` reads the files of others, in constant memory, and leaves each cell
as its authors wrote it. The text formats are parsed here: the readers of `datasets` infer types, so
that the text 2021-01-05 becomes a timestamp and 007 becomes 7, and they write into the user's
cache. Parquet and Arrow files carry types; `datasets.Features` reads them and names class labels.
"""

import csv
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from fki.core.control_characters import escape_controls
from fki.core.errors import DataError

T = TypeVar("T")
Cells = dict[str, Any]
ROW_SUFFIXES = (".jsonl", ".csv")  # of a dataset folder
MAX_SHOWN, MAX_WIDTH = 10, 400  # faulty rows that an error shows, and characters of each
BATCH_ROWS = 1000  # of a Parquet or Arrow file
HEAD_ROWS = 100  # rows whose columns are the columns of a table
BROKEN_TABLE = (OSError, ValueError, KeyError, EOFError, RecursionError, csv.Error)


class Row(NamedTuple):
    """One row of a file."""

    file: Path
    number: int  # of its line, from 1
    values: Cells


class RowProblems:
    """The faulty rows of a dataset: their number, and the first of them as text."""

    def __init__(self) -> None:
        self.count = 0
        self.shown: list[str] = []

    def append(self, problem: str) -> None:
        """Add a fault."""
        self.count += 1
        if len(self.shown) < MAX_SHOWN:
            self.shown.append(escape_controls(problem))

    def extend(self, other: "RowProblems") -> None:
        """Add all faults of another file."""
        self.count += other.count
        self.shown = [*self.shown, *other.shown][:MAX_SHOWN]


class TableError(DataError):
    """A table cannot be read; `line` is the number of the faulty line or row, None if unknown."""

    def __init__(self, name: str, why: str, line: int | None = None, hint: str = "") -> None:
        where = name if line is None else f"{name}:{line}"
        super().__init__(f"{where}: {why}.", hint=hint or None)
        self.line = line


def parse_rows(file: Path, reader: Callable[[Row], T], problems: RowProblems) -> Iterator[T]:
    """The results of `reader` for each row of a JSONL or CSV file; its ValueErrors are problems."""
    try:
        for row in _read_strictly(file, problems):
            try:
                yield reader(row)
            except ValueError as error:
                problems.append(f"{row.file}:{row.number}: {error}")
    except UnicodeDecodeError:
        line, why = _locate_bad_byte(file, file.name)
        problems.append(f"{file}:{line}: {why}")
    except (OSError, ValueError, csv.Error) as error:
        problems.append(f"{file} cannot be read: {error}")


def raise_for_problems(problems: RowProblems, place: Path) -> None:
    """Raises DataError if there are problems: their number, and the first of them."""
    if not problems.count:
        return
    shown = "\n".join(f"  {p[:MAX_WIDTH]}" for p in problems.shown)
    more = f"\n  ... and {problems.count - MAX_SHOWN} more" if problems.count > MAX_SHOWN else ""
    raise DataError(
        f"{problems.count} bad row{'s' * (problems.count > 1)} in {place}; "
        f"nothing was trained.\n{shown}{more}",
        hint="Correct these rows and run the same command again.",
    )


def _read_strictly(file: Path, problems: RowProblems) -> Iterator[Row]:
    """The rows of a JSONL or CSV file; an unreadable row is a problem."""
    with _open_text(file, "") as text:
        if file.suffix == ".csv":
            yield from _read_csv_strictly(file, text, problems)
            return
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                yield Row(file, number, parse_json_row(line))
            except ValueError as error:
                problems.append(f"{file}:{number}: {error}")


def _read_csv_strictly(file: Path, text: IO[str], problems: RowProblems) -> Iterator[Row]:
    """The rows that have a cell with text; cells without text are left out."""
    first = text.readline()
    reader = csv.reader(chain([first], text), delimiter=_find_delimiter(first))
    header = _trim_cells(next(reader, []))
    check_unique(header)
    for line in reader:
        cells = _trim_cells(line)
        if not cells:
            continue
        if len(cells) > len(header) or len(line) < len(header):
            problems.append(f"{file}:{reader.line_num}: more or fewer cells than the header")
            continue
        named = zip(header, cells, strict=False)  # the last cells may be empty
        yield Row(file, reader.line_num, {name: cell for name, cell in named if cell.strip()})


def _trim_cells(cells: list[str]) -> list[str]:
    """The cells without the empty ones at the end."""
    filled = [n for n, cell in enumerate(cells, 1) if cell.strip()]
    return cells[: max(filled, default=0)]


def _find_delimiter(header: str) -> str:
    """The character that separates the columns of a CSV file: a comma, unless the header has none.

    Raises ValueError if a semicolon and a tab both separate columns, or something else does.
    """
    if len(next(csv.reader([header]), [])) > 1:
        return ","
    others = [d for d in ";\t" if len(next(csv.reader([header], delimiter=d), [])) > 1]
    if len(others) > 1:
        raise ValueError("its header has semicolons and tabs; separate its columns by commas")
    if not others and "|" in header:
        raise ValueError("its header has no commas but '|'; separate its columns by commas")
    return others[0] if others else ","


def iter_values(file: Path, columns: Iterable[str]) -> Iterator[Any]:
    """The values of these columns, row by row; rows that cannot be read are left out."""
    names = [*columns]
    for row in parse_rows(file, lambda row: row, RowProblems()):
        yield from (row.values[name] for name in names if name in row.values)


def parse_json_row(line: str) -> Cells:
    """A line of JSONL. Raises ValueError if it is not an object, or has a duplicate column."""
    try:
        row = json.loads(line, object_pairs_hook=_build_object)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"a row is a JSON object, not {type(row).__name__}")
    return row


def _build_object(pairs: list[tuple[str, Any]]) -> Cells:
    check_unique(name for name, _ in pairs)
    return dict(pairs)


def check_unique(columns: Iterable[str]) -> None:
    """Raises ValueError for a duplicate column."""
    duplicates = [name for name, count in Counter(columns).items() if count > 1]
    if duplicates:
        raise ValueError(f"the column '{duplicates[0]}' occurs twice")


def read_table(file: Path, name: str = "", require: Iterable[str] = ()) -> Iterator[Cells]:
    """The rows of a table, in constant memory; only a JSON list is read whole.

    Args:
        name: the table's name in errors, by default its path; its suffix selects the format.
        require: columns that the table, or the first object of a JSON file, must have.
    Raises:
        TableError: the file is unreadable, a row is not an object, or a column is missing.
    """
    name = name or str(file)
    suffix = name.removesuffix(".gz").rpartition(".")[2].lower()
    readers = {"parquet": _read_parquet, "arrow": _read_arrow, "csv": _read_csv, "tsv": _read_csv}
    try:
        yield from readers.get(suffix, _read_json)(file, name, [*require])
    except UnicodeDecodeError:
        line, why = _locate_bad_byte(file, name)
        raise TableError(name, why, line) from None
    except BROKEN_TABLE as error:
        raise TableError(name, f"cannot be read: {error}") from None


def read_columns(file: Path, name: str = "") -> list[str]:
    """The columns of a table: those of its first rows, because the rows of JSON may differ."""
    head = islice(read_table(file, name), HEAD_ROWS)
    return [*dict.fromkeys(column for row in head for column in row)]


def read_json_object(file: Path) -> Cells:
    """A JSON file that contains one object. Raises TableError for anything else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(str(file), f"cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise TableError(str(file), "must contain one JSON object")
    return value


def _read_parquet(file: Path, name: str, require: list[str]) -> Iterator[Cells]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(file, memory_map=True) as table:
        _check_columns(name, require, table.schema_arrow.names)
        decode = _make_decoder(table.schema_arrow)
        for batch in table.iter_batches(batch_size=BATCH_ROWS):
            yield from map(decode, batch.to_pylist())


def _read_arrow(file: Path, name: str, require: list[str]) -> Iterator[Cells]:
    """An Arrow stream, as `datasets.save_to_disk` writes it."""
    import pyarrow

    with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as reader:
        _check_columns(name, require, reader.schema.names)
        decode = _make_decoder(reader.schema)
        for batch in reader:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield from map(decode, batch.slice(start, BATCH_ROWS).to_pylist())


def _make_decoder(schema: Any) -> Callable[[Cells], Cells]:
    """A function that replaces class numbers by the class names in the schema's metadata."""
    if b"huggingface" not in (schema.metadata or {}):
        return lambda row: row
    from datasets import ClassLabel, Features

    features = Features.from_arrow_schema(schema)
    labels = {name: kind for name, kind in features.items() if isinstance(kind, ClassLabel)}

    def decode(row: Cells) -> Cells:
        for name, label in labels.items():
            number = row.get(name)
            is_class = isinstance(number, int) and number >= 0  # -1: no class
            row[name] = label.int2str(number) if is_class else None
        return row

    return decode


def _read_csv(file: Path, name: str, require: list[str]) -> Iterator[Cells]:
    is_tsv = name.lower().removesuffix(".gz").endswith(".tsv")
    with _open_text(file, name) as text, _long_fields():
        reader = csv.DictReader(text, delimiter="\t" if is_tsv else ",")
        _check_columns(name, require, reader.fieldnames or ())
        for row in reader:
            yield {column: v for column, v in row.items() if isinstance(column, str)}


@contextmanager
def _long_fields() -> Iterator[None]:
    """Allow CSV cells of any length; the limit is one for the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_json(file: Path, name: str, require: list[str]) -> Iterator[Cells]:
    """JSON lines, or one list of objects."""
    with _open_text(file, name) as text:
        lines = ((number, line) for number, line in enumerate(text, 1) if line.strip())
        first = next(lines, None)
        if first is None:
            return
        rows: Iterable[tuple[int, Any]]
        if first[1].lstrip().startswith("["):
            rows = enumerate(json.loads(first[1] + text.read()), 1)
        else:
            rows = _parse_lines(name, chain([first], lines))
        for number, row in rows:
            if not isinstance(row, dict):
                raise TableError(name, f"a row is a JSON object, not {type(row).__name__}", number)
            if require:
                _check_columns(name, require, row)
                require = []
            yield row


def _parse_lines(name: str, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Any]]:
    for number, line in lines:
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TableError(name, f"not JSON: {error}", number) from None


def _check_columns(name: str, require: Iterable[str], columns: Iterable[str]) -> None:
    present = [*columns]
    if missing := [column for column in require if column not in present]:
        raise TableError(
            name,
            f"column '{missing[0]}' not found; columns: {', '.join(present) or 'none'}",
            hint="Use the file as its authors publish it.",
        )


def _locate_bad_byte(file: Path, name: str) -> tuple[int, str]:
    """The number of the line with the first byte that is not UTF-8, and the fault."""
    with _open_bytes(file, name) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return number, f"this is not UTF-8 text: byte 0x{line[error.start]:02x}"
    return 1, "this is not UTF-8 text"  # the file has changed meanwhile


def _open_text(file: Path, name: str) -> IO[str]:
    if name.lower().endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _open_bytes(file: Path, name: str) -> Any:
    return gzip.open(file) if name.lower().endswith(".gz") else file.open("rb")
