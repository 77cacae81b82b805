"""A user's own folder: `stream.jsonl` (or .csv), and optionally `base`, `invariant`, `probes/*`.

A row is `subject, relation, object, start[, end]` or `prompt, target, date`. All bad rows are
found before anything is trained. A `relations.json` may give wordings: {"P6": {"wordings": [...]}}.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fki.core.calendar import last_day, parse_date, period_name
from fki.core.errors import DataError, closest
from fki.core.types import (
    OBJECT,
    SUBJECT,
    Example,
    Fact,
    Probe,
    ProbeSet,
    Prompt,
    Stream,
    Version,
)
from fki.data.prompts import SENTINEL, SPECIAL, source_text, training_examples
from fki.data.rows import bad_byte, check_unique, json_row
from fki.data.stream import ASKS, BASE, cut

T = TypeVar("T")
FACT_COLUMNS = ("subject", "relation", "object", "start")
PROMPT_COLUMNS = ("prompt", "target", "date")
SUFFIXES = (".jsonl", ".csv")
SHOWN, WIDEST = 10, 400  # bad rows that an error spells out, and characters of each


class Line(NamedTuple):
    """One row of a file, with where it stands."""

    file: Path
    number: int
    values: dict[str, Any]


def read_folder(folder: Path, version: Version, prompt: Prompt, *, name: str) -> Stream:
    """The stream of a dataset folder. Raises DataError for a missing file or any bad row."""
    stream = find(folder, "stream")
    if stream is None:
        raise DataError(
            f"{folder} has no stream.jsonl or stream.csv.",
            hint="A row is: subject, relation, object, start[, end]  or: prompt, target, date",
        )
    files = [f for f in (find(folder, "base"), find(folder, "invariant")) if f is not None]
    wordings = read_wordings(folder / "relations.json")
    problems: list[str] = []
    base = [
        f for file in files for f in _parse(file, _fact_reader(wordings, dated=False), problems)
    ]
    changes = list(_parse(stream, _fact_reader(wordings, dated=True), problems))
    own = [_probe_set(file, version, prompt, problems) for file in _probe_files(folder)]
    _raise_for(problems, folder)
    if not changes:
        raise DataError(f"{stream} has no rows.", hint="Add at least one dated fact.")
    found = cut(name, version, base, changes, prompt=prompt, digest=digest(folder), own_probes=own)
    if not found.periods:
        raise DataError(
            f"{stream} changes nothing that the base does not say already.",
            hint="Add at least one dated fact that is new.",
        )
    return found


def read_corpus(file: Path, prompt: Prompt) -> list[Example]:
    """The rows of a file of old text, dated or not, as examples in their order.

    A row is a fact, `prompt, target`, or `input, output` as in the corpora of CKL: an input with
    sentinels and the target that belongs to it. Raises DataError for a missing file or a bad row.
    """
    if not file.is_file() or file.suffix not in SUFFIXES:
        raise DataError(
            f"The corpus {file} must be a .jsonl or .csv file that exists.",
            hint="A row is: subject, relation, object  or: prompt, target  or: input, output",
        )
    problems: list[str] = []
    read_fact = _fact_reader({}, dated=False)

    def read(line: Line) -> list[Example]:
        if "input" in line.values:
            pair = (_text(line.values, "input"), _text(line.values, "output"))
            return [Example(f"corpus|{line.number}", *pair)]
        return training_examples(read_fact(line), prompt, period=f"corpus|{line.number}")

    examples = [e for row in _parse(file, read, problems) for e in row]
    _raise_for(problems, file)
    if not examples:
        raise DataError(f"The corpus {file} has no rows.")
    return examples


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the folder's data files."""
    total = hashlib.sha256()
    for file in data_files(folder):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


def data_files(folder: Path) -> list[Path]:
    """The files of a dataset folder that decide what is trained and asked, by name."""
    found = [find(folder, stem) for stem in ("base", "invariant", "stream")]
    relations = folder / "relations.json"
    files = [f for f in found if f is not None] + ([relations] if relations.is_file() else [])
    return sorted(files + _probe_files(folder))


def find(folder: Path, stem: str) -> Path | None:
    """`stem`.jsonl or `stem`.csv in the folder."""
    return next((f for s in SUFFIXES if (f := folder / f"{stem}{s}").is_file()), None)


def _probe_files(folder: Path) -> list[Path]:
    return sorted(f for f in (folder / "probes").glob("*") if f.suffix in SUFFIXES)


def _raise_for(problems: list[str], place: Path) -> None:
    """Raises DataError where there are problems: their number, and the first of them."""
    if not problems:
        return
    shown = "\n".join(f"  {p[:WIDEST]}" for p in problems[:SHOWN])
    more = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise DataError(
        f"{len(problems)} bad row{'s' * (len(problems) > 1)} in {place}; "
        f"nothing was trained.\n{shown}{more}",
        hint="Correct these rows and run the same command again.",
    )


