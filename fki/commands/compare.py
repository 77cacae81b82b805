"""`fki compare`: which method is better, and how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fki.commands._compare_tables import (
    describe_columns,
    difference_table,
    iter_arm_rows,
    main_table,
    wide_table,
)
from fki.commands._console import Show
from fki.commands._html import check_page_path
from fki.commands._options import Json
from fki.core.errors import ConfigError

if TYPE_CHECKING:
    from fki.comparison.types import Comparison, Group

MOST = 8  # runs that are left out and named, unless --wide


def compare(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs, or runs.", show_default="runs/")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="What makes an arm: method, preset, version, seed or a setting.",
            show_default="all settings but the seed",
        ),
    ] = "",
    baseline: Annotated[
        str,
        typer.Option(metavar="ARM", help="What arms are compared with.", show_default="vanilla"),
    ] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What to show, such as updated.learned; again for more."),
    ] = None,
    sort: Annotated[str, typer.Option(metavar="NAME", help="The metric to sort arms by.")] = "",
    wide: Annotated[
        bool, typer.Option("--wide", help="All metrics, with intervals, and all differences.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compare also what is not comparable, and say so.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with all figures, too.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write each figure as an SVG file, too.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV on stdout.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="As LaTeX on stdout.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown on stdout.")] = False,
    as_json: Json = False,
) -> None:
    """Compare methods: what they learned, kept, forgot and cost, and how sure that is.

    Runs that differ in nothing but the seed are one arm. Arms are compared with a baseline, probe
    by probe, where they were asked the same questions of the same base model.
    """
    from fki.comparison.compare import compare as compare_runs

    forms = [
        name for name, on in (("csv", as_csv), ("latex", as_latex), ("markdown", as_markdown)) if on
    ]
    if len(forms) + as_json > 1:
        raise ConfigError("Of --csv, --json, --latex and --markdown only one can be on stdout.")
    if html:
        check_page_path(html)
    show = Show(as_json=as_json)
    found = compare_runs(
        folders or [Path("runs")],
        by=by,
        baseline=baseline,
        metrics=metric or [],
        everything=wide,
        force=force,
    )
    if forms:
        _print(found, forms[0], show)
    for number, group in enumerate(() if forms else found.groups):
        if number:
            show.out.print()
        _show(group, show, sort=sort, is_wide=wide)
        for row in iter_arm_rows(group):
            show.data(**row)
    _rest(found, show, is_wide=wide)
    _write(found, html, figures, show)


def _print(found: "Comparison", form: str, show: Show) -> None:
    """The comparison for another program."""
    from fki.report import table_formats

    for group in found.groups:
        show.notes(group.warnings)
    write = {
        "csv": table_formats.to_csv,
        "latex": table_formats.to_latex,
        "markdown": table_formats.to_markdown,
    }
    show.text(write[form](found))


def _write(found: "Comparison", html: Path | None, figures: Path | None, show: Show) -> None:
    """The page and the figures, where they are asked for."""
    if html:
        from fki.report.html_page import write_page

        write_page(found, html)
        show.note(f"The page is {html}")
    if figures:
        from fki.report.save_figures import save_figures

        saved = save_figures(found, figures)
        show.note(f"{len(saved)} figures are in {figures}")


def _show(group: "Group", show: Show, *, sort: str, is_wide: bool) -> None:
    """One group: what it says of each arm, and of the differences to the baseline."""
    for warning in group.warnings:
        show.note(f"Note: {warning}")
    show.table((wide_table if is_wide else main_table)(group, sort))
    show.out.print(describe_columns(group), style="dim")
    if group.baseline:
        show.out.print()
        table, words = difference_table(group, is_wide=is_wide)
        if table.row_count:
            show.table(table)
        show.out.print(words, style="dim")


def _rest(found: "Comparison", show: Show, *, is_wide: bool) -> None:
    """What was not compared, and why."""
    named = list(found.left_out.items())
    for folder, reason in named if is_wide else named[:MOST]:
        show.note(f"Left out: {folder}: {reason}")
    if len(named) > MOST and not is_wide:
        show.note(f"{len(named) - MOST} more are left out; --wide names them.")
    for folder, reason in named:
        show.data(skipped=folder, reason=reason)
    if len(found.groups) > 1:
        show.note(
            f"These are {len(found.groups)} groups of runs, which are not compared with one "
            "another. They differ in"
        )
        for difference in found.group_differences:
            show.note(f"  {difference}")
        show.note("Give the folders of one group, or --force.")
