"""Collects rows for a dataset: valid ones in tables, others counted by the reason they fail."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fki.core.control_characters import find_control
from fki.data.prompts import blank_out, split_at_blank
from fki.data.row_schema import get_label, get_text, get_texts, parse_question
from fki.sources.dataset_writer import Row
from fki.sources.row_spool import RowSpool, SeenDigests

EMPTY = "an empty prompt, answer or text"
RESERVED = "a reserved token such as <extra_id_0>, or a text of one word"
CONTROL = "a control character"
DUPLICATE = "a duplicate"


@dataclass(slots=True)
class RowCollector:
    """The rows collected so far, by table, and the skipped rows, by reason."""

    tables: dict[str, RowSpool] = field(default_factory=lambda: defaultdict(RowSpool))
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    wordings: dict[str, Row] = field(default_factory=dict)
    seen: SeenDigests = field(default_factory=SeenDigests)

    def add_prompt(self, table: str, prompt: Any, answers: Any, **more: Any) -> bool:
        """Add a prompt with its answers, each a training target; its blank becomes `___`.

        Returns False if the row is invalid.
        """
        prompt = _with_neutral_blank(prompt)
        key = "answers" if table.startswith("probes/") else "target"
        answers = [answers] if isinstance(answers, str) else list(answers or [])
        row = {"prompt": prompt, key: answers, **more}
        columns = [name for name in (key, "aliases", "old_answers", "distractors") if name in row]
        return self._add(table, row, lambda: _check_prompt(row, columns))

    def check_prompt(self, table: str, prompt: str, target: str) -> bool:
        """Does `add_prompt` accept this prompt and target? Any other is counted."""
        row = {"prompt": prompt, "target": target}
        try:
            parse_question(row), get_texts(row, "target")
        except ValueError:
            self.drop(table, _find_fault([prompt, target]))
            return False
        return True

    def add_fact(self, table: str, subject: Any, relation: Any, object: Any, **more: Any) -> bool:
        """Add a fact. Returns False if the row is invalid."""
        row = {"subject": subject, "relation": relation, "object": object, **more}
        return self._add(
            table,
            row,
            lambda: (get_text(row, "subject"), get_text(row, "relation"), get_texts(row, "object")),
        )

    def add_document(self, text: Any, date: str, **more: Any) -> None:
        """Add a document."""
        row = {"text": text, "date": date, **more}

        def check() -> None:
            texts = [get_text(row, name) for name in ("text", "id", "title") if name in row]
            if len(texts[0].split()) < 2 or any("<extra_id_" in part for part in texts):
                raise ValueError("one word, or a sentinel")

        self._add("stream", row, check)

    def drop(self, table: str, why: str) -> None:
        """Count a skipped row."""
        self.dropped[f"{table}: {why}"] += 1

    def _add(self, table: str, row: Row, check: Callable[[], object]) -> bool:
        """Add a row that `read_folder` accepts, once; count any other. Is the row valid?"""
        try:
            check()
            content = json.dumps([table, row], sort_keys=True, ensure_ascii=False).encode()
        except ValueError:
            self.drop(table, _find_fault([*row.values()]))
            return False
        if self.seen.is_new(hashlib.blake2b(content, digest_size=12).digest()):
            self.tables[table].append(row)
        else:
            self.drop(table, DUPLICATE)
        return True


def _check_prompt(row: Row, columns: list[str]) -> None:
    """Raises ValueError for a prompt row that `read_folder` refuses."""
    parse_question(row)
    for name in columns:
        get_texts(row, name)
    for name in ("subject", "relation"):
        get_label(row, name)


def _with_neutral_blank(prompt: Any) -> Any:
    """The prompt with its blank, of any kind, as `___`; a prompt that is invalid as it is."""
    try:
        parts = split_at_blank(prompt) if isinstance(prompt, str) else None
    except ValueError:
        parts = None
    return blank_out(*parts) if parts else prompt


def _find_fault(values: list[Any]) -> str:
    """The reason why the rows' reader refuses these values."""
    if not all(map(_has_text, values)):
        return EMPTY
    return CONTROL if _has_control(values) else RESERVED


def _has_control(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_control, value))
    return bool(find_control(value))


def _has_text(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_has_text(part) for part in value)
    return isinstance(value, str) and bool(value.strip())
