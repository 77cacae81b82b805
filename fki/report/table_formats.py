"""A comparison as text for other programs: CSV, LaTeX and Markdown."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from fki.comparison.types import Arm, Comparison, Group
from fki.core.formatting import markdown_table
from fki.metrics.registry import Metric
from fki.report.tables import Table, difference_table, score_table

COLUMNS = (
    *("group", "arm", "method", "metric", "label", "unit"),
    *("value", "low", "high", "n", "seeds", "note"),
    *("baseline", "difference", "difference_low", "difference_high"),
    *("p", "p_holm", "effect", "test", "verdict", "seeds_needed", "warnings"),
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # of a formula in a spreadsheet
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the beginning of a row it would be an option of the line break before
    '"': r"\textquotedbl{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
MARKDOWN_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {
    sign: f"\\{sign}" for sign in r"\`*_[]|~#"
}


def to_csv(comparison: Comparison) -> str:
    """One row per arm and metric, with four decimals; an undefined value is empty.

    P-values have six significant digits. A text that a spreadsheet would compute as a formula
    begins with an apostrophe.

    The last column has the group's warnings and the reasons why groups are apart.
    """
    out = StringIO()
    rows = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for group in comparison.groups:
        warnings = " ".join((*group.warnings, *comparison.group_differences))
        for arm in group.arms:
            for metric in group.metrics:
                row = {**_row(group, arm, metric), "warnings": warnings}
                rows.writerow({column: _csv_cell(column, value) for column, value in row.items()})
    return out.getvalue()


def _csv_cell(column: str, value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if column in ("p", "p_holm") else round(value, 4) + 0.0
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA_STARTS else value


def _row(group: Group, arm: Arm, metric: Metric) -> dict[str, Any]:
    estimate = arm.estimate(metric.key)
    row: dict[str, Any] = {"group": group.title, "arm": arm.name, "method": arm.method}
    row |= {"metric": metric.key, "label": metric.label, "unit": metric.unit}
    row |= {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    row |= {"n": estimate.n, "seeds": len(arm.seeds), "note": estimate.note}
    difference = group.difference(arm.name, metric.key)
    if difference is not None:
        row |= {"baseline": difference.baseline, "difference": difference.value}
        row |= {"difference_low": difference.low, "difference_high": difference.high}
        row |= {"p": difference.p, "p_holm": difference.p_holm, "effect": difference.effect}
        row |= {"test": difference.test, "verdict": difference.verdict}
        row |= {"seeds_needed": difference.seeds_needed}
    return row


def to_latex(comparison: Comparison) -> str:
    """Tables for a document with the package booktabs; warnings stand below them."""
    lines = [
        "% Needs \\usepackage[T1]{fontenc}, \\usepackage{booktabs} and \\usepackage{graphicx}."
    ]
    for group in comparison.groups:
        for table in (score_table(group), difference_table(group)):
            if table.rows:
                lines += [
                    "",
                    *_latex_table(
                        group.title, table, (*group.warnings, *comparison.group_differences)
                    ),
                ]
    if comparison.left_out:
        lines += ["", r"\paragraph{Left out}", *_latex_items(comparison.left_out)]
    return "\n".join(lines) + "\n"


def _latex_items(items: Mapping[str, str]) -> Iterator[str]:
    yield r"\begin{itemize}"
    for name, text in items.items():
        yield rf"  \item \texttt{{{escape_latex(name)}}}: {escape_latex(text)}"
    yield r"\end{itemize}"


def _latex_table(group: str, table: Table, warnings: Sequence[str]) -> Iterator[str]:
    """A table that is scaled down where it is wider than a line."""

    def line(cells: Iterable[str]) -> str:
        return "    " + " & ".join(cells) + r" \\"

    yield r"\begin{table}"
    yield r"  \centering"
    yield rf"  \caption{{{escape_latex(f'{group}: {table.title[0].lower()}{table.title[1:]}')}}}"
    yield r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"  \begin{{tabular}}{{{table.align}}}"
    yield r"    \toprule"
    yield line(map(escape_latex, table.head))
    yield r"    \midrule"
    yield from (line(_cells(row, escape_latex, r"\textbf{{{}}}")) for row in table.rows)
    yield r"    \bottomrule"
    yield r"  \end{tabular}}"
    yield rf"  \par\smallskip\footnotesize {escape_latex(table.note)}"
    yield from (rf"  \par\textbf{{Warning:}} {escape_latex(text)}" for text in warnings)
    yield r"\end{table}"


def to_markdown(comparison: Comparison) -> str:
    """Tables, each group under its own heading, warnings first."""
    lines = [f"> **Warning:** {escape_markdown(text)}\n" for text in comparison.group_differences]
    for group in comparison.groups:
        lines += [f"## {escape_markdown(group.title)}\n"]
        lines += [f"> **Warning:** {escape_markdown(text)}\n" for text in group.warnings]
        for table in (score_table(group), difference_table(group)):
            if table.rows:
                lines += [f"### {escape_markdown(table.title)}\n", *_markdown_table(table), ""]
    if comparison.left_out:
        lines += ["## Left out\n"]
        items = comparison.left_out.items()
        lines += [
            "".join(f"- {escape_markdown(name)}: {escape_markdown(text)}\n" for name, text in items)
        ]
    return "\n".join(lines)


def _markdown_table(table: Table) -> list[str]:
    head = [escape_markdown(cell) for cell in table.head]
    rows = [_cells(row, escape_markdown, "**{}**") for row in table.rows]
    return [*markdown_table(head, rows, table.align), "", escape_markdown(table.note)]


def _cells(row: Sequence[tuple[str, bool]], escape: Callable[[str], str], bold: str) -> list[str]:
    return [bold.format(escape(text)) if is_best else escape(text) for text, is_best in row]


def escape_latex(text: str) -> str:
    """Text that LaTeX prints literally, on one line, with minus signs before numbers."""
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", _replace(text, LATEX_ESCAPES))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows literally, on one line."""
    return _replace(text, MARKDOWN_ESCAPES)


def _replace(text: str, signs: Mapping[str, str]) -> str:
    pattern = "|".join(map(re.escape, signs))
    return re.sub(pattern, lambda match: signs[match[0]], " ".join(text.split()))
