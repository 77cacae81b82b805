"""Writes a comparison, or one run, as a single HTML file."""

from pathlib import Path

from fki.comparison.breakdown import break_down
from fki.comparison.compare import compare
from fki.comparison.run_details import read_run_details
from fki.comparison.types import Comparison
from fki.core.atomic_io import write_text
from fki.report.comparison_page import render_comparison
from fki.report.run_page import render_run
from fki.runs.run_dir import REPORT, Run


def write_page(comparison: Comparison, file: Path) -> None:
    """Write the page of a comparison, or of its only run. Raises FkiError where this fails."""
    write_text(file, render_page(comparison))


def write_run_page(folder: Path) -> None:
    """Write report.html into a finished run's folder. Raises FkiError where this fails."""
    write_page(compare([folder]), folder / REPORT)


def render_page(comparison: Comparison) -> str:
    """The page, with the details of the runs that it is about."""
    folders = [folder for g in comparison.groups for arm in g.arms for folder in arm.runs]
    if len(folders) != 1:
        return render_comparison(comparison, break_down(comparison))
    run = Run(Path(folders[0]))
    return render_run(comparison.groups[0], run.info, read_run_details(run))
