"""`fki compare`: compares methods, with 95% intervals and tests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fki.commands._compare_tables import (
    choice_row,
    choice_table,
    describe_columns,
    describe_rows,
    difference_table,
    iter_arm_rows,
    main_table,
    recommendation_row,
    wide_table,
)
from fki.commands._completion import complete_run
from fki.commands._console import Show
from fki.commands._html import check_page_path
from fki.commands._options import Json
from fki.commands._remote import fetch
from fki.core.errors import ConfigError

if TYPE_CHECKING:
    from fki.comparison.types import Comparison, Group, TrainingChoice

NAMED = 8  # skipped runs that are named without --wide


def compare(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Runs, or folders of runs.", show_default="runs/", autocompletion=complete_run
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="What arms are named by: method, preset, version, seed or a setting.",
            show_default="method",
        ),
    ] = "",
    baseline: Annotated[
        str,
        typer.Option(metavar="ARM", help="The arm to compare with.", show_default="vanilla"),
    ] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A metric to show: learning_gain, forgetting, bwt, fwt, acc, fuar, kar, kg, "
            "edit_score, f1, accuracy, log_likelihood, perplexity, old_em, contains, "
            "token_accuracy, success, magnitude, same_answer, same_tokens, case_em, "
            "precision_at_1, precision_at_10, test_passed, success_by_case, em_by_relation ..., "
            "or a probe set as in updated, updated.learned, updated.before, updated.f1.learned. "
            "Repeatable.",
        ),
    ] = None,
    sort: Annotated[str, typer.Option(metavar="NAME", help="Sort arms by this metric.")] = "",
    wide: Annotated[
        bool, typer.Option("--wide", help="Show all metrics with intervals, and all differences.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Compare runs even if their data or protocol differ; adds a warning."
        ),
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write an HTML page with all figures.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write each figure as an SVG file.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="LaTeX on stdout.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Markdown on stdout.")] = False,
    as_json: Json = False,
) -> None:
    """Compare methods: what they learned, kept, forgot and cost, with 95% intervals and tests.

    Runs that differ only in the seed form one arm. Arms are compared with a
    baseline, paired by probe. Runs are compared only if data, probes, base
    model and protocol match; otherwise the differences are listed.
    """
    from fki.comparison.compare import compare as compare_runs
    from fki.report.recommendation import describe_recommendation

    forms = [
        name for name, on in (("csv", as_csv), ("latex", as_latex), ("markdown", as_markdown)) if on
    ]
    if len(forms) + as_json > 1:
        raise ConfigError("Only one of --csv, --json, --latex and --markdown can write to stdout.")
    if html:
        check_page_path(html)
    show = Show(as_json=as_json)
    places = [Path(fetch(str(f), show, leave_out="checkpoints")) for f in folders or [Path("runs")]]
    with show.busy("reading and resampling the runs"):
        comparison = compare_runs(
            places,
            by=by,
            baseline=baseline,
            metrics=metric or [],
            everything=wide,
            force=force,
        )
    if forms:
        _print(comparison, forms[0], show)
    for number, group in enumerate(() if forms else comparison.groups):
        if number:
            show.out.print()
        if advice := describe_recommendation(group):
            show.findings([("Which one to take", " ".join(advice))])
        _show(group, show, sort=sort, is_wide=wide)
        if group.choice:
            _show_choice(group.choice, show)
        for row in iter_arm_rows(group):
            show.data(**row)
        if group.choice:
            show.data(**choice_row(group, group.choice))
        if group.recommendation:
            show.data(**recommendation_row(group, advice))
    _show_rest(comparison, show, is_wide=wide)
    _write_files(comparison, html, figures, show)


def _print(comparison: "Comparison", form: str, show: Show) -> None:
    """Print the comparison for another program."""
    from fki.report import table_formats

    for group in comparison.groups:
        show.notes(group.warnings)
    write = {
        "csv": table_formats.to_csv,
        "latex": table_formats.to_latex,
        "markdown": table_formats.to_markdown,
    }
    show.text(write[form](comparison))


def _write_files(
    comparison: "Comparison", html: Path | None, figures: Path | None, show: Show
) -> None:
    """Write the page and the figures, where requested."""
    if html:
        from fki.report.html_page import write_page

        write_page(comparison, html)
        show.note(f"Page: {html}")
    if figures:
        from fki.report.save_figures import save_figures

        saved = save_figures(comparison, figures)
        show.note(f"{len(saved)} figures: {figures}")


def _show(group: "Group", show: Show, *, sort: str, is_wide: bool) -> None:
    """Show one group: its arms, and their differences to the baseline."""
    for warning in group.warnings:
        show.note(f"Note: {warning}")
    show.table((wide_table if is_wide else main_table)(group, sort))
    show.out.print((describe_rows if is_wide else describe_columns)(group), style="dim")
    if group.baseline:
        show.out.print()
        table, note = difference_table(group, is_wide=is_wide)
        if table.row_count:
            show.table(table)
        show.out.print(note, style="dim")


def _show_choice(choice: "TrainingChoice", show: Show) -> None:
    """Show the untouched model, retrieval, the best trained arm and joint training together."""
    from fki.report.training_choice import describe_choice, describe_missing

    show.out.print()
    show.table(choice_table(choice))
    show.out.print(describe_choice(choice), style="dim")
    for sentence, command in describe_missing(choice):
        show.out.print(sentence, style="dim")
        show.out.print(f"  {command}", style="dim", soft_wrap=True)


def _show_rest(comparison: "Comparison", show: Show, *, is_wide: bool) -> None:
    """Show the skipped runs, and why groups are not compared with each other."""
    named = list(comparison.left_out.items())
    for folder, reason in named if is_wide else named[:NAMED]:
        show.note(f"Skipped {folder}: {reason}")
    if len(named) > NAMED and not is_wide:
        show.note(f"{len(named) - NAMED} more runs skipped; --wide names them.")
    for folder, reason in named:
        show.data(skipped=folder, reason=reason)
    if len(comparison.groups) > 1:
        show.note(
            f"{len(comparison.groups)} groups of runs, not compared with each other. They differ in"
        )
        for difference in comparison.group_differences:
            show.note(f"  {difference}")
        show.note("To compare them, pass --force; otherwise pass the runs of one group.")
