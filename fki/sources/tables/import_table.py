"""Builds a dataset from any tables of the Hub or of a folder, by a mapping of their columns.

Facts have subject, relation, object, date (or start) and optionally end; prompts have prompt,
target, date; documents have text, date and optionally title, id. `old` is the answer before; it
becomes a base fact, so that the probe is `updated`. The column `answers.text` is the field `text`
of the column `answers`.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from fki.core.atomic_io import file_digest
from fki.core.calendar import last_day, parse_date
from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.data.prompts import SENTINEL
from fki.data.row_files import Cells, read_columns, read_table
from fki.net import hub
from fki.net.downloads import OnProgress
from fki.net.hub import card_license, read_card
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.row_collector import RowCollector
from fki.sources.tables.hub_layout import TableSelection, select_files
from fki.sources.tables.parse_date import NO_DATE, normalize_date

ROW_KINDS = {  # required columns of each kind of row, beside its date, and optional ones
    "text": (("text",), ("title", "id")),
    "prompt": (("prompt", "target"), ("old",)),
    "subject": (("subject", "relation", "object"), ("end", "old")),
}
ROLES = (
    *("subject", "relation", "object", "date", "start", "end", "old"),
    *("prompt", "target", "text", "title", "id"),
)
LIST_COLUMNS = ("object", "target", "old")  # roles with one answer or several
BLANKS = ("[MASK]", "<mask>", "_X_")  # in other datasets
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
    root = folder if folder.is_dir() else folder.parent
    found = [folder] if folder.is_file() else sorted(f for f in root.rglob("*") if f.is_file())
    if not found:
        raise DataError(f"{folder} is empty.", hint="Give a folder with tables.")
    card = read_card(root / hub.CARD)
    selection = select_files([f.relative_to(root).as_posix() for f in found], card, subset, split)
    files = {name: root / name for name in selection.names}
    license = card_license(card)
    origins = [SourceRecord(n, license, f"sha256 {file_digest(f)}") for n, f in files.items()]
    return TableSource(folder.name, files, selection, license, origins)


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

    Raises DataError if a column is missing, or no row is usable.
    """
    collector, table = RowCollector(), columns
    for file in source.selection.names:
        present = read_columns(source.files[file], file)
        if not present:  # it has no rows
            continue
        table = table or {("date" if o == "start" else o): o for o in ROLES if o in present}
        _check_columns(table, present, file, date)
        for cells in read_table(source.files[file], file):
            _add_row(collector, table, cells, date)
    if "stream" not in collector.tables:
        raise DataError(
            f"'{source.title}' contains no usable row"
            + (f": {collector.dropped.most_common(1)[0][0]}." if collector.dropped else "."),
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
        if column not in present and column.partition(".")[0] not in present:
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


def _add_row(collector: RowCollector, table: ColumnMapping, cells: Cells, date: str) -> None:
    """Add a row, or count it with the reason why it is skipped."""
    row = {role: _get_value(cells, column, role) for role, column in table.items()}
    try:
        day = _get_date(row.pop("date", None), date)
        end = _get_end(row.pop("end", None), day)
    except ValueError as error:
        return collector.drop("stream", str(error))
    old = row.pop("old", None)
    before = (parse_date(day)[0] - timedelta(days=1)).isoformat() if old else ""
    if "text" in row:
        more = {role: text for role in ("title", "id") if (text := row.get(role))}
        collector.add_document(row["text"], day, **more)
    elif "prompt" in row:
        if old:
            collector.add_prompt("base", _replace_blank(row["prompt"]), old, date=before)
        collector.add_prompt("stream", _replace_blank(row["prompt"]), row["target"], date=day)
    else:
        if old:
            collector.add_fact("base", row["subject"], row["relation"], old, start=before)
        collector.add_fact(
            "stream", row["subject"], row["relation"], row["object"], start=day, **end
        )


def _get_date(value: Any, date: str) -> str:
    try:
        return normalize_date(value)
    except ValueError as error:
        if date and str(error) == NO_DATE:
            return date
        raise


def _get_end(value: Any, start: str) -> dict[str, str]:
    """The end of a fact, if it has one. Raises ValueError for an end before the start."""
    try:
        end = normalize_date(value)
    except ValueError as error:
        if str(error) == NO_DATE:
            return {}
        raise
    if last_day(*parse_date(end)) < parse_date(start)[0]:
        raise ValueError("an end before its start")
    return {"end": end}


def _get_value(cells: Cells, path: str, role: str) -> Any:
    """The value of a column, as rows of fki contain it."""
    value = cells.get(path)
    if path not in cells:
        column, *inner = path.split(".")
        value = cells.get(column)
        for part in inner:
            value = _get_field(value, part)
    if role in ("date", "start", "end"):
        return value[0] if isinstance(value, list) and len(value) == 1 else value
    if role in LIST_COLUMNS:
        parts = value if isinstance(value, list) else [value]
        return list(dict.fromkeys(text for part in parts if (text := _cell_text(part))))
    return _cell_text(value[0] if isinstance(value, list) and len(value) == 1 else value)


def _get_field(value: Any, part: str) -> Any:
    """A field of an object, or of each object in a list."""
    if isinstance(value, list):
        return [_get_field(each, part) for each in value]
    return value.get(part) if isinstance(value, dict) else None


def _cell_text(value: Any) -> str:
    """A cell as text; "" if it is empty or has several values."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        return ""
    if isinstance(value, int):
        return str(value)  # all digits
    return value.strip() if isinstance(value, str) else f"{value:.15g}"


def _replace_blank(text: str) -> str:
    """A prompt with our blank in place of another blank that occurs once."""
    signs = [sign for sign in BLANKS if text.count(sign) == 1 and SENTINEL not in text]
    return text.replace(signs[0], SENTINEL) if len(signs) == 1 else text
