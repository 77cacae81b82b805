"""Builds a dataset from any tables of the Hub or of a folder, by a mapping of their columns.

Facts have subject, relation, object, date (or start) and optionally end; prompts have prompt,
target, date; documents have text, date and optionally title, id. `old` is the answer before; it
becomes a base fact, so that the probe is `updated`. The column `answers.text` is the field `text`
of the column `answers`. The subject of a prompt replaces its `{}`. A relation that is a property
number of Wikidata, P6, has the wordings of fki's table. `paraphrase`, `locality` and `portability`
have questions of their own for probe sets, `distractors` the wrong choices of a question.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fki.core.atomic_io import file_digest
from fki.core.calendar import day_before, last_day, parse_date
from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.data.prompts import blank_out, split_at_blank
from fki.data.row_dates import NO_DATE, DayOrder, normalize_date
from fki.data.row_files import Cells, read_columns, read_table
from fki.net import hub
from fki.net.archives import is_archive
from fki.net.downloads import OnProgress
from fki.net.hub import card_license, read_card
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.row_collector import RowCollector
from fki.sources.tables.cells import (
    NO_TEXT,
    columns_of,
    get_cell,
    read_answers,
    read_text,
    unwrap,
)
from fki.sources.tables.hub_layout import TableSelection, select_files
from fki.sources.wikidata.relations import load_relations

PROBES = {  # the answers of a probe set's questions: those of the row, or of a role
    "paraphrase": "",
    "locality": "locality_answer",
    "portability": "portability_answer",
}
PROBE_ROLES = (*PROBES, *filter(None, PROBES.values()))
MORE = ("old", "aliases", "distractors", "case", *PROBE_ROLES)
ROW_KINDS = {  # required columns of each kind of row, beside its date, and optional ones
    "text": (("text",), ("title", "id")),
    "prompt": (("prompt", "target"), ("subject", "relation", *MORE)),
    "subject": (("subject", "relation", "object"), ("end", *MORE)),
}
ROLES = (
    *("subject", "relation", "object", "date", "start", "end"),
    *("prompt", "target", "text", "title", "id"),
    *MORE,
)
LIST_COLUMNS = ("object", "target", "aliases", "distractors")  # with one answer or several
OPTIONAL = ("title", "id", "aliases", "distractors", "case")
SLOT = "{}"  # of the subject, in the prompts of CounterFact and others
NO_SUBJECT, SEVERAL_BLANKS = "a prompt with {} and no subject", "a prompt with several blanks"
RAGGED = "more cells than the header"
ColumnMapping = dict[str, str]  # role -> column


class TableSource(NamedTuple):
    """Files to read, with their license and origin."""

    title: str
    files: Mapping[str, Path]
    selection: TableSelection
    license: str
    origins: list[SourceRecord]


def open_hub_tables(
    address: str, subset: str, split: str, revision: str, on_progress: OnProgress | None = None
) -> TableSource:
    """Fetch the tables of a Hub dataset, hub:owner/name. Raises DataError if there are none."""
    snapshot = hub.pin_snapshot(address.removeprefix(hub.HUB_PREFIX), revision)
    card = read_card(snapshot.folder / hub.CARD)
    selection = select_files(snapshot.names, card, subset, split)
    files = dict(
        zip(selection.names, hub.fetch_files(snapshot, selection.names, on_progress), strict=True)
    )
    license = card_license(card)
    origin = SourceRecord(snapshot.name, license, snapshot.revision, snapshot.url)
    return TableSource(snapshot.name, files, selection, license, [origin])


def open_folder_tables(folder: Path, subset: str, split: str) -> TableSource:
    """The tables of a folder with the layout of a Hub dataset, or of one file.

    Raises DataError if there are none.
    """
    if not folder.exists():
        raise DataError(f"{folder} not found.", hint="Give a folder with tables.")
    if folder.is_file() and is_archive(folder):
        raise DataError(f"{folder} is an archive.", hint="Unpack it and give its folder.")
    root = folder if folder.is_dir() else folder.parent
    found = [folder] if folder.is_file() else sorted(f for f in root.rglob("*") if f.is_file())
    if not found:
        raise DataError(f"{folder} is empty.", hint="Give a folder with tables.")
    card = read_card(root / hub.CARD)
    selection = select_files([f.relative_to(root).as_posix() for f in found], card, subset, split)
    files = {name: root / name for name in selection.names}
    license = card_license(card)
    origins = [SourceRecord(n, license, f"sha256 {file_digest(f)}") for n, f in files.items()]
    return TableSource(folder.absolute().name or "/", files, selection, license, origins)


def parse_columns(text: str) -> ColumnMapping:
    """Parse `subject=a,object=b`. Raises ConfigError for an unknown role."""
    columns: ColumnMapping = {}
    for part in filter(None, text.split(",")):
        role, sign, column = (word.strip() for word in part.partition("="))
        role = "date" if role == "start" else role
        if not sign or not column or role not in ROLES or role in columns:
            fault = "occurs twice" if role in columns else "is not a role"
            raise ConfigError(
                f"--columns {part}: '{role}' {fault if sign and column else 'has no column'}."
                f"{did_you_mean(role, ROLES) if role not in ROLES else ''}",
                hint="Write: --columns subject=COLUMN,relation=COLUMN,object=COLUMN,date=COLUMN",
            )
        columns[role] = column
    return columns


def draft_dataset(
    name: str, source: TableSource, columns: ColumnMapping, date: str, command: str
) -> DatasetDraft:
    """The dataset of the tables.

    Args:
        name: the dataset's name.
        columns: the mapping; empty: columns whose name is a role.
        date: the date of rows without one.

    Raises DataError if a column is missing, or no row is usable; ConfigError for an unusable date.
    """
    check_date(date)
    collector, table = RowCollector(), columns
    expected = [column.partition(".")[0] for column in columns.values()]
    for file in source.selection.names:
        present = read_columns(source.files[file], file, expected)
        if not present:  # it has no rows
            continue
        table = table or {("date" if o == "start" else o): o for o in ROLES if o in present}
        _check_columns(table, present, file, date)
        order = DayOrder(partial(_iter_dates, source.files[file], file, table, expected))
        rows = read_table(
            source.files[file],
            file,
            expect=expected,
            on_ragged=lambda: collector.drop("stream", RAGGED),
        )
        for number, cells in enumerate(rows):
            _add_rows(collector, table, cells, number, date, order)
    if "stream" not in collector.tables:
        raise DataError(
            f"'{source.title}' contains no usable row"
            + (f": {_format_reasons(collector)}." if collector.dropped else "."),
            hint="Check the columns: " + _format_columns(table),
        )
    words = ", ".join(f"`{role}` is `{column}`" for role, column in table.items())
    return DatasetDraft(
        name,
        source.title,
        f"Built from the tables of {source.title}: {words}."
        + (f" Selected: {source.selection.description}." if source.selection.description else ""),
        source.license,
        source.origins,
        dict(collector.tables),
        dropped=collector.dropped,
        wordings=collector.wordings,
        notes=[f"Rows without a date have the date {date}."] if date else [],
        command=command,
    )


def _format_columns(table: ColumnMapping) -> str:
    return "--columns " + ",".join(f"{role}={column}" for role, column in table.items())


def _row_kind(table: ColumnMapping) -> str:
    return next((kind for kind in ROW_KINDS if kind in table), "subject")


def _check_columns(table: ColumnMapping, present: list[str], name: str, date: str) -> None:
    """Raises DataError for a missing column, ConfigError for an incomplete mapping."""
    listed = f"{name} has the columns {', '.join(present) or '(none)'}."
    for column in table.values():
        paths = [] if column in present else columns_of(column)
        if any(p not in present and p.partition(".")[0] not in present for p in paths):
            raise DataError(
                f"Column '{column}' not found.{did_you_mean(column, present)} {listed}",
                hint="Give --columns with existing columns.",
            )
    needed, more = ROW_KINDS[_row_kind(table)]
    missing = [column for column in needed if column not in table]
    missing += ["date"] * ("date" not in table and not date)
    if missing:
        also = "   or, for all rows: --date 2021-04-30" if missing[-1] == "date" else ""
        raise ConfigError(
            f"--columns lacks {', '.join(missing)}. {listed}",
            hint=f"Write: --columns {','.join(f'{m}=COLUMN' for m in [*table, *missing])}{also}",
        )
    if strange := [role for role in table if role not in (*needed, *more, "date")]:
        raise ConfigError(
            f"A row with '{needed[0]}' cannot have '{strange[0]}'.",
            hint=f"It can have: {', '.join((*needed, 'date', *more))}",
        )


def _format_reasons(collector: RowCollector) -> str:
    """The most frequent reasons of skipped rows, with their numbers."""
    return "; ".join(f"{why} ({count:,})" for why, count in collector.dropped.most_common(3))


def check_date(date: str) -> None:
    """Raises ConfigError for a date that is unreadable, or has no day before it."""
    try:
        _ = date and day_before(date)  # the date of base facts
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--date: {error}.") from None


def _iter_dates(
    file: Path, name: str, table: ColumnMapping, expected: list[str]
) -> Iterator[object]:
    """The dates and ends of a table's rows, as they are written."""
    columns = [table[role] for role in ("date", "end") if role in table]
    for cells in read_table(file, name, expect=expected, on_ragged=lambda: None):
        yield from (unwrap(get_cell(cells, column)) for column in columns)


