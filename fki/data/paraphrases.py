"""Reads `paraphrases.jsonl`: further wordings of single facts, for training alone.

A row is `subject, relation, wordings` or `prompt, wordings`. Any program may write it, such as a
language model. Rows are kept in a temporary database, so that they need not fit into memory; each
is checked against every fact that it rewords.
"""

import json
import re
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fki.core.normalization import distinct_texts, normalize_text
from fki.core.types import BLANK, OBJECT, SUBJECT, Fact, PromptFormat
from fki.data.prompts import PROMPT_FORMS, fold_question, question_text, split_at_blank
from fki.data.row_files import Row, RowProblems, parse_rows
from fki.data.row_schema import check_characters, get_text, parse_question

PARAPHRASE_FILE = "paraphrases"  # without its suffix
SCHEMA = """
CREATE TABLE row (subject TEXT, relation TEXT, line INTEGER, wordings TEXT, used INTEGER,
    PRIMARY KEY (subject, relation, line)) WITHOUT ROWID;
"""


class Paraphrases:
    """The rows of a paraphrase file, by the subject and relation of their fact."""

    def __init__(
        self, file: Path, prompt: PromptFormat, held_out: Collection[str], problems: RowProblems
    ) -> None:
        """Read a file. Faulty rows are added to `problems`.

        Args:
            held_out: questions of the dataset's own probe sets that must not be trained on, as
                `fold_question` returns them.
        """
        self.file, self.prompt, self.held_out = file, prompt, held_out
        self.problems = problems
        self._found = set[tuple[int, str]]()  # line and fault, so that each is reported once
        self.db = sqlite3.connect("")  # a temporary file, which is deleted when it is closed
        self.db.executescript(SCHEMA)
        self.db.executemany(
            "INSERT INTO row VALUES (?, ?, ?, ?, 0)", parse_rows(file, self._parse, problems)
        )

    def _parse(self, row: Row) -> tuple[str, str, int, str]:
        """Raises ValueError for a row that no fact could have."""
        values = row.values
        if "prompt" in values:
            key = normalize_text(parse_question(values)[1]), ""
            wordings = [check_wording(text, "") for text in _get_wordings(values)]
        else:
            subject = get_text(values, "subject")
            key = normalize_text(subject), normalize_text(get_text(values, "relation"))
            wordings = [check_wording(text, subject) for text in _get_wordings(values)]
        return (*key, row.number, json.dumps(wordings))

    def add_to(self, fact: Fact) -> Fact:
        """The fact with its paraphrases; those that its answers or probes forbid are problems."""
        found = self.db.execute(
            "SELECT line, wordings FROM row WHERE subject = ? AND relation = ? ORDER BY line",
            fact.key,
        ).fetchall()
        if not found:
            return fact
        self.db.execute(
            "UPDATE row SET used = 1 WHERE subject = ? AND relation = ? AND NOT used", fact.key
        )
        texts = []
        for line, wordings in found:
            for wording in json.loads(wordings):
                if fault := self._find_fault(wording, fact):
                    self._report(line, f"'{wording}' {fault}")
                texts.append(wording)
        return replace(fact, paraphrases=distinct_texts(texts))

    def _report(self, line: int, fault: str) -> None:
        if (line, fault) not in self._found:
            self._found.add((line, fault))
            self.problems.add(self.file, line, fault)

    def _find_fault(self, wording: str, fact: Fact) -> str:
        """Why a wording must not be taught for a fact, or ""."""
        subject = "" if fact.subject == fact.prompt else fact.subject
        if subject and not _mentions(wording, subject):
            return f"does not mention the subject, '{subject}'"
        rest = fold_question(wording)
        for part in filter(None, (subject, SUBJECT, OBJECT)):  # may contain the answer
            rest = re.sub(_whole(fold_question(part)), "\0", rest)
        for answer in (*fact.objects, *fact.aliases):
            if _contains_word(rest, fold_question(answer)):
                return f"contains the answer, '{answer}'"
        if self._fold(wording, fact) in {
            *self.held_out,
            *(self._fold(held_out, fact) for held_out in fact.held_out_wordings),
        }:
            return "is the question of a probe that is never trained on"
        return ""

    def _fold(self, wording: str, fact: Fact) -> str:
        """The question of a wording, as the model reads it, for comparison."""
        read = PROMPT_FORMS[self.prompt].source
        return fold_question(read(question_text(wording, fact.subject)))

    def unused_lines(self) -> Iterator[int]:
        """The lines of the rows whose subject and relation, or prompt, no fact had so far."""
        query = "SELECT line FROM row WHERE NOT used ORDER BY line"
        return (line for (line,) in self.db.execute(query))

    def notes(self) -> list[str]:
        """A note about these rows; none if each row rewords a fact."""
        query = "SELECT COUNT(*), COUNT(*) FILTER (WHERE NOT used) FROM row"
        total, unused = self.db.execute(query).fetchone()
        if not unused:
            return []
        return [
            f"{unused:,} of {total:,} rows of {self.file.name} reword no fact: no row of the "
            "dataset has their subject and relation, or their prompt."
        ]


def check_wording(text: str, subject: str) -> str:
    """The wording with `[Y]` as its blank.

    Args:
        subject: the text that it must mention, if it has no `[X]`; "" for that of a prompt.
    Raises:
        ValueError: the blank does not occur exactly once, the subject is not mentioned, or nothing
            but the blank is left.
    """
    check_characters("wordings", text)
    wording = text.strip()
    try:
        parts = split_at_blank(wording)
    except ValueError as error:
        raise ValueError(f"'{text}' {error}") from None
    wording = OBJECT.join(parts) if parts else wording
    if (count := wording.count(OBJECT)) != 1:
        raise ValueError(f"'{text}' must contain {BLANK} or {OBJECT} once, not {count} times")
    if not subject and SUBJECT in wording:
        raise ValueError(f"'{text}' must not contain {SUBJECT}; it rewords a whole prompt")
    if subject and not _mentions(wording, subject):
        raise ValueError(f"'{text}' does not mention the subject, '{subject}', or {SUBJECT}")
    if not re.search(r"\w", wording.replace(OBJECT, "")):
        raise ValueError(f"'{text}' consists of its blank alone")
    return wording


# of a script with spaces between its words: not Thai to Myanmar, Khmer, kana and Han
LETTER = r"[^\W\u0e00-\u109f\u1780-\u17ff\u3040-\u9fff]"


def _mentions(wording: str, subject: str) -> bool:
    return SUBJECT in wording or _contains_word(fold_question(wording), fold_question(subject))


def _contains_word(text: str, word: str) -> bool:
    """Does the text contain the word, or words, not as a part of a longer word?"""
    return re.search(_whole(word), text) is not None


def _whole(word: str) -> str:
    """A pattern for the word, or words, not as a part of a longer word.

    Scripts that write words without spaces between them have no such boundary.
    """
    before = f"(?<!{LETTER})" if re.match(r"\w", word) else ""
    after = f"(?!{LETTER})" if re.search(r"\w$", word) else ""
    return f"{before}{re.escape(word)}{after}"


def _get_wordings(values: dict[str, Any]) -> list[str]:
    """One text or a list of texts. Raises ValueError for anything else, and for none."""
    found = values.get("wordings")
    cells = found if isinstance(found, list) else [found]
    texts = [text for text in cells if isinstance(text, str) and text.strip()]
    if not texts or len(texts) < len(cells):
        raise ValueError(f"'wordings' must be a text or a list of texts, not {found!r}")
    return texts
