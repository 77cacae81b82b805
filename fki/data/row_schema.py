"""Turns rows into facts and documents, and checks them.

A row is a fact (`subject, relation, object, start[, end]`), a prompt (`prompt, target, date[,
subject, relation, aliases]`) or a document (`text, date[, id, title]`). The rows of a stream all
have a date, or none has.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from fki.core.calendar import last_day, parse_date
from fki.core.control_characters import find_control
from fki.core.errors import closest_match
from fki.core.normalization import distinct_texts, normalize_text
from fki.core.types import BLANK, OBJECT, SUBJECT, UNDATED, Document, Fact
from fki.data.prompts import SENTINEL_PATTERN, find_special_token, split_at_blank
from fki.data.row_dates import RowDates
from fki.data.row_files import Row, RowProblems, iter_values, parse_rows

FACT_COLUMNS = ("subject", "relation", "object", "start")
PROMPT_COLUMNS = ("prompt", "target", "date")
TEXT_COLUMNS = ("text", "date", "id", "title")
STREAM_DATES = ("start", "end", "date")
KNOWN_COLUMNS = {*FACT_COLUMNS, *PROMPT_COLUMNS, *TEXT_COLUMNS}
MARKED_COLUMNS = ("prompt", "input", "output")  # contain blanks


def has_dates(stream: Path) -> bool:
    """Does a row of a stream's file have a date? True for a file without rows."""
    found = (value for value in iter_values(stream, STREAM_DATES) if value not in (None, "", []))
    if any(value.strip() if isinstance(value, str) else True for value in found):
        return True
    return next(parse_rows(stream, lambda row: row, RowProblems()), None) is None


def stream_reader(
    wordings: dict[str, tuple[str, ...]], *, dated: bool = True
) -> Callable[[Row], Fact | Document]:
    """A function that turns a row into a dated fact or a document; without `dated`, the date of
    each is UNDATED."""
    read_fact, dates = fact_reader(wordings, dated=dated), RowDates()

    def read(line: Row) -> Fact | Document:
        if not dated:
            _check_undated(line.values)
            line = line._replace(
                values={name: v for name, v in line.values.items() if name not in STREAM_DATES}
            )
        is_text = "text" in line.values or line.values.keys() <= set(TEXT_COLUMNS)
        if is_text and line.values:
            return _parse_document(line, dates, dated=dated)
        fact = read_fact(line)
        return fact if dated else replace(fact, start=UNDATED)

    return read


def _check_undated(values: dict[str, Any]) -> None:
    """Raises ValueError if a column of a row without a date looks like one with another name."""
    for column, value in values.items():
        if column in KNOWN_COLUMNS or not isinstance(value, str):
            continue
        try:
            _, precision = parse_date(value)
        except ValueError:
            continue
        if precision != "year" or closest_match(column, STREAM_DATES):
            raise ValueError(f"'start' is missing; did you mean '{column}'?")


def fact_reader(wordings: dict[str, tuple[str, ...]], *, dated: bool) -> Callable[[Row], Fact]:
    """A function that turns a row into a fact; with `dated`, a row must have a date."""
    dates = RowDates()

    def read(line: Row) -> Fact:
        values = line.values
        if "text" in values:
            raise ValueError("documents ('text') are only allowed in the stream")
        if "prompt" in values:
            return _parse_prompt(line, dates, dated=dated)
        subject, relation = get_text(values, "subject"), get_text(values, "relation")
        objects = get_texts(values, "object")
        start = end = None
        precision = values.get("precision") or "day"
        if dated or values.get("start"):
            start, named = dates.parse(line, get_text(values, "start"))
            precision = values.get("precision") or named
        if values.get("end"):
            end = last_day(*dates.parse(line, get_text(values, "end")))
            if start and end < start:
                raise ValueError(f"'end' {end} is before 'start' {start}")
            end = None if end == date.max else end  # 9999-12-31 is SQL's "no end"
        return Fact(
            subject,
            relation,
            objects,
            wordings.get(normalize_text(relation)) or default_wordings(relation),
            start,
            end,
            precision,
            str(values.get("source") or ""),
            aliases=get_texts(values, "aliases") if values.get("aliases") else (),
            case=get_label(values, "case_id"),
        )

    return read


