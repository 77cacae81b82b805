"""Reads rows: the JSONL, CSV and Excel files of a dataset folder, and tables of others.

`parse_rows` is strict: it checks every row of a dataset folder's file and collects the faults with
their line numbers. `read_table` reads the files of others, in constant memory, and leaves each cell
as its authors wrote it. The text formats are parsed here: the readers of `datasets` infer types, so
that the text 2021-01-05 becomes a timestamp and 007 becomes 7, and they write into the user's
cache. Parquet and Arrow files carry types; `datasets.Features` reads them and names class labels.
"""

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from fki.core.control_characters import escape_controls
from fki.core.decompress import (
    COMPRESSED_SUFFIXES,
    MAGIC_SIZE,
    identify_compression,
    open_stream,
    read_errors,
)
from fki.core.errors import DataError
from fki.core.formatting import format_command
from fki.core.git_lfs import refuse_pointer
from fki.data import spreadsheet

T = TypeVar("T")
UNCLOSED = "a quotation mark is not closed, so the rest of the file is one cell"
AS_UTF8 = "; save the file as UTF-8 (in Excel: CSV UTF-8)"
ROW_COLUMNS = frozenset(("subject", "prompt", "text", "input"))  # a row has one of them
UNREADABLE = object()  # a cell whose value Python cannot hold
Cells = dict[str, Any]
ROW_SUFFIXES = (".jsonl", ".csv", spreadsheet.SUFFIX)  # of a dataset folder
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
    """The faulty rows of a dataset: their number, and the first kinds, each with its first row.

    The rows of a file that have the same fault are a kind.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kinds: dict[tuple[str, str], list[int]] = {}  # file and fault: first row, rows

    def add(self, file: Path, number: int, fault: str) -> None:
        """Add a faulty row; its number is 0 where the whole file is faulty."""
        self.count += 1
        kind = str(file), fault
        if kind in self._kinds:
            self._kinds[kind][1] += 1
        elif len(self._kinds) < MAX_SHOWN:
            self._kinds[kind] = [number, 1]

    def extend(self, other: "RowProblems") -> None:
        """Add all faults of another file."""
        self.count += other.count
        kinds = {**self._kinds, **other._kinds}
        self._kinds = dict(islice(kinds.items(), MAX_SHOWN))

    @property
    def hidden(self) -> int:
        """The faulty rows of further kinds."""
        return self.count - sum(rows for _, rows in self._kinds.values())

    @property
    def shown(self) -> list[str]:
        """A line for each kind."""
        return [
            escape_controls(
                f"{file}{f':{number}:' if number else ''} {fault}"[:MAX_WIDTH]
                + (f" ({rows:,} rows)" if rows > 1 else "")
            )
            for (file, fault), (number, rows) in self._kinds.items()
        ]


class TableError(DataError):
    """A table cannot be read; `line` is the number of the faulty line or row, None if unknown."""

    def __init__(self, name: str, why: str, line: int | None = None, hint: str = "") -> None:
        where = name if line is None else f"{name}:{line}"
        super().__init__(f"{where}: {why}.", hint=hint or None)
        self.line = line


def parse_rows(file: Path, reader: Callable[[Row], T], problems: RowProblems) -> Iterator[T]:
    """The results of `reader` for each row of a JSONL, CSV or Excel file.

    Its ValueErrors are problems.
    """
    try:
        for row in _read_strictly(file, problems):
            try:
                yield reader(row)
            except ValueError as error:
                problems.add(row.file, row.number, str(error))
    except UnicodeDecodeError:
        line, why = _locate_bad_byte(file)
        problems.add(file, line, why)
    except (OSError, ValueError, csv.Error) as error:
        problems.add(file, 0, f"cannot be read: {error}")


def raise_for_problems(problems: RowProblems, place: Path) -> None:
    """Raises DataError if there are problems: their number, and the first of them."""
    if not problems.count:
        return
    shown = "\n".join(f"  {line}" for line in problems.shown)
    more = f"\n  ... and {problems.hidden:,} more" if problems.hidden else ""
    raise DataError(
        f"{problems.count} bad row{'s' * (problems.count > 1)} in {place}; "
        f"nothing was trained.\n{shown}{more}",
        hint="Correct these rows and run the same command again.",
    )


def _read_strictly(file: Path, problems: RowProblems) -> Iterator[Row]:
    """The rows of a JSONL, CSV or Excel file; an unreadable row is a problem."""
    refuse_pointer(file)
    if file.suffix == spreadsheet.SUFFIX:
        yield from _read_sheet_strictly(file, problems)
        return
    with file.open(encoding="utf-8-sig", newline="") as text:
        if file.suffix == ".csv":
            yield from _read_csv_strictly(file, text, problems)
            return
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                yield Row(file, number, parse_json_row(line))
            except ValueError as error:
                problems.add(file, number, str(error))


def _read_csv_strictly(file: Path, text: IO[str], problems: RowProblems) -> Iterator[Row]:
    """The rows that have a cell with text; cells without text are left out."""
    first = text.readline()
    lines, delimiter = _RowLines(chain([first], text)), _find_delimiter(first)
    reader = csv.reader(lines, delimiter=delimiter)
    header = _trim_cells(next(reader, []))
    _check_header(file, header)
    lines.begin_row()
    for line in reader:
        lines.begin_row()
        cells = _trim_cells(line)
        if not cells:
            continue
        if len(cells) > len(header) or len(line) < len(header):
            problems.add(file, reader.line_num, "more or fewer cells than the header")
            continue
        named = zip(header, cells, strict=False)  # the last cells may be empty
        yield Row(file, reader.line_num, {name: cell for name, cell in named if cell.strip()})
    if lines.ends_in_quotes(delimiter):
        problems.add(file, reader.line_num - len(lines.last) + 1, UNCLOSED)


def _read_sheet_strictly(file: Path, problems: RowProblems) -> Iterator[Row]:
    """The rows of an Excel file that have a cell with text; empty cells are left out."""
    rows = spreadsheet.iter_sheet(file)
    _, header = next(rows, (0, []))
    _check_header(file, header)
    for number, cells in rows:
        unnamed = any(cell and not name for name, cell in zip_longest(header, cells, fillvalue=""))
        if unnamed:
            problems.add(file, number, "a cell in a column without a name")
        elif error := spreadsheet.find_error(cells):
            problems.add(file, number, f"a cell with Excel's error {error}")
        else:
            named = zip(header, cells, strict=False)
            yield Row(file, number, {name: cell for name, cell in named if cell})


def _check_header(file: Path, header: list[str]) -> None:
    """Raises ValueError for a duplicate column, or if no row can be a fact, a prompt or a text."""
    check_unique(name for name in header if name)
    if header and not {*header} & ROW_COLUMNS:
        columns = ", ".join(name for name in header if name)
        raise ValueError(
            f"it has no column subject, prompt or text; its columns are {columns}. Rename them, or "
            "import the file: "
            + format_command("fki", "download", "NAME", "--from", file)
            + " --columns subject=COLUMN,relation=COLUMN,object=COLUMN,date=COLUMN"
        )


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


class _RowLines:
    """The lines of a CSV file; keeps those of the last row, which may end within quotes.

    The `csv` module reads a cell without its closing quotation mark to the end of the file.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._row: list[str] = []
        self.last: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._row.append(line)
        return line

    def begin_row(self) -> None:
        """The lines read so far end with a row."""
        self.last, self._row = self._row, []

    def ends_in_quotes(self, delimiter: str = ",") -> bool:
        """Does the last row end within a quoted cell?"""
        try:
            list(csv.reader(self.last, delimiter=delimiter, strict=True))
        except csv.Error as error:
            return str(error) == "unexpected end of data"
        return False


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


