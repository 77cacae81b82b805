"""Tables of a dataset on the Hub, or of a folder like one, as a dataset of ours.

Columns are mapped by name: facts have subject, relation, object, date (or start) and perhaps end;
prompts have prompt, target, date; documents have text, date and perhaps title, id. `old` is the
answer of before, a base fact, so that its question is `updated`. `answers.text` is the field
`text` in the column `answers`.
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

ROW_KINDS = {  # what each kind of row needs, beside its date, and what it may have
    "text": (("text",), ("title", "id")),
    "prompt": (("prompt", "target"), ("old",)),
    "subject": (("subject", "relation", "object"), ("end", "old")),
}
OUR_COLUMNS = (
    *("subject", "relation", "object", "date", "start", "end", "old"),
    *("prompt", "target", "text", "title", "id"),
)
LIST_COLUMNS = ("object", "target", "old")  # columns of ours that hold one answer or several
BLANKS = ("[MASK]", "<mask>", "_X_")  # of other people's questions
ColumnMapping = dict[str, str]  # ours -> theirs


class TableSource(NamedTuple):
    """Files to read, and what is known of them."""

    title: str
    files: Mapping[str, Path]
    selection: TableSelection
    license: str
    origins: list[SourceRecord]


def open_hub_tables(
    address: str, subset: str, split: str, revision: str, watch: OnProgress | None = None
) -> TableSource:
    """Tables of a dataset on the Hub, hub:owner/name. Raises DataError where none can be had."""
    snapshot = hub.pin_snapshot(address.removeprefix(hub.HUB_PREFIX), revision)
    card = read_card(snapshot.folder / hub.CARD)
    selection = select_files(snapshot.names, card, subset, split)
    files = dict(
        zip(selection.names, hub.fetch_files(snapshot, selection.names, watch), strict=True)
    )
    told = card_license(card)
    origin = SourceRecord(snapshot.name, told, snapshot.revision, snapshot.url)
    return TableSource(snapshot.name, files, selection, told, [origin])


def open_folder_tables(folder: Path, subset: str, split: str) -> TableSource:
    """Tables of a folder that is laid out as a dataset on the Hub is, or of one file.

    Raises DataError where there are none.
    """
    if not folder.exists():
        raise DataError(f"There is nothing at {folder}.", hint="Give a folder with tables.")
    root = folder if folder.is_dir() else folder.parent
    found = [folder] if folder.is_file() else sorted(f for f in root.rglob("*") if f.is_file())
    if not found:
        raise DataError(f"There is nothing in {folder}.", hint="Give a folder with tables.")
    card = read_card(root / hub.CARD)
    selection = select_files([f.relative_to(root).as_posix() for f in found], card, subset, split)
    files = {name: root / name for name in selection.names}
    told = card_license(card)
    origins = [SourceRecord(n, told, f"sha256 {file_digest(f)}") for n, f in files.items()]
    return TableSource(folder.name, files, selection, told, origins)


def parse_columns(text: str) -> ColumnMapping:
    """`subject=a,object=b` as a table. Raises ConfigError for a name that is none of ours."""
    found: ColumnMapping = {}
    for part in filter(None, text.split(",")):
        own, sign, theirs = (word.strip() for word in part.partition("="))
        own = "date" if own == "start" else own
        if not sign or not theirs or own not in OUR_COLUMNS or own in found:
            what = "is there twice" if own in found else "is no column of fki's rows"
            raise ConfigError(
                f"--columns {part}: '{own}' {what if sign and theirs else 'lacks its column'}."
                f"{did_you_mean(own, OUR_COLUMNS) if own not in OUR_COLUMNS else ''}",
                hint="Write: --columns subject=THEIRS,relation=THEIRS,object=THEIRS,date=THEIRS",
            )
        found[own] = theirs
    return found


def draft_dataset(
    name: str, source: TableSource, asked: ColumnMapping, date: str, command: str
) -> DatasetDraft:
    """The dataset that the tables make.

    Args:
        name: what it will be called.
        asked: columns; those of our own names where it is empty.
        date: of rows that tell none.

    Raises DataError where a column is missing, or nothing can be used.
    """
    collector, table = RowCollector(), asked
    for file in source.selection.names:
        there = read_columns(source.files[file], file)
        if not there:  # it has no rows
            continue
        table = table or {("date" if o == "start" else o): o for o in OUR_COLUMNS if o in there}
        _check_columns(table, there, file, date)
        for cells in read_table(source.files[file], file):
            _add_row(collector, table, cells, date)
    if "stream" not in collector.tables:
        raise DataError(
            f"Nothing of '{source.title}' can be learned"
            + (
                f": {collector.dropped.most_common(1)[0][0]}."
                if collector.dropped
                else ": it has no rows."
            ),
            hint="Are these the right columns? " + _format_columns(table),
        )
    words = ", ".join(f"`{own}` is `{theirs}`" for own, theirs in table.items())
    return DatasetDraft(
        name,
        source.title,
        f"Made of the tables of {source.title}: {words}."
        + (f" Of it: {source.selection.description}." if source.selection.description else ""),
        source.license,
        source.origins,
        dict(collector.tables),
        dropped=collector.dropped,
        notes=[f"Rows that tell no date are learned at {date}."] if date else [],
        command=command,
    )


def _format_columns(table: ColumnMapping) -> str:
    return "--columns " + ",".join(f"{own}={theirs}" for own, theirs in table.items())


def _row_kind(table: ColumnMapping) -> str:
    return next((kind for kind in ROW_KINDS if kind in table), "subject")


def _check_columns(table: ColumnMapping, there: list[str], name: str, date: str) -> None:
    """Raises DataError where a column is not there, ConfigError where one is not asked for."""
    listed = f"{name} has the columns {', '.join(there) or '(none)'}."
    for theirs in table.values():
        if theirs not in there and theirs.partition(".")[0] not in there:
            raise DataError(
                f"There is no column '{theirs}'.{did_you_mean(theirs, there)} {listed}",
                hint="Give --columns with names that are there.",
            )
    needed, more = ROW_KINDS[_row_kind(table)]
    missing = [column for column in needed if column not in table]
    missing += ["date"] * ("date" not in table and not date)
    if missing:
        also = "   or, for all rows: --date 2021-04-30" if missing[-1] == "date" else ""
        raise ConfigError(
            f"No column is given as {', '.join(missing)}. {listed}",
            hint=f"Write: --columns {','.join(f'{m}=THEIRS' for m in [*table, *missing])}{also}",
        )
    if strange := [own for own in table if own not in (*needed, *more, "date")]:
        raise ConfigError(
            f"A row with '{needed[0]}' has no '{strange[0]}'.",
            hint=f"It may have: {', '.join((*needed, 'date', *more))}",
        )


def _add_row(collector: RowCollector, table: ColumnMapping, cells: Cells, date: str) -> None:
    """Keep one row of theirs, or count it with the reason."""
    row = {own: _get_value(cells, theirs, own) for own, theirs in table.items()}
    try:
        day = _get_date(row.pop("date", None), date)
        end = _get_end(row.pop("end", None), day)
    except ValueError as error:
        return collector.drop("stream", str(error))
    old = row.pop("old", None)
    before = (parse_date(day)[0] - timedelta(days=1)).isoformat() if old else ""
    if "text" in row:
        more = {own: text for own in ("title", "id") if (text := row.get(own))}
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
    """The day that a fact ends, where it does. Raises ValueError where that is before its start."""
    try:
        end = normalize_date(value)
    except ValueError as error:
        if str(error) == NO_DATE:
            return {}
        raise
    if last_day(*parse_date(end)) < parse_date(start)[0]:
        raise ValueError("an end before its start")
    return {"end": end}


def _get_value(cells: Cells, path: str, own: str) -> Any:
    """What is in a column of theirs, as our rows hold it."""
    value = cells.get(path)
    if path not in cells:
        column, *inner = path.split(".")
        value = cells.get(column)
        for part in inner:
            value = _get_field(value, part)
    if own in ("date", "start", "end"):
        return value[0] if isinstance(value, list) and len(value) == 1 else value
    if own in LIST_COLUMNS:
        parts = value if isinstance(value, list) else [value]
        return list(dict.fromkeys(text for part in parts if (text := _cell_text(part))))
    return _cell_text(value[0] if isinstance(value, list) and len(value) == 1 else value)


def _get_field(value: Any, part: str) -> Any:
    """A field of an object, or of each object in a list."""
    if isinstance(value, list):
        return [_get_field(each, part) for each in value]
    return value.get(part) if isinstance(value, dict) else None


def _cell_text(value: Any) -> str:
    """A cell as text; empty where it holds none, or more than one value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        return ""
    return value.strip() if isinstance(value, str) else f"{value:.15g}"


def _replace_blank(text: str) -> str:
    """A question with our blank in place of another one that it has once."""
    signs = [sign for sign in BLANKS if text.count(sign) == 1 and SENTINEL not in text]
    return text.replace(signs[0], SENTINEL) if len(signs) == 1 else text
