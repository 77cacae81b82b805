"""Rows of other people's data: kept where `read_folder` will take them, else counted by reason."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fki.data.row_schema import get_text, get_texts, parse_question
from fki.sources.dataset_writer import Row
from fki.sources.row_spool import RowSpool, SeenDigests

EMPTY = "an empty question, answer or text"
RESERVED = "a sign that fki or T5 keeps for itself, such as <extra_id_0>, or nothing but one word"
DUPLICATE = "the same again"


@dataclass(slots=True)
class RowCollector:
    """What was read so far, by table, and how much was left out, by reason."""

    tables: dict[str, RowSpool] = field(default_factory=lambda: defaultdict(RowSpool))
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    wordings: dict[str, Row] = field(default_factory=dict)
    seen: SeenDigests = field(default_factory=SeenDigests)

    def add_prompt(self, table: str, prompt: Any, answers: Any, **more: Any) -> None:
        """Keep a question with its answers, of which each is learned; the blank is ours."""
        key = "answers" if table.startswith("probes/") else "target"
        answers = [answers] if isinstance(answers, str) else list(answers or [])
        row = {"prompt": prompt, key: answers, **more}
        self._add(table, row, lambda: (parse_question(row), get_texts(row, key)))

    def add_fact(self, table: str, subject: Any, relation: Any, object: Any, **more: Any) -> None:
        """Keep a subject, relation and object."""
        row = {"subject": subject, "relation": relation, "object": object, **more}
        self._add(
            table,
            row,
            lambda: (get_text(row, "subject"), get_text(row, "relation"), get_texts(row, "object")),
        )

    def add_document(self, text: Any, date: str, **more: Any) -> None:
        """Keep a document."""
        row = {"text": text, "date": date, **more}

        def check() -> None:
            said = [get_text(row, name) for name in ("text", "id", "title") if name in row]
            if len(said[0].split()) < 2 or any("<extra_id_" in part for part in said):
                raise ValueError("one word, or a sentinel")

        self._add("stream", row, check)

    def drop(self, table: str, why: str) -> None:
        """Count a row that is left out."""
        self.dropped[f"{table}: {why}"] += 1

    def _add(self, table: str, row: Row, check: Callable[[], object]) -> None:
        """Keep a row that `read_folder` will take; count any other."""
        try:
            check()
            told = json.dumps([table, row], sort_keys=True, ensure_ascii=False).encode()
        except ValueError:
            is_empty = not all(_has_text(value) for value in row.values())
            return self.drop(table, EMPTY if is_empty else RESERVED)
        if not self.seen.is_new(hashlib.blake2b(told, digest_size=12).digest()):
            return self.drop(table, DUPLICATE)
        self.tables[table].append(row)


def _has_text(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_has_text(part) for part in value)
    return isinstance(value, str) and bool(value.strip())
