"""The page of a comparison is one sound file that has what the comparison has, and no more."""

import json
import re
from base64 import b64decode
from dataclasses import replace

import pytest

from fki.comparison.breakdown import Answer, Breakdown, Contrast, RelationScore
from fki.comparison.types import Comparison, Group
from fki.core.formatting import format_number, format_p_value
from fki.report import metric_roles
from fki.report.comparison_page import render_comparison
from fki.report.page_template import typeset
from fki.report.table_formats import to_csv
from tests.support.html_page import Page

HOSTILE = "<script>alert(\"1\")</script> & 'x'"


@pytest.fixture
def details(group: Group) -> Breakdown:
    names = [arm.name for arm in group.arms]
    said = {names[0]: Answer("", False, 0.0), names[2]: Answer("Paris", True, 0.5)}
    return Breakdown(
        relations=(
            RelationScore(
                "invariant", "P36", 1200, dict.fromkeys(names, 12.34), "It is <extra_id_0>."
            ),
            RelationScore("new", HOSTILE, 3, {name: None for name in names}, HOSTILE),
        ),
        contrasts=(
            Contrast(
                "invariant", "P36", "The capital is <extra_id_0>.", ("Paris", "Lutetia"), said
            ),
        ),
        differing_count=17,
        probe_count=1234,
        skipped={"runs/lora-s1": "its samples.jsonl is <broken>."},
    )


def test_a_page_is_balanced_and_needs_nothing_but_itself(
    comparison: Comparison, details: Breakdown
) -> None:
    text = render_comparison(comparison, [details])
    found = Page(text)
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"link", "iframe", "img", "object", "embed", "form"}
    assert "http" not in text.replace("http-equiv", "") and "@import" not in text
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")]
        link = attributes.get("href") or attributes.get("xlink:href") or "#"
        assert link.startswith("#") or (tag == "a" and attributes.get("download"))
    assert not re.findall(r"url\((?!#)", text)


def test_the_same_comparison_is_the_same_page_to_the_last_byte(
    comparison: Comparison, details: Breakdown
) -> None:
    assert render_comparison(comparison, [details]) == render_comparison(comparison, [details])


def test_every_id_is_there_once(comparison: Comparison) -> None:
    twice = Comparison(comparison.groups * 2, {})
    ids = [a["id"] for _, a in Page(render_comparison(twice)).tags if "id" in a]
    assert len(ids) > 100 and len(set(ids)) == len(ids)
    tags = Page(render_comparison(twice)).tags
    links = [str(a["href"]) for tag, a in tags if tag == "a" and "download" not in a]
    assert {"#group-1", "#group-2", "#group-2-scores", "#how-to-read"} <= set(links)
    assert {link[1:] for link in links} <= set(ids)


def test_the_table_says_each_estimate_with_its_interval(comparison: Comparison) -> None:
    [group] = comparison.groups
    found = Page(render_comparison(comparison))
    for arm in group.arms:
        cells = found.row(0, arm.name)[2:]
        for metric, cell in zip(group.metrics, cells, strict=True):
            value = arm.estimate(metric.key)
            assert cell.split()[0] == format_number(value.value, metric.digits)
            assert typeset(metric_roles.format_interval(value, metric.digits)) in cell
    assert found.row(0, "vanilla")[1] == "2"
    assert "no gain in 1 of 2 seeds" in found.row(0, '<b>"&$')[5]
    assert found.tables[0][0][2].split() == ["Kept", "facts", "%", "↑n", "=", "500"]


def test_the_best_of_each_column_is_bold(comparison: Comparison) -> None:
    rows = render_comparison(comparison).split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]
    bold = [[" best" in cell for cell in row.split("<td")[2:]] for row in rows]
    assert bold == [[False, True, False, False], [False] * 4, [True, False, True, True]]


def test_the_cost_of_an_arm_is_told(comparison: Comparison) -> None:
    cells = Page(render_comparison(comparison)).row(1, "recadam")[1:]
    told = ["0, 1", "1.46 M", "1,308", "1.31 M", "2:39", "8,253", "25.0", "-"]
    assert cells == [*told, "-", "-", "-", "-"]