def read_wordings(file: Path) -> dict[str, tuple[str, ...]]:
    """Relation -> wordings. Raises DataError where one lacks a slot."""
    if not file.is_file():
        return {}
    try:
        table = json.loads(file.read_text(encoding="utf-8-sig"))
        found = {r: tuple([] + entry["wordings"]) for r, entry in table.items()}  # text is no list
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{file}: {error!r}",
            hint='It must read: {"relation": {"wordings": ["... [X] ... [Y]."]}}',
        ) from None
    for relation, wordings in found.items():
        for wording in wordings or ("",):
            text = wording if isinstance(wording, str) else ""
            if text.count(OBJECT) != 1 or SUBJECT not in text:
                raise DataError(
                    f"{file}: '{relation}': '{wording}' needs {SUBJECT} and one {OBJECT}."
                )
    return found


def read_lines(file: Path, problems: list[str]) -> Iterator[Line]:
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
                    yield Line(file, reader.line_num, {k: v for k, v in row.items() if v != ""})
            return
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                values = json_row(line)
            except ValueError as error:
                problems.append(f"{file}:{number}: {error}")
                continue
            yield Line(file, number, values)


def _parse(file: Path, reader: Callable[[Line], T], problems: list[str]) -> Iterator[T]:
    """What `reader` makes of each row; its ValueErrors become problems."""
    try:
        for line in read_lines(file, problems):
            try:
                yield reader(line)
            except ValueError as error:
                problems.append(f"{line.file}:{line.number}: {error}")
    except UnicodeDecodeError:
        problems.append(f"{file}:{bad_byte(file)}")
    except (OSError, ValueError, csv.Error) as error:
        problems.append(f"{file} cannot be read: {error}")


def _text(values: dict[str, Any], column: str) -> str:
    value = values.get(column)
    if column not in values:
        strange = [name for name in values if name not in (*FACT_COLUMNS, *PROMPT_COLUMNS)]
        like = closest(column, strange)
        meant = f"; is '{like}' meant for it?" if like else ""
        found = f"; the row has '{strange[0]}'" if strange and not like else ""
        raise ValueError(f"'{column}' is missing{meant}{found}")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"'{column}' must be text, not {value!r}")
    value.encode()  # a lone surrogate, which JSON can spell, raises a ValueError
    return value.strip()


def _texts(values: dict[str, Any], column: str) -> tuple[str, ...]:
    """One text or a list of them."""
    value = values.get(column)
    if value == []:
        raise ValueError(f"'{column}' is an empty list")
    cells = [{column: v} for v in value] if isinstance(value, list) else [values]
    texts = tuple(dict.fromkeys(_text(cell, column) for cell in cells))
    if special := SPECIAL.search(" ".join(texts)):
        raise ValueError(f"'{column}' must not hold {special[0]}, which ends or opens an answer")
    return texts


def _fact_reader(wordings: dict[str, tuple[str, ...]], *, dated: bool) -> Callable[[Line], Fact]:
    """A reader of rows of either kind; undated ones only where `dated` is False."""

    def read(line: Line) -> Fact:
        values = line.values
        if "prompt" in values:
            return _prompt_fact(values, dated=dated)
        subject, relation = _text(values, "subject"), _text(values, "relation")
        objects = _texts(values, "object")
        start = end = None
        precision = values.get("precision") or "day"
        if dated or values.get("start"):
            start, named = parse_date(_text(values, "start"))
            precision = values.get("precision") or named
        if values.get("end"):
            end = last_day(*parse_date(_text(values, "end")))
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


def default_wordings(relation: str) -> tuple[str, str]:
    """Wordings for a relation that brings none."""
    return f"The {relation} of {SUBJECT} is {OBJECT}.", f"{SUBJECT} | {relation}: {OBJECT}."


def _prompt_fact(values: dict[str, Any], *, dated: bool) -> Fact:
    """A `prompt, target, date` row: the prompt's blank is <extra_id_0>, else it is at the end."""
    prompt, wording = _question(values)
    start = parse_date(_text(values, "date")) if dated or values.get("date") else (None, "day")
    return Fact(prompt, "", _texts(values, "target"), (wording,), start[0], None, start[1])


def _question(values: dict[str, Any]) -> tuple[str, str]:
    """The `prompt` of a row, and the same as a wording."""
    prompt = _text(values, "prompt")
    if prompt.count(SENTINEL) > 1:
        raise ValueError(f"'prompt' has {SENTINEL} more than once")
    if SUBJECT in prompt or OBJECT in prompt:
        raise ValueError(f"'prompt' must not hold {SUBJECT} or {OBJECT}; its blank is {SENTINEL}")
    return prompt, prompt.replace(SENTINEL, OBJECT) if SENTINEL in prompt else f"{prompt} {OBJECT}"


def _probe_set(file: Path, version: Version, prompt: Prompt, problems: list[str]) -> ProbeSet:
    """A set of the user's own questions; its name says what it asks, and asks "keep" if unknown."""

    def read(line: Line) -> Probe:
        _, wording = _question(line.values)
        period = line.values.get("period") or BASE
        if period != BASE:
            period = period_name(parse_date(_text(line.values, "period"))[0], version)
        answers = "target" if "target" in line.values else "answers"
        return Probe(
            id=f"{file.stem}|{line.number}",
            period=period,
            source=source_text(wording, "", prompt),
            answers=_texts(line.values, answers),
        )

    return ProbeSet(file.stem, ASKS.get(file.stem, "keep"), tuple(_parse(file, read, problems)))