def read_table(
    file: Path,
    name: str = "",
    require: Iterable[str] = (),
    *,
    expect: Iterable[str] = (),
    on_ragged: Callable[[], None] | None = None,
) -> Iterator[Cells]:
    """The rows of a table, in constant memory; only a JSON list or object is read whole.

    A JSON file that is one object is the table in its only field with a list of objects.

    Args:
        name: the table's name in errors, by default its path; its suffix selects the format.
        require: columns that the table, or the first object of a JSON file, must have.
        expect: further columns of a row; one JSON object that has all of them is a row.
        on_ragged: called for each row with more cells than the header, which is skipped; without
            it, such a row is an error.
    Raises:
        TableError: the file is unreadable, a row is not an object, or a column is missing.
        DataError: the file is a pointer of Git LFS, or its compression needs a library.
    """
    name = name or str(file)
    suffix = plain_name(name).rpartition(".")[2]
    refuse_pointer(file)
    needed = [*require]
    readers: dict[str, Callable[[], Iterator[Cells]]] = {
        "parquet": lambda: _read_parquet(file, name, needed),
        "arrow": lambda: _read_arrow(file, name, needed),
        "csv": lambda: _read_csv(file, name, needed, on_ragged),
        "tsv": lambda: _read_csv(file, name, needed, on_ragged),
        "xlsx": lambda: _read_sheet(file, name, needed),
    }
    try:
        try:
            read_json = partial(_read_json, file, name, needed, [*needed, *expect])
            yield from readers.get(suffix, read_json)()
        except UnicodeDecodeError:
            line, why = _locate_bad_byte(file)  # of a damaged compressed file an EOFError
            raise TableError(name, why, line) from None
    except BROKEN_TABLE as error:
        raise TableError(name, f"cannot be read: {error}") from None


