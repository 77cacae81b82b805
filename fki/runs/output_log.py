"""The setting `output_log`: an additional copy of the scores as .csv or .jsonl."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from fki.core.atomic_io import write_text
from fki.core.errors import ConfigError
from fki.core.paths import expand_path


def output_file(output_log: str) -> Path | None:
    """The file to write: a .csv or .jsonl, or `scores.csv` in a folder; None for ""."""
    if not output_log:
        return None
    path = expand_path(output_log)
    return path if path.suffix in (".csv", ".jsonl") else path / "scores.csv"


def check(output_log: str) -> None:
    """Create the folder of the file.

    Raises ConfigError if the folder cannot be created or if the file exists.
    """
    file = output_file(output_log)
    if file is None:
        return
    if file.exists():
        raise ConfigError(
            f"output_log: {file} exists; fki does not overwrite it.",
            hint="Give another output_log.",
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"output_log: the folder {file.parent} cannot be created: {error.strerror}.",
            hint="Give another output_log.",
        ) from None


def write_missing(output_log: str, rows: list[dict[str, Any]]) -> None:
    """Write the file of a run that is done, unless it exists."""
    file = output_file(output_log)
    if file is not None and not file.exists():
        check(output_log)
        write(output_log, rows)


def write(output_log: str, rows: list[dict[str, Any]]) -> None:
    """Write one line for each score: row, probe set, period and numbers."""
    file = output_file(output_log)
    if file is None:
        return
    lines = [{"after": row["after"], **score} for row in rows for score in row["scores"]]
    if file.suffix == ".jsonl":
        write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(file, text.getvalue())