def test_an_arm_of_another_name_has_its_method_below(comparison: Comparison, group: Group) -> None:
    arm = replace(group.arms[2], name="learning_rate=0.1")
    named = replace(group, arms=(arm,), baseline="", differences=(), recommendation=None)
    page = Page(render_comparison(replace(comparison, groups=(named,))))
    assert [row[0].split() for row in page.tables[1]][1][1:] == ["learning_rate=0.1recadam"]


def test_each_difference_is_told_with_p_effect_and_verdict(comparison: Comparison) -> None:
    [group] = comparison.groups
    rows = [row for row in Page(render_comparison(comparison)).tables[2] if len(row) == 9][1:]
    assert len(rows) == len(group.differences)
    by_metric = [d for m in group.metrics for d in group.differences if d.metric == m.key]
    for row, difference in zip(rows, by_metric, strict=True):
        digits = next(m.digits for m in group.metrics if m.key == difference.metric)
        assert row[0].strip().endswith(difference.arm)
        assert row[1:] == [
            typeset(format_number(difference.value, digits, sign=True)),
            typeset(metric_roles.format_interval(difference, digits, sign=True)) or "-",
            format_p_value(difference.p),
            format_p_value(difference.p_holm),
            typeset(format_number(difference.effect, 2, sign=True)),
            difference.verdict,
            "-" if difference.seeds_needed is None else str(difference.seeds_needed),
            difference.test or "-",
        ]


def test_warnings_stand_before_any_number(comparison: Comparison) -> None:
    text = Page(render_comparison(comparison)).text
    first = text.index("Means over seeds")
    assert 0 < text.index("The groups differ in their data.") < first
    assert text.index("Which one to take") < text.index("50 % <fewer>") < first


def test_intervals_without_zero_and_without_a_verdict_are_explained(
    comparison: Comparison, group: Group
) -> None:
    none = tuple(replace(d, verdict="no evidence of a difference") for d in group.differences)
    unclear = replace(comparison, groups=(replace(group, differences=none),))
    told = "intervals exclude zero without evidence of a difference, after adjusting for 7 tests"
    assert told in Page(render_comparison(unclear)).text
    clear = tuple(replace(d, verdict="better") for d in group.differences)
    plain = replace(comparison, groups=(replace(group, differences=clear),))
    assert "without evidence of a difference, after" not in Page(render_comparison(plain)).text


def test_what_was_left_out_is_told_with_the_reason(comparison: Comparison) -> None:
    text = Page(render_comparison(comparison)).text
    assert "runs/broken_1" in text and "it has no scores.json & is <odd>." in text
    assert "python 3.11.7, torch 2.13.0, linux, cpu" in text


def test_every_metric_is_explained(comparison: Comparison) -> None:
    text = Page(render_comparison(comparison)).text
    for metric in comparison.groups[0].metrics:
        assert metric.meaning in text


def test_settings_that_differ_are_told_by_arm(comparison: Comparison) -> None:
    assert Page(render_comparison(comparison)).row(-1, "learning_rate") == [
        "learning_rate",
        "0.001",
        "-",
        "0.0003",
    ]


def test_relations_and_answers_are_told(comparison: Comparison, details: Breakdown) -> None:
    text = render_comparison(comparison, [details])
    found = Page(text)
    assert found.row(3, "P36")[1:] == ["1200", "12.3", "12.3", "12.3", "It is ___."]
    assert found.row(4, HOSTILE)[1:] == ["3", "-", "-", "-", HOSTILE]
    answers = found.row(5, "The capital is ___.")
    assert answers[1:] == ["Paris / Lutetia", "(empty)", "-", "✓ Paris"]
    assert "1,234 probes" in found.text and "differ on\n17" in found.text
    assert "its samples.jsonl is <broken>." in found.text