def _add_rows(
    collector: RowCollector,
    table: ColumnMapping,
    cells: Cells,
    number: int,
    date: str,
    order: DayOrder,
) -> None:
    """Add the rows of a table's row: one, or as many as its question has elements."""
    raw = {role: get_cell(cells, column) for role, column in table.items()}
    for one in expand_lists(raw):
        try:
            row = _parse_row(collector, table, one, date, order)
        except ValueError as error:
            collector.drop("stream", str(error))
            continue
        _add_row(collector, row, number)


def expand_lists(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of lists in parallel: one for each element of a prompt, or of a fact's subject.

    Each other list of that length has an element for each row. The objects of subjects must be
    such a list; the target of several prompts may be one.
    """
    lists = {role: unwrap(value) for role, value in raw.items()}
    asked = lists.get("prompt", lists.get("subject"))
    if not isinstance(asked, list) or len(asked) < 2:
        return [raw]
    size = len(asked)
    is_parallel = {r: isinstance(v, list) and len(v) == size for r, v in lists.items()}
    if "prompt" not in raw and not is_parallel.get("object"):
        return [raw]
    return [
        {role: lists[role][i] if is_parallel[role] else value for role, value in raw.items()}
        for i in range(size)
    ]


class TableRow(NamedTuple):
    """A row of a table, as texts."""

    texts: dict[str, Any]  # by role
    day: str
    end: dict[str, str]
    old: list[str]
    probes: dict[str, list[tuple[str, list[str]]]]  # questions with answers, by probe set


def _parse_row(
    collector: RowCollector, table: ColumnMapping, raw: dict[str, Any], date: str, order: DayOrder
) -> TableRow:
    """Raises ValueError with the reason why the row cannot be used."""
    raw = dict(raw)
    day = _get_date(raw.pop("date", None), date, order)
    end = _get_end(raw.pop("end", None), day, order)
    old = _get_old(collector, table, raw.pop("old", None))
    asked = {role: raw.pop(role) for role in PROBE_ROLES if role in raw}
    is_label = {"subject", "relation"} if "prompt" in table else set()
    row = {
        role: _read_cell(value, role, table[role], is_optional=role in {*OPTIONAL, *is_label})
        for role, value in raw.items()
    }
    if "prompt" in row:
        row["prompt"] = _fill_prompt(row["prompt"], row.get("subject", ""))
    right = [*row.get("target", row.get("object", ())), *(row.get("aliases") or ())]
    probes = {name: list(_iter_questions(asked, name, right)) for name in PROBES if name in asked}
    return TableRow(row, day, end, old, probes)


def _iter_questions(
    asked: Mapping[str, Any], name: str, right: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """The questions of a probe set, each with its answers: the row's own, or those of a role."""
    questions = read_answers(asked[name])
    answers = unwrap(asked.get(PROBES[name])) if PROBES[name] else right
    is_parallel = isinstance(answers, list) and len(answers) == len(questions) > 1
    for number, question in enumerate(questions):
        own = answers[number] if is_parallel and PROBES[name] else answers
        yield question, read_answers(own)


def _add_row(collector: RowCollector, parsed: TableRow, number: int) -> None:
    """Add a row and its probes, whose case is that of the row, or its number."""
    row, day = parsed.texts, parsed.day
    if "text" in row:
        more = {role: text for role in ("title", "id") if (text := row.get(role))}
        collector.add_document(row["text"], day, **more)
        return
    labels = {"case_id": row.get("case") or str(number)} if parsed.probes or "case" in row else {}
    aliases = {"aliases": row["aliases"]} if row.get("aliases") else {}
    before = day_before(day)
    if "prompt" in row:
        named = {role: text for role in ("subject", "relation") if (text := row.get(role))}
        if parsed.old:
            collector.add_prompt("base", row["prompt"], parsed.old, date=before, **named)
        labels |= named
        more = {**aliases, **labels}
        collector.add_prompt("stream", row["prompt"], row["target"], date=day, **more)
    else:
        fact = row["subject"], row["relation"]
        _add_wordings(collector, row["relation"])
        if parsed.old:
            collector.add_fact("base", *fact, parsed.old, start=before)
        more = {**parsed.end, **aliases, **labels}
        collector.add_fact("stream", *fact, row["object"], start=day, **more)
        labels |= {"subject": row["subject"], "relation": row["relation"]}
    _add_probes(collector, parsed, labels)


def _add_probes(collector: RowCollector, parsed: TableRow, labels: Mapping[str, str]) -> None:
    row = parsed.texts
    taught, choices = row.get("target", row.get("object", [])), row.get("distractors") or []
    if choices and "prompt" in row:  # multiple choice, about the question itself
        right = [*taught, *(row.get("aliases") or ())]
        wrong = [text for text in choices if text not in right]
        extra: dict[str, Any] = {"distractors": wrong} if wrong else {}
        asked = "updated" if parsed.old else "new"
        more = {"old_answers": parsed.old} if parsed.old else {}
        collector.add_prompt(
            f"probes/{asked}", row["prompt"], right, period=parsed.day, **extra, **more, **labels
        )
    for name, questions in parsed.probes.items():
        is_kept = name == "locality"
        rivals = taught if is_kept else parsed.old if name == "paraphrase" else []
        for question, answers in questions:
            wrong = [text for text in rivals if text not in answers]
            extra = {"distractors": wrong} if wrong else {}
            extra |= {} if is_kept else {"period": parsed.day}
            collector.add_prompt(f"probes/{name}", question, answers, **extra, **labels)


def _read_cell(value: Any, role: str, column: str, *, is_optional: bool) -> Any:
    """The text or answers of a cell. Raises ValueError with the column if it has none."""
    try:
        found = read_answers(value) if role in LIST_COLUMNS else read_text(value)
    except ValueError as error:
        if is_optional:
            return ""
        raise ValueError(f"'{column}': {error}") from None
    if not found and not is_optional:
        raise ValueError(f"'{column}': {NO_TEXT}")
    return found


def _get_old(collector: RowCollector, table: ColumnMapping, value: Any) -> list[str]:
    """The answers before; a cell that has a value and no text is counted."""
    try:
        return read_answers(value)
    except ValueError as error:
        collector.drop("base", f"'{table['old']}': {error}")
        return []


def _add_wordings(collector: RowCollector, relation: str) -> None:
    """Add the wordings of a property number of Wikidata."""
    if relation not in collector.wordings and (known := load_relations().get(relation)):
        collector.wordings[relation] = {"label": known.label, "wordings": [*known.wordings]}


def _get_date(value: Any, date: str, order: DayOrder) -> str:
    try:
        return normalize_date(unwrap(value), order)
    except ValueError as error:
        if date and str(error) == NO_DATE:
            return date
        raise


def _get_end(value: Any, start: str, order: DayOrder) -> dict[str, str]:
    """The end of a fact, if it has one. Raises ValueError for an end before the start."""
    try:
        end = normalize_date(unwrap(value), order)
    except ValueError as error:
        if str(error) == NO_DATE:
            return {}
        raise
    if last_day(*parse_date(end)) < parse_date(start)[0]:
        raise ValueError("an end before its start")
    return {"end": end}


def _fill_prompt(text: str, subject: str) -> str:
    """A prompt with its subject in place of {}, and our blank in place of another blank.

    Raises ValueError for {} without a subject, and for several blanks.
    """
    if SLOT in text and not subject:
        raise ValueError(NO_SUBJECT)
    text = text.replace(SLOT, subject) if subject else text
    try:
        parts = split_at_blank(text)
    except ValueError:
        raise ValueError(SEVERAL_BLANKS) from None
    return blank_out(*parts) if parts else text
