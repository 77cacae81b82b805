"""What is written for other programs reads back as what it was."""

import csv
import re
from dataclasses import replace
from io import StringIO
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fki.comparison.types import Comparison
from fki.core.formatting import format_number
from fki.report import metric_roles, table_formats
from fki.report.table_formats import to_csv, to_latex, to_markdown

ODD = r"a_b | <i>&amp; *x* [y](z) `c` #1 ~50 % $2 {k} \n ^ " + '"q"'


def test_csv_has_a_row_for_each_arm_and_metric(comparison: Comparison) -> None:
    [group] = comparison.groups
    rows = list(csv.DictReader(StringIO(to_csv(comparison))))
    assert len(rows) == len(group.arms) * len(group.metrics)
    for row in rows:
        arm = group.arm(row["arm"])
        value = arm.estimates[row["metric"]]
        told = [row["value"], row["low"], row["high"], row["n"], row["seeds"]]
        known = [value.value, value.low, value.high, value.n, len(arm.seeds)]
        rounded = [v if v is None or isinstance(v, int) else round(v, 4) for v in known]
        assert told == ["" if v is None else str(v) for v in rounded]
        difference = group.difference(arm.name, row["metric"])
        if difference is None:
            assert row["verdict"] == row["p"] == ""
        else:
            assert row["verdict"] == difference.verdict and row["test"] == difference.test
            assert row["p_holm"] == ("" if difference.p_holm is None else str(difference.p_holm))


def cells(tokens: list[Token]) -> list[list[str]]:
    """The rows of all tables that Markdown was read as, as plain text."""
    rows: list[list[str]] = []
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("th_open", "td_open"):
            rows[-1].append("".join(part.content for part in token.children or []))
    return rows


def test_csv_has_sensible_digits_and_no_formulas(comparison: Comparison) -> None:
    [group] = comparison.groups
    first, *others = group.arms
    key = group.metrics[0].key
    noisy = replace(first.estimates[key], value=100.0000025, low=-99.9999975)
    odd = replace(first, name="=1+1", estimates={**first.estimates, key: noisy})
    changed = replace(comparison, groups=(replace(group, arms=(odd, *others)),))
    rows = [r for r in csv.DictReader(StringIO(to_csv(changed))) if r["metric"] == key]
    assert (rows[0]["arm"], rows[0]["value"], rows[0]["low"]) == ("'=1+1", "100.0", "-100.0")


def test_markdown_reads_back_as_the_tables(comparison: Comparison) -> None:
    [group] = comparison.groups
    read = MarkdownIt("commonmark").enable("table").parse(to_markdown(comparison))
    rows = cells(read)
    scores = {
        row[0]: row for row in rows if len(row) == 8 and row[0] in [a.name for a in group.arms]
    }
    assert len(scores) == 3
    for arm in group.arms:
        for metric, cell in zip(group.metrics, scores[arm.name][2:6], strict=True):
            value = arm.estimate(metric.key)
            interval = metric_roles.format_interval(value, metric.digits)
            text = f"{format_number(value.value, metric.digits)} {interval}"
            assert cell == text.strip()
    verdicts = [row[-1] for row in rows if len(row) == 8 and row[-1] in {"better", "worse"}]
    assert len(verdicts) == sum(d.verdict in ("better", "worse") for d in group.differences)


def test_markdown_shows_odd_text_as_it_is(comparison: Comparison) -> None:
    [group] = comparison.groups
    odd = replace(group, arms=(replace(group.arms[0], name=ODD),), differences=())
    read = MarkdownIt("commonmark").enable("table").parse(to_markdown(Comparison((odd,), {})))
    assert cells(read)[1][0] == ODD


def unescaped(text: str) -> str:
    """What LaTeX prints of text that was escaped."""
    signs = {**{v: k for k, v in table_formats.LATEX_ESCAPES.items()}, "$-$": "-"}
    pattern = "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True))
    return re.sub(pattern, lambda found: signs[found[0]], text)


def test_latex_escapes_every_sign_that_means_something_to_it() -> None:
    text = table_formats.escape_latex(ODD)
    assert unescaped(text) == ODD
    plain = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]|\{\[\}", "", text)
    assert not re.search(r"[\\&%$#_{}^~<>|\"\[]", plain)
    assert table_formats.escape_latex("-1.5 to 2, t5-mini, a\nb") == "$-$1.5 to 2, t5-mini, a b"


def test_latex_tables_are_sound(comparison: Comparison) -> None:
    [group] = comparison.groups
    text = to_latex(comparison)
    for name in ("table", "tabular", "itemize"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 0
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.S)
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    rows = [line for line in tables[0][1].splitlines() if line.endswith(r"\\")][1:]
    assert [unescaped(row.split(" & ")[0].strip()) for row in rows] == [a.name for a in group.arms]
    assert r"\textbf{99.3 {[}98.8, 100.0]}" in text


@pytest.mark.parametrize("write", [to_csv, to_latex, to_markdown])
def test_every_format_says_the_warnings(comparison: Comparison, write: object) -> None:
    assert callable(write)
    text = str(write(comparison)).replace("\\", "")
    assert "Two seeds only" in text and "The groups differ in their data." in text


@pytest.mark.parametrize("write", [to_latex, to_markdown])
def test_every_text_says_what_was_left_out(comparison: Comparison, write: object) -> None:
    assert callable(write)
    assert "runs/broken_1" in str(write(comparison)).replace("\\", "")


@pytest.mark.parametrize("write", [to_csv, to_latex, to_markdown])
def test_nothing_to_compare_can_be_written(write: object) -> None:
    assert callable(write)
    assert isinstance(write(Comparison((), {})), str)


def test_without_a_baseline_there_is_one_table(comparison: Comparison) -> None:
    [group] = comparison.groups
    alone = Comparison((replace(group, baseline="", differences=()),), {})
    assert to_latex(alone).count(r"\begin{tabular}") == 1
    assert "Differences" not in to_markdown(alone)