def _parse_document(line: Row, dates: RowDates, *, dated: bool) -> Document:
    """A `text, date[, id, title]` row."""
    values = line.values
    if other := [c for c in (*FACT_COLUMNS, *PROMPT_COLUMNS[:2]) if c in values]:
        raise ValueError(f"a row cannot have both 'text' and '{other[0]}'")
    text = get_text(values, "text")
    if len(text.split()) < 2:
        raise ValueError(f"'text' must have at least two words, not '{text}'")
    named = {column: get_text(values, column) for column in ("id", "title") if values.get(column)}
    if any("<extra_id_" in part for part in (text, *named.values())):
        raise ValueError("'text' must not contain a sentinel, <extra_id_...>")
    start = dates.parse(line, get_text(values, "date"))[0] if dated else UNDATED
    return Document(text, start, **named)


def _parse_prompt(line: Row, dates: RowDates, *, dated: bool) -> Fact:
    """A `prompt, target, date` row; without a blank in the prompt, the blank is at its end."""
    values = line.values
    prompt, wording = parse_question(values)
    start: tuple[date | None, str] = (None, "day")
    if dated or values.get("date"):
        start = dates.parse(line, get_text(values, "date"))
    return Fact(
        get_label(values, "subject") or prompt,
        get_label(values, "relation"),
        get_texts(values, "target"),
        (wording,),
        start[0],
        precision=start[1],
        aliases=get_texts(values, "aliases") if values.get("aliases") else (),
        prompt=prompt,
        case=get_label(values, "case_id"),
    )


def parse_question(values: dict[str, Any]) -> tuple[str, str]:
    """The `prompt` of a row, and its wording.

    Raises ValueError if it has several blanks, or a slot of a wording.
    """
    prompt = get_text(values, "prompt")
    if SUBJECT in prompt or OBJECT in prompt:
        raise ValueError(f"'prompt' must not contain {SUBJECT} or {OBJECT}; its blank is {BLANK}")
    try:
        parts = split_at_blank(prompt)
    except ValueError as error:
        raise ValueError(f"'prompt' {error}") from None
    return prompt, OBJECT.join(parts) if parts else f"{prompt} {OBJECT}"


def default_wordings(relation: str) -> tuple[str, str]:
    """Wordings for a relation without its own."""
    return f"The {relation} of {SUBJECT} is {OBJECT}.", f"{SUBJECT} | {relation}: {OBJECT}."


def get_label(values: dict[str, Any], column: str) -> str:
    """The text of an optional column that only names a row; "" if there is none."""
    value = values.get(column)
    return check_characters(column, value.strip()) if isinstance(value, str) else ""


def get_text(values: dict[str, Any], column: str) -> str:
    """The text of a column. Raises ValueError if it is missing or empty."""
    value = values.get(column)
    if column not in values:
        strange = [name for name in values if name not in KNOWN_COLUMNS]
        like = closest_match(column, strange)
        meant = f"; did you mean '{like}'?" if like else ""
        found = f"; the row has '{strange[0]}'" if strange and not like else ""
        raise ValueError(f"'{column}' is missing{meant}{found}")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"'{column}' must be text, not {value!r}")
    check_characters(column, value)
    if column not in MARKED_COLUMNS and (blank := SENTINEL_PATTERN.search(value)):
        raise ValueError(f"'{column}' must not contain {blank[0]}, a sentinel")
    return value.strip()


def check_characters(column: str, text: str) -> str:
    """The text. Raises ValueError if it contains a control character or a lone surrogate."""
    text.encode()  # JSON can spell half a character, which UTF-8 cannot
    if control := find_control(text):
        raise ValueError(f"'{column}' contains a control character, {control}")
    return text


def get_texts(values: dict[str, Any], column: str) -> tuple[str, ...]:
    """One text or a list of texts, as answers. Raises ValueError for a special token."""
    value = values.get(column)
    if value == []:
        raise ValueError(f"'{column}' is an empty list")
    cells = [{column: v} for v in value] if isinstance(value, list) else [values]
    texts = distinct_texts(get_text(cell, column) for cell in cells)
    if special := find_special_token(" ".join(texts)):
        raise ValueError(f"'{column}' must not contain {special}, a token that delimits answers")
    return texts
