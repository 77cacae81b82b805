"""Pages of finished runs, as files."""

from pathlib import Path
from typing import TYPE_CHECKING

from fki.core.errors import FkiError

if TYPE_CHECKING:
    from fki.commands._console import Show
    from fki.comparison.types import Comparison


def check_page_path(file: Path) -> None:
    """Raises FkiError where a page would be written over something, or cannot be written."""
    if file.exists() or file.is_symlink():
        raise FkiError(
            f"--html {file} exists, and fki overwrites nothing.",
            hint="Give another name, or move that file.",
        )
    if not file.parent.is_dir():
        raise FkiError(f"There is no folder {file.parent} for --html {file}.")


def compare_run(target: str) -> "Comparison":
    """What there is to say of a finished run. Raises FkiError where it is none."""
    from fki.comparison.compare import compare
    from fki.core.errors import ConfigError, DataError
    from fki.runs.open_run import find_run

    run, _ = find_run(target)
    if run is None:
        raise ConfigError(f"--html is for runs, and '{target}' is a model.")
    found = compare([run.folder])
    for folder, reason in found.left_out.items():
        raise DataError(f"{folder} cannot be told of on a page: {reason}")
    return found


def write_report(run: Path, show: "Show") -> None:
    """Write report.html into a finished run's folder; a problem becomes a note."""
    from fki.report.html_page import write_run_page
    from fki.runs.run_dir import REPORT

    try:
        write_run_page(run)
    except FkiError as error:
        show.note(f"{REPORT} was not written: {error}")
