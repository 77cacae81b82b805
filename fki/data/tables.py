"""Rows of Parquet, Arrow, JSON and CSV files, a few at a time, as they are in the file.

Nothing is guessed: a cell of CSV or JSON is what is written there, so that a date stays as its
authors spelled it. Arrow files are those of `datasets.save_to_disk`. Text may be packed by gzip.
"""

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from fki.core.errors import DataError

Cells = dict[str, Any]
AT_ONCE = 1000  # rows of a Parquet file
FIRST = 100  # rows that tell the columns
BROKEN = (OSError, ValueError, KeyError, EOFError, RecursionError, csv.Error)


def rows(file: Path, name: str = "") -> Iterator[Cells]:
    """The rows of a file. `name`: what it is called, where that is not the path.

    Raises DataError where it cannot be read.
    """
    name = name or file.name
    kind = name.removesuffix(".gz").rpartition(".")[2].lower()
    readers = {"parquet": _parquet, "arrow": _arrow, "csv": _csv, "tsv": _csv}
    try:
        yield from readers.get(kind, _json)(file, name)
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text: {error.reason}.") from None
    except BROKEN as error:
        raise DataError(f"{name} cannot be read: {error}.") from None


def columns(file: Path, name: str = "") -> list[str]:
    """The names of a file's columns; those of its first rows, where rows may differ."""
    return [*dict.fromkeys(column for row in islice(rows(file, name), FIRST) for column in row)]


def _parquet(file: Path, _: str) -> Iterator[Cells]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(file, memory_map=True) as table:
        names = _classes(table.schema_arrow)
        for batch in table.iter_batches(batch_size=AT_ONCE):
            yield from _named(batch.to_pylist(), names)


def _arrow(file: Path, _: str) -> Iterator[Cells]:
    import pyarrow

    with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as reader:
        names = _classes(reader.schema)
        for batch in reader:
            for start in range(0, batch.num_rows, AT_ONCE):
                yield from _named(batch.slice(start, AT_ONCE).to_pylist(), names)


def _classes(schema: Any) -> dict[str, list[str]]:
    """Columns that hold numbers of classes, and the classes' names, as `datasets` writes them."""
    told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = told.get("info", {}).get("features", {})
    return {
        column: kind["names"]
        for column, kind in features.items()
        if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
    }


def _named(batch: list[Cells], names: dict[str, list[str]]) -> Iterator[Cells]:
    for row in batch:
        for column, known in names.items():
            number = row.get(column)
            row[column] = known[number] if isinstance(number, int) and number >= 0 else None
        yield row


def _csv(file: Path, name: str) -> Iterator[Cells]:
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # articles are long
    try:
        with _text(file, name) as text:
            delimiter = "\t" if ".tsv" in name.lower() else ","
            for row in csv.DictReader(text, delimiter=delimiter):
                yield {k: v for k, v in row.items() if isinstance(k, str)}
    finally:
        csv.field_size_limit(before)  # it is one for all of the process


def _json(file: Path, name: str) -> Iterator[Cells]:
    """JSON lines, or one list of objects, which is read whole."""
    with _text(file, name) as text:
        lines = (line for line in text if line.strip())
        first = next(lines, "")
        if first.lstrip().startswith("["):
            found = json.loads(first + text.read())
        else:
            found = map(json.loads, chain([first] * bool(first), lines))
        for number, row in enumerate(found, 1):
            if not isinstance(row, dict):
                raise ValueError(f"row {number} is no object")
            yield row


@contextmanager
def _text(file: Path, name: str) -> Iterator[IO[str]]:
    opened = gzip.open if name.lower().endswith(".gz") else open
    with opened(file, "rt", encoding="utf-8-sig", newline="") as text:
        yield text
