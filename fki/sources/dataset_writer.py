"""Writes a dataset folder that explains itself: rows, wordings, a card and a manifest.

What `fki download` makes of any source has the shape of the embedded dataset: `stream.jsonl`,
`base.jsonl`, `invariant.jsonl`, `probes/*.jsonl` and `relations.json`. The card's configs let
`datasets.load_dataset` read the same files.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

from fki import __version__
from fki.core.atomic_io import file_digest, write_json, write_lines, write_text
from fki.core.formatting import escape_pipes, markdown_table
from fki.data.dataset_folder import MANIFEST, data_files, folder_digest
from fki.net.resolve_source import SourceRecord

Row = dict[str, Any]
CARD, RELATIONS = "README.md", "relations.json"
MAX_RELATIONS = 40  # relations that a card lists


@dataclass(slots=True)
class DatasetDraft:
    """A dataset before it is written. `tables` are rows by the file's stem: "stream", "probes/new".

    They are gone through once for each time that it is written, and need not fit into memory.
    `dropped` counts what was left out, by reason, at the latest when the rows have been gone
    through; `notes` are limits that a reader should know.
    """

    name: str
    title: str
    about: str
    license: str  # of the whole, as the Hub spells it; "unknown" where no source says one
    origins: list[SourceRecord]
    tables: Mapping[str, Iterable[Row]]
    wordings: dict[str, Row] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    command: str = ""


@dataclass(slots=True)
class TableCounts:
    """What was written of a table."""

    rows: int = 0
    first: str = ""  # the earliest date
    last: str = ""
    relations: Counter[str] = field(default_factory=Counter)

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, counted as they go by."""
        for row in rows:
            self.rows += 1
            if day := str(row.get("start") or row.get("date") or ""):
                self.first = min(self.first or day, day)
                self.last = max(self.last, day)
            if relation := row.get("relation"):
                self.relations[str(relation)] += 1
            yield row


def write_dataset(folder: Path, made: DatasetDraft) -> None:
    """The files of a dataset, into an empty folder. Raises FkiError where the disk refuses."""
    filled = {}
    for stem, rows in made.tables.items():
        going = iter(rows)
        if (first := next(going, None)) is None:
            continue  # no rows, no file
        filled[stem] = TableCounts()
        (folder / stem).parent.mkdir(exist_ok=True)
        write_lines(folder / f"{stem}.jsonl", filled[stem].of(chain([first], going)))
    if made.wordings:
        write_json(folder / RELATIONS, made.wordings)
    told = folder_digest(folder)
    write_text(folder / CARD, format_card(made, filled, told))
    write_manifest(folder, made, filled, told)


def write_manifest(
    folder: Path, made: DatasetDraft, tables: Mapping[str, TableCounts], told: str
) -> None:
    """The digests of all files, once they are in place, and how they were made."""
    files = [*data_files(folder), folder / CARD]
    counts = {f"{stem}.jsonl": tally.rows for stem, tally in tables.items()}
    counts[RELATIONS] = len(made.wordings)
    entries = {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        entries[name] = {"sha256": file_digest(file), "bytes": file.stat().st_size} | (
            {"rows": counts[name]} if name in counts else {}
        )
    write_json(
        folder / MANIFEST,
        {
            "name": made.name,
            "files": entries,
            "digest": told,
            "made": {
                "command": made.command,
                "fki": __version__,
                "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "origins": {o.name: o.revision for o in made.origins},
                "dropped": dict(made.dropped),
            },
        },
    )


def format_card(made: DatasetDraft, tables: Mapping[str, TableCounts], told: str) -> str:
    """README.md, with its counts taken from what was written."""
    parts = [
        _front_matter(made, tables),
        f"# `{made.name}`: {made.title}",
        made.about,
        _table(
            ["file", "rows"], [[f"`{stem}.jsonl`", f"{t.rows:,}"] for stem, t in tables.items()]
        ),
        f'Digest of the data files (SHA-256 over their sorted "name sha256" lines): `{told}`',
        *_date_span(tables.get("stream", TableCounts())),
        "## Sources",
        _table(
            ["source", "revision", "license"],
            [
                [f"[{o.name}]({o.url})" if o.url else o.name, f"`{o.revision}`", o.license]
                for o in made.origins
            ],
        ),
        "## How it was made",
        f"By fki {__version__} on {datetime.now(timezone.utc).date()} (UTC):",
        f"```\n{made.command}\n```",
        "## What was left out",
        _dropped_table(made.dropped),
        *_relations_section(made, tables),
        *(["## Known limits", "\n".join(f"- {note}" for note in made.notes)] if made.notes else []),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(made: DatasetDraft, tables: Iterable[str]) -> str:
    """What the Hub and `datasets` read: license, and one config for each file."""
    configs = "".join(
        f"- config_name: {stem.replace('/', '_')}\n"
        + ("  default: true\n" if stem == "stream" else "")
        + f"  data_files: {stem}.jsonl\n"
        for stem in tables
    )
    title = json.dumps(f"fki {made.name}: {made.title}", ensure_ascii=False)
    return (
        f"---\nlicense: {made.license}\nlanguage:\n- en\npretty_name: {title}\n"
        f"task_categories:\n- question-answering\nconfigs:\n{configs}---"
    )


def _date_span(stream: TableCounts) -> list[str]:
    return [f"The stream runs from {stream.first} to {stream.last}."] if stream.last else []


def _dropped_table(dropped: Counter[str]) -> str:
    rows = [[why, f"{count:,}"] for why, count in dropped.most_common() if count]
    return _table(["why", "rows"], rows) if rows else "Nothing."


def _relations_section(made: DatasetDraft, tables: Mapping[str, TableCounts]) -> list[str]:
    """The relations that bring most, with what is trained on and what is asked."""
    stems = [stem for stem in ("base", "invariant", "stream") if stem in tables]
    counts = {stem: tables[stem].relations for stem in stems}
    total: Counter[str] = sum(counts.values(), Counter())
    if not total:
        return []
    rows = [
        [f"`{name}`", str(made.wordings.get(name, {}).get("label", name))]
        + [f"{counts[stem][name]:,}" for stem in stems]
        for name, _ in total.most_common(MAX_RELATIONS)
    ]
    left = len(total) - len(rows)
    more = [f"... and {left} more relations."] if left > 0 else []
    return ["## Relations", _table(["id", "label", *stems], rows), *more]


def _table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(markdown_table(columns, (map(escape_pipes, row) for row in rows)))