def test_hostile_names_stay_text(comparison: Comparison) -> None:
    [group] = comparison.groups
    arms = (replace(group.arms[0], name=HOSTILE, method=HOSTILE), *group.arms[1:])
    metric = replace(group.metrics[0], label=HOSTILE, short=HOSTILE, meaning=HOSTILE)
    hostile = replace(
        group,
        title=HOSTILE,
        arms=arms,
        metrics=(metric, *group.metrics[1:]),
        settings={HOSTILE: {HOSTILE: HOSTILE}},
        warnings=(HOSTILE,),
        baseline=HOSTILE,
        recommendation=None,
    )
    text = render_comparison(Comparison((hostile,), {HOSTILE: HOSTILE}, (HOSTILE,), (HOSTILE,)))
    assert text.count("<script") == 1 and "<script>alert" not in text
    assert Page(text).text.count(HOSTILE) > 10


@pytest.mark.parametrize("count", [1, 2])
def test_a_page_without_a_baseline_has_no_differences(group: Group, count: int) -> None:
    few = replace(group, arms=group.arms[:count], baseline="", differences=(), recommendation=None)
    found = Page(render_comparison(Comparison((few,), {})))
    assert "Differences to" not in found.text and "Against" not in found.text
    assert f"{count} arm" in found.text


def test_a_page_of_nothing_says_so() -> None:
    found = Page(render_comparison(Comparison((), {"runs/a": "it is not finished."})))
    assert "No finished run" in found.text and "it is not finished." in found.text


def test_an_arm_of_which_nothing_is_defined_is_shown(group: Group) -> None:
    arm = replace(group.arms[0], estimates={}, matrix=[], curves={})
    found = Page(
        render_comparison(
            Comparison((replace(group, arms=(arm,), differences=(), recommendation=None),), {})
        )
    )
    assert found.row(0, "vanilla")[2:] == ["-"] * 4
    assert "svg" not in [tag for tag, _ in found.tags]


def test_tables_have_heads_with_scopes_and_figures_have_names(comparison: Comparison) -> None:
    found = Page(render_comparison(comparison))
    heads = [a for tag, a in found.tags if tag == "th"]
    assert heads and all(a.get("scope") in ("col", "row", "rowgroup") for a in heads)
    drawings = [a for tag, a in found.tags if tag == "svg"]
    assert len(drawings) == 7
    assert all(a["role"] == "img" and a["aria-label"] for a in drawings)
    assert ("html", {"lang": "en"}) in found.tags


def test_the_page_is_for_light_dark_paper_and_phones(comparison: Comparison) -> None:
    text = render_comparison(comparison)
    for rule in (
        "prefers-color-scheme: dark",
        "@media print",
        "max-width: 40rem",
        "width=device-width",
    ):
        assert rule in text
    assert "gradient" not in text
    assert "position: sticky; left: 0; }" in text  # a background there would hide row lines
    on_paper = text.partition("@media print")[2]
    [table] = re.findall(r"\n  table { font-size: ([\d.]+)pt", on_paper)
    [interval] = re.findall(r"\n  td small, [^{]*{ font-size: ([\d.]+)pt", on_paper)
    assert float(interval) < float(table)
    used = set(re.findall(r"var\(--fki-([\w-]+)\)", text))
    assert used <= set(re.findall(r"--fki-([\w-]+):", text))


def test_the_page_begins_with_the_arm_to_take(comparison: Comparison) -> None:
    text = Page(render_comparison(comparison)).text
    advice = text.index("No arm is shown to be the best. recadam has the highest mean")
    assert text.index("Which one to take") < advice < text.index("Means over seeds")


def read_download(text: str, name: str) -> str:
    [address] = [a["href"] for _, a in Page(text).tags if a.get("download") == name]
    assert address is not None
    return b64decode(address.partition("base64,")[2]).decode()


def test_the_data_of_the_page_can_be_saved(comparison: Comparison) -> None:
    text = render_comparison(comparison)
    assert read_download(text, "fki-comparison.csv") == to_csv(comparison)
    [group] = json.loads(read_download(text, "fki-comparison.json"))["groups"]
    assert [arm["name"] for arm in group["arms"]] == [a.name for a in comparison.groups[0].arms]
    assert group["recommendation"]["arm"] == "recadam"