def plain_name(name: str) -> str:
    """The name of a file in lower case, without the suffix of its compression."""
    name = name.lower()
    return next((name.removesuffix(s) for s in COMPRESSED_SUFFIXES if name.endswith(s)), name)


def read_columns(file: Path, name: str = "", expect: Iterable[str] = ()) -> list[str]:
    """The columns of a table: those of its first rows, because the rows of JSON may differ."""
    rows = read_table(file, name, expect=expect, on_ragged=lambda: None)
    head = islice(rows, HEAD_ROWS)
    return [*dict.fromkeys(column for row in head for column in row)]


def read_json_object(file: Path) -> Cells:
    """A JSON file that contains one object. Raises TableError for anything else."""
    refuse_pointer(file)
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
            yield from map(decode, _to_rows(batch))


def _read_arrow(file: Path, name: str, require: list[str]) -> Iterator[Cells]:
    """An Arrow stream, as `datasets.save_to_disk` writes it."""
    import pyarrow

    with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as reader:
        _check_columns(name, require, reader.schema.names)
        decode = _make_decoder(reader.schema)
        for batch in reader:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield from map(decode, _to_rows(batch.slice(start, BATCH_ROWS)))


def _to_rows(batch: Any) -> list[Cells]:
    """The rows of a record batch. A value that Python cannot hold is UNREADABLE."""
    try:
        rows: list[Cells] = batch.to_pylist()
    except (OverflowError, ValueError):  # a date of the year 14645, text that is not UTF-8
        columns = {n: [*map(_to_value, c)] for n, c in zip(batch.schema.names, batch, strict=True)}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return rows


def _to_value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return UNREADABLE


def _make_decoder(schema: Any) -> Callable[[Cells], Cells]:
    """A function that replaces class numbers by the class names in the schema's metadata, and
    single-precision numbers by the shortest ones that are equal to them: 0.1, not 0.10000000149."""
    short = [f.name for f in schema if str(f.type) in ("float", "halffloat")]
    labels = _class_labels(schema)

    def decode(row: Cells) -> Cells:
        for name in short:
            if isinstance(row[name], float):
                row[name] = _shorten(row[name], schema.field(name).type)
        for name, label in labels.items():
            number = row.get(name)
            is_class = isinstance(number, int) and number >= 0  # -1: no class
            row[name] = label.int2str(number) if is_class else None
        return row

    return decode


def _class_labels(schema: Any) -> dict[str, Any]:
    """The class labels of `datasets` in the schema's metadata, by column."""
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    from datasets import ClassLabel, Features

    features = Features.from_arrow_schema(schema)
    return {name: kind for name, kind in features.items() if isinstance(kind, ClassLabel)}


def _shorten(value: float, kind: Any) -> float:
    import numpy

    return float(str(numpy.dtype(kind.to_pandas_dtype()).type(value)))


def _read_csv(
    file: Path, name: str, require: list[str], on_ragged: Callable[[], None] | None
) -> Iterator[Cells]:
    is_tsv = plain_name(name).endswith(".tsv")
    with _open_text(file) as text, _long_fields():
        first = text.readline()
        lines = _RowLines(chain([first], text))
        delimiter = "\t" if is_tsv else _find_delimiter(first)
        reader = csv.DictReader(lines, delimiter=delimiter)
        _check_columns(name, require, reader.fieldnames or ())
        lines.begin_row()
        for row in reader:
            lines.begin_row()
            more: Any = row.pop(None, None)
            if more and any(more):
                if on_ragged is None:
                    raise TableError(name, "more cells than the header", reader.line_num)
                on_ragged()
                continue
            yield row
        if lines.ends_in_quotes(delimiter):
            raise TableError(name, UNCLOSED, reader.line_num - len(lines.last) + 1)


def _read_sheet(file: Path, name: str, require: list[str]) -> Iterator[Cells]:
    """The first sheet of an Excel file, without cells of columns without a name, and with errors
    of Excel as empty cells."""
    rows = spreadsheet.iter_sheet(file)
    _, header = next(rows, (0, []))
    _check_columns(name, require, header)
    for _, cells in rows:
        named = zip_longest(header, cells[: len(header)], fillvalue="")
        yield {
            column: "" if spreadsheet.find_error([cell]) else cell
            for column, cell in named
            if column
        }


