"""Writes a self-describing dataset folder: rows, wordings, a card and a manifest.

Every source of `fki download` has the same layout: `stream.jsonl`, `base.jsonl`,
`invariant.jsonl`, `probes/*.jsonl` and `relations.json`. With the card's configs,
`datasets.load_dataset` reads the same files.
"""

import unicodedata
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
MAX_RELATIONS = 40  # in a card


@dataclass(slots=True)
class DatasetDraft:
    """A dataset that is not yet written.

    `tables` are rows by the file's stem: "stream", "probes/new". They are read once per write and
    need not fit into memory. `dropped` counts skipped rows by reason and is complete after the
    rows are read. `notes` are known limits.
    """

    name: str
    title: str
    about: str
    license: str  # of the dataset, as the Hub spells it; "unknown" if no source states one
    origins: list[SourceRecord]
    tables: Mapping[str, Iterable[Row]]
    wordings: dict[str, Row] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    command: str = ""


@dataclass(slots=True)
class TableCounts:
    """The counts of a written table."""

    rows: int = 0
    first: str = ""  # the earliest date
    last: str = ""
    relations: Counter[str] = field(default_factory=Counter)

    def count(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the same rows and count them."""
        for row in rows:
            self.rows += 1
            if day := str(row.get("start") or row.get("date") or ""):
                self.first = min(self.first or day, day)
                self.last = max(self.last, day)
            if relation := row.get("relation"):
                self.relations[str(relation)] += 1
            yield row


def write_dataset(folder: Path, draft: DatasetDraft) -> None:
    """Write a dataset into an empty folder. Raises FkiError if the disk refuses."""
    counts = {}
    for stem, rows in draft.tables.items():
        iterator = iter(rows)
        if (first := next(iterator, None)) is None:
            continue  # no rows, no file
        counts[stem] = TableCounts()
        (folder / stem).parent.mkdir(exist_ok=True)
        write_lines(folder / f"{stem}.jsonl", counts[stem].count(chain([first], iterator)))
    if draft.wordings:
        write_json(folder / RELATIONS, draft.wordings)
    digest = folder_digest(folder)
    write_text(folder / CARD, format_card(draft, counts, digest))
    write_manifest(folder, draft, counts, digest)


def write_manifest(
    folder: Path, draft: DatasetDraft, tables: Mapping[str, TableCounts], digest: str
) -> None:
    """Write the digests of all files, and how the dataset was draft."""
    files = [*data_files(folder), folder / CARD]
    counts = {f"{stem}.jsonl": tally.rows for stem, tally in tables.items()}
    counts[RELATIONS] = len(draft.wordings)
    entries = {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        entries[name] = {"sha256": file_digest(file), "bytes": file.stat().st_size} | (
            {"rows": counts[name]} if name in counts else {}
        )
    write_json(
        folder / MANIFEST,
        {
            "name": draft.name,
            "files": entries,
            "digest": digest,
            "made": {
                "command": draft.command,
                "fki": __version__,
                "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "origins": {o.name: o.revision for o in draft.origins},
                "dropped": dict(draft.dropped),
            },
        },
    )


def format_card(draft: DatasetDraft, tables: Mapping[str, TableCounts], digest: str) -> str:
    """README.md, with the counts of the written tables."""
    parts = [
        _front_matter(draft, tables),
        f"# `{draft.name}`: {_one_line(draft.title)}",
        draft.about,
        _table(
            ["file", "rows"], [[f"`{stem}.jsonl`", f"{t.rows:,}"] for stem, t in tables.items()]
        ),
        f'Digest of the data files (SHA-256 over their sorted "name sha256" lines): `{digest}`',
        *_date_span(tables.get("stream", TableCounts())),
        "## Sources",
        _table(
            ["source", "revision", "license"],
            [
                [f"[{o.name}]({o.url})" if o.url else o.name, f"`{o.revision}`", o.license]
                for o in draft.origins
            ],
        ),
        "## How it was made",
        f"By fki {__version__} on {datetime.now(timezone.utc).date()} (UTC):",
        _code_block(draft.command),
        "## Skipped rows",
        _dropped_table(draft.dropped),
        *_relations_section(draft, tables),
        *(
            ["## Known limits", "\n".join(f"- {_one_line(note)}" for note in draft.notes)]
            if draft.notes
            else []
        ),
    ]
    return _without_controls("\n\n".join(parts) + "\n")


def _front_matter(draft: DatasetDraft, tables: Iterable[str]) -> str:
    """The front matter for the Hub and `datasets`: license, and one config per file."""
    import yaml

    configs = [
        {"config_name": stem.replace("/", "_")}
        | ({"default": True} if stem == "stream" else {})
        | {"data_files": f"{stem}.jsonl"}
        for stem in tables
    ]
    front = {
        "license": _one_line(draft.license),
        "language": ["en"],
        "pretty_name": _one_line(f"fki {draft.name}: {draft.title}"),
        "task_categories": ["question-answering"],
        "configs": configs,
    }
    text = yaml.safe_dump(front, allow_unicode=True, sort_keys=False, width=float("inf"))
    return f"---\n{text}---"


def _date_span(stream: TableCounts) -> list[str]:
    return [f"The stream runs from {stream.first} to {stream.last}."] if stream.last else []


def _dropped_table(dropped: Counter[str]) -> str:
    rows = [[why, f"{count:,}"] for why, count in dropped.most_common() if count]
    return _table(["reason", "rows"], rows) if rows else "None."


def _relations_section(draft: DatasetDraft, tables: Mapping[str, TableCounts]) -> list[str]:
    """The most frequent relations, with their rows by table."""
    stems = [stem for stem in ("base", "invariant", "stream") if stem in tables]
    counts = {stem: tables[stem].relations for stem in stems}
    total: Counter[str] = sum(counts.values(), Counter())
    if not total:
        return []
    rows = [
        [f"`{name}`", str(draft.wordings.get(name, {}).get("label", name))]
        + [f"{counts[stem][name]:,}" for stem in stems]
        for name, _ in total.most_common(MAX_RELATIONS)
    ]
    left = len(total) - len(rows)
    more = [f"... and {left} more relations."] if left > 0 else []
    return ["## Relations", _table(["id", "label", *stems], rows), *more]


def _table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    cells = ((escape_pipes(_one_line(cell)) for cell in row) for row in rows)
    return "\n".join(markdown_table(columns, cells))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _code_block(text: str) -> str:
    """A code block; its fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _without_controls(text: str) -> str:
    """The text with U+FFFD for control characters and lone surrogates, which no file may hold."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t"
        else sign
        for sign in text
    )
