"""Writes HTML pages about finished runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fki.core.errors import FkiError

if TYPE_CHECKING:
    from fki.commands._console import Show
    from fki.comparison.types import Comparison


def check_page_path(file: Path) -> None:
    """Raises FkiError where the file exists or its folder does not."""
    if file.exists() or file.is_symlink():
        raise FkiError(
            f"--html {file} already exists; fki does not overwrite files.",
            hint="Pass another name, or move that file.",
        )
    if not file.parent.is_dir():
        raise FkiError(f"Folder {file.parent} of --html {file} not found.")
    if not os.access(file.parent, os.W_OK):
        raise FkiError(
            f"--html {file} cannot be written: {file.parent} is read-only.",
            hint="Pass a file in another folder.",
        )


def compare_run(target: str) -> "Comparison":
    """The comparison of a finished run alone. Raises FkiError where the target is not one."""
    from fki.comparison.compare import compare
    from fki.core.errors import ConfigError, DataError
    from fki.runs.open_run import find_run

    run, _ = find_run(target)
    if run is None:
        raise ConfigError(f"--html needs a run, and '{target}' is a model.")
    comparison = compare([run.folder])
    for folder, reason in comparison.left_out.items():
        raise DataError(f"Cannot write a page about {folder}: {reason}")
    return comparison


def write_report(run: Path, show: "Show") -> None:
    """Write report.html into a finished run's folder; a problem becomes a note."""
    from fki.report.html_page import write_run_page
    from fki.runs.run_dir import REPORT

    try:
        write_run_page(run)
    except FkiError as error:
        show.note(f"{REPORT} was not written: {error}")
