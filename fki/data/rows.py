"""One row of a file, and what can be wrong with it, in words."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def json_row(line: str) -> dict[str, Any]:
    """A line of JSONL. Raises ValueError where it is no object, or has a column twice."""
    try:
        row = json.loads(line, object_pairs_hook=_object)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"a row is a JSON object, not {type(row).__name__}")
    return row


def check_unique(columns: Iterable[str]) -> None:
    """Raises ValueError where a column is there twice: which of them holds is anyone's guess."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise ValueError(f"the column '{twice[0]}' is there twice")


def bad_byte(file: Path) -> str:
    """ "line: what is wrong" of the first byte that is not UTF-8 text."""
    content = file.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"{line}: this is not UTF-8 text: byte 0x{content[error.start]:02x}"
    return "1: this is not UTF-8 text"  # it was, a moment ago


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_unique(name for name, _ in pairs)
    return dict(pairs)