@contextmanager
def _long_fields() -> Iterator[None]:
    """Allow CSV cells of any length; the limit is one for the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_json(file: Path, name: str, require: list[str], expect: list[str]) -> Iterator[Cells]:
    """JSON lines, one list of objects, or one object with such a list."""
    with _open_text(file) as text:
        lines = ((number, line) for number, line in enumerate(text, 1) if line.strip())
        first = next(lines, None)
        if first is None:
            return
        rows: Iterable[tuple[int, Any]]
        if first[1].lstrip().startswith("["):
            rows = enumerate(_load_json(first[1] + text.read()), 1)
        elif _is_incomplete(first[1]):
            rows = enumerate(_find_rows(_load_json(first[1] + text.read()), name, expect), 1)
        else:
            rows = _parse_lines(name, chain([first], lines))
            if plain_name(name).endswith(".json"):
                rows = _open_single_object(rows, name, expect)
        for number, row in rows:
            if not isinstance(row, dict):
                raise TableError(name, f"a row is a JSON object, not {type(row).__name__}", number)
            if require:
                _check_columns(name, require, row)
                require = []
            yield row


def _load_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_build_object)


def _is_incomplete(line: str) -> bool:
    """Does a JSON value begin in this line and end in a later one?"""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line.rstrip())
    except (ValueError, RecursionError):
        pass
    return False


def _open_single_object(
    rows: Iterator[tuple[int, Any]], name: str, expect: list[str]
) -> Iterator[tuple[int, Any]]:
    """The rows; if there is only one, and it has a table within it, the rows of that table."""
    head = [*islice(rows, 2)]
    if len(head) == 1 and isinstance(row := head[0][1], dict):
        is_row = len(_row_lists(row)) != 1 or (expect and {*expect} <= row.keys())
        return iter(head) if is_row else enumerate(_find_rows(row, name, expect), 1)
    return chain(head, rows)


def _row_lists(value: Cells) -> dict[str, list[Any]]:
    """The fields of an object that are lists of objects."""
    return {
        field: rows
        for field, rows in value.items()
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)
    }


def _find_rows(value: Any, name: str, expect: list[str]) -> list[Any]:
    """The rows in a JSON value that is not a list: itself, or its only list of objects.

    Raises TableError if it is an object without such a list, or with several.
    """
    if not isinstance(value, dict) or (expect and {*expect} <= value.keys()):
        return [value]
    lists = _row_lists(value)
    if len(lists) == 1:
        return next(iter(lists.values()))
    fields = ", ".join([*value][:MAX_SHOWN]) + (", ..." if len(value) > MAX_SHOWN else "")
    kind = "several lists of rows" if lists else "no list of rows"
    field = next(iter(lists), "FIELD")
    raise TableError(
        name,
        f"is one JSON object with {kind}; its fields are {fields or 'none'}",
        hint=f"Write one row a line: jq -c '.[\"{field}\"][]' {name} > rows.jsonl",
    )


def _parse_lines(name: str, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Any]]:
    for number, line in lines:
        try:
            yield number, _load_json(line)
        except (ValueError, RecursionError) as error:
            raise TableError(name, f"not JSON: {error}", number) from None


def _check_columns(name: str, require: Iterable[str], columns: Iterable[str]) -> None:
    present = [*columns]
    try:
        check_unique(column for column in present if column)
    except ValueError as error:
        raise TableError(name, str(error), hint="Rename one of them.") from None
    if missing := [column for column in require if column not in present]:
        raise TableError(
            name,
            f"column '{missing[0]}' not found; columns: {', '.join(present) or 'none'}",
            hint="Use the file as its authors publish it.",
        )


def _locate_bad_byte(file: Path) -> tuple[int, str]:
    """The number of the line with the first byte that is not UTF-8, and the fault."""
    with _open_bytes(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"byte 0x{line[error.start]:02x}"
                return number, f"this is not UTF-8 text: {byte}{AS_UTF8}"
    return 1, "this is not UTF-8 text"  # the file has changed meanwhile


@contextmanager
def _open_text(file: Path) -> Iterator[IO[str]]:
    with (
        _open_bytes(file) as content,
        io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as text,
    ):
        yield text


@contextmanager
def _open_bytes(file: Path) -> Iterator[IO[bytes]]:
    """The decompressed content, by the first bytes and not by the name.

    The context raises EOFError for damaged content.
    """
    with file.open("rb") as raw:
        compression = identify_compression(raw.read(MAGIC_SIZE))
        raw.seek(0)
        errors = read_errors(compression) if compression != "plain" else ()
        try:
            with open_stream(file, raw, compression) as content:
                yield content
        except errors as error:
            raise EOFError(f"its compressed content is damaged: {error}") from None
