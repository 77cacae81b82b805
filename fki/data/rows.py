"""Rows of JSONL and CSV files: read one by one, checked, each problem with its place.

A row is a fact (`subject, relation, object, start[, end]`), a prompt (`prompt, target, date`) or a
document (`text, date`).
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fki.core.calendar import last_day, parse_date
from fki.core.errors import DataError, closest
from fki.core.types import OBJECT, SUBJECT, Document, Fact
from fki.data.prompts import SENTINEL

T = TypeVar("T")
FACT_COLUMNS = ("subject", "relation", "object", "start")
PROMPT_COLUMNS = ("prompt", "target", "date")
TEXT_COLUMNS = ("text", "date", "id", "title")
SUFFIXES = (".jsonl", ".csv")
SHOWN = 10  # bad rows that an error spells out


class Line(NamedTuple):
    """One row of a file, with where it stands."""

    file: Path
    number: int
    values: dict[str, Any]


def read_lines(file: Path, problems: list[str]) -> Iterator[Line]:
    """The rows of a JSONL or CSV file; one that cannot be read becomes a problem."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        if file.suffix == ".csv":
            reader = csv.DictReader(text)
            for row in reader:
                if None in row or None in row.values():
                    problems.append(
                        f"{file}:{reader.line_num}: more or fewer cells than the header"
                    )
                else:
                    yield Line(file, reader.line_num, {k: v for k, v in row.items() if v != ""})
            return
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                problems.append(f"{file}:{number}: not JSON: {error}")
                continue
            if isinstance(values, dict):
                yield Line(file, number, values)
            else:
                problems.append(
                    f"{file}:{number}: a row is a JSON object, not {type(values).__name__}"
                )


def parse(file: Path, reader: Callable[[Line], T], problems: list[str]) -> Iterator[T]:
    """What `reader` makes of each row; its ValueErrors become problems."""
    try:
        for line in read_lines(file, problems):
            try:
                yield reader(line)
            except ValueError as error:
                problems.append(f"{line.file}:{line.number}: {error}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{file} cannot be read, it must be UTF-8 text: {error}")


def raise_for(problems: list[str], place: Path) -> None:
    """Raises DataError where there are problems: their number, and the first of them."""
    if not problems:
        return
    shown = "\n".join(f"  {p}" for p in problems[:SHOWN])
    more = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise DataError(
        f"{len(problems)} bad row{'s' * (len(problems) > 1)} in {place}; "
        f"nothing was trained.\n{shown}{more}",
        hint="Correct these rows and run the same command again.",
    )


def stream_reader(wordings: dict[str, tuple[str, ...]]) -> Callable[[Line], Fact | Document]:
    """A reader of dated facts and of documents."""
    read_fact = fact_reader(wordings, dated=True)

    def read(line: Line) -> Fact | Document:
        is_text = "text" in line.values or line.values.keys() <= set(TEXT_COLUMNS)
        return _document(line.values) if is_text else read_fact(line)

    return read


def fact_reader(wordings: dict[str, tuple[str, ...]], *, dated: bool) -> Callable[[Line], Fact]:
    """A reader of rows of either kind; undated ones only where `dated` is False."""

    def read(line: Line) -> Fact:
        values = line.values
        if "text" in values:
            raise ValueError("documents ('text') belong into the stream alone")
        if "prompt" in values:
            return _prompt_fact(values, dated=dated)
        subject, relation = text_of(values, "subject"), text_of(values, "relation")
        objects = texts_of(values, "object")
        start = end = None
        precision = values.get("precision") or "day"
        if dated or values.get("start"):
            start, named = parse_date(text_of(values, "start"))
            precision = values.get("precision") or named
        if values.get("end"):
            end = last_day(*parse_date(text_of(values, "end")))
            if start and end < start:
                raise ValueError(f"'end' {end} is before 'start' {start}")
        return Fact(
            subject,
            relation,
            objects,
            wordings.get(relation) or default_wordings(relation),
            start,
            end,
            precision,
            str(values.get("source") or ""),
        )

    return read


def _document(values: dict[str, Any]) -> Document:
    """A `text, date[, id, title]` row."""
    if other := [c for c in (*FACT_COLUMNS, *PROMPT_COLUMNS[:2]) if c in values]:
        raise ValueError(f"a row has either 'text' or '{other[0]}'")
    text = text_of(values, "text")
    if len(text.split()) < 2:
        raise ValueError(f"'text' needs at least two words, and '{text}' has fewer")
    named = {column: text_of(values, column) for column in ("id", "title") if values.get(column)}
    if any("<extra_id_" in part for part in (text, *named.values())):
        raise ValueError("'text' has a sentinel, <extra_id_...>: give the text as it was written")
    return Document(text, parse_date(text_of(values, "date"))[0], **named)


def _prompt_fact(values: dict[str, Any], *, dated: bool) -> Fact:
    """A `prompt, target, date` row: the prompt's blank is <extra_id_0>, else it is at the end."""
    prompt, wording = question_of(values)
    start = parse_date(text_of(values, "date")) if dated or values.get("date") else (None, "day")
    return Fact(prompt, "", texts_of(values, "target"), (wording,), start[0], None, start[1])


def question_of(values: dict[str, Any]) -> tuple[str, str]:
    """The `prompt` of a row, and the same as a wording."""
    prompt = text_of(values, "prompt")
    if prompt.count(SENTINEL) > 1:
        raise ValueError(f"'prompt' has {SENTINEL} more than once")
    return prompt, prompt.replace(SENTINEL, OBJECT) if SENTINEL in prompt else f"{prompt} {OBJECT}"


def default_wordings(relation: str) -> tuple[str, str]:
    """Wordings for a relation that brings none."""
    return f"The {relation} of {SUBJECT} is {OBJECT}.", f"{SUBJECT} | {relation}: {OBJECT}."


def text_of(values: dict[str, Any], column: str) -> str:
    value = values.get(column)
    if value is None:
        like = closest(column, values)
        raise ValueError(
            f"'{column}' is missing" + (f"; is '{like}' meant for it?" if like else "")
        )
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"'{column}' must be text, not {value!r}")
    value.encode()  # a lone surrogate, which JSON can spell, raises a ValueError
    return value.strip()


def texts_of(values: dict[str, Any], column: str) -> tuple[str, ...]:
    """One text or a list of them."""
    value = values.get(column)
    if not isinstance(value, list):
        return (text_of(values, column),)
    if not value:
        raise ValueError(f"'{column}' is an empty list")
    return tuple(dict.fromkeys(text_of({column: v}, column) for v in value))
