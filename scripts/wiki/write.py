"""Write sorted rows, and the files with their digests."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from wiki.relations import DATED, INVARIANT
from wiki.timeline import CUTOFF, UNTIL, Key, State

DATA = ("base.jsonl", "invariant.jsonl", "relations.json", "stream.jsonl")
Row = dict[str, object]


def make_row(key: Key, state: State) -> Row:
    """Make a row of base.jsonl or stream.jsonl."""
    objects = state.objects[0] if len(state.objects) == 1 else list(state.objects)
    return {
        "subject": key.subject,
        "relation": key.relation,
        "object": objects,
        "start": state.start,
        "end": state.end,
        "precision": state.precision,
        "source": key.source,
        "subject_id": key.subject_id,
    }


def base_rows(keys: Iterable[Key]) -> list[Row]:
    """The states at the cutoff, sorted by relation and subject."""
    rows = [make_row(k, k.base) for k in keys if k.base]
    return sorted(rows, key=lambda r: (r["relation"], r["subject"]))


def stream_rows(keys: Iterable[Key]) -> list[Row]:
    """Every change, sorted by date, relation and subject."""
    rows = [make_row(k, s) for k in keys for s in k.changes]
    return sorted(rows, key=lambda r: (r["start"], r["relation"], r["subject"]))


def invariant_rows(facts: Iterable[tuple[str, str, str]]) -> list[Row]:
    """The undated facts, in the columns of the dated ones."""
    return [
        {
            "subject": s,
            "relation": r,
            "object": o,
            "start": None,
            "end": None,
            "precision": None,
            "source": "pararel-trex",
            "subject_id": "",
        }
        for r, s, o in facts
    ]


def wordings(used: set[str]) -> dict[str, Row]:
    """Label and wordings of the relations in use, by id."""
    table: dict[str, Row] = {
        r.id: {"label": r.label, "wordings": [*r.wordings]} for r in DATED if r.id in used
    }
    for relation, (label, wordings) in INVARIANT.items():
        if relation in used:
            table[relation] = {"label": label, "wordings": [*wordings]}
    return table


def write_lines(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object per line."""
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    path.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write indented JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def digest(folder: Path) -> str:
    """SHA-256 over the sorted "name sha256" lines of the data files."""
    lines = "".join(f"{n} {sha256(folder / n)}\n" for n in sorted(DATA))
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256(path: Path) -> str:
    """The file's digest, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(folder: Path) -> None:
    """Write manifest.json; all other files must exist."""
    files = {n: _entry(folder / n) for n in sorted((*DATA, "README.md"))}
    write_json(
        folder / "manifest.json",
        {
            "name": "wiki",
            "cutoff": CUTOFF,
            "until": UNTIL,
            "files": files,
            "digest": digest(folder),
        },
    )


def _entry(path: Path) -> Row:
    text = path.read_text(encoding="utf-8")
    rows = len(json.loads(text)) if path.suffix == ".json" else text.count("\n")
    return {"sha256": sha256(path), "bytes": path.stat().st_size, "rows": rows}
