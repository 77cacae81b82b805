"""The page of a comparison: which method to take, by how much, how sure, and at what cost."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from fki.comparison.breakdown import Breakdown
from fki.comparison.types import Arm, Comparison, Cost, Group
from fki.core.formatting import UNDEFINED, format_count, format_duration, format_number
from fki.metrics.registry import Metric
from fki.report import figures, findings, svg
from fki.report.heatmap import draw_heatmap
from fki.report.page_template import render
from fki.report.pareto import draw_cost, draw_pareto
from fki.report.recommendation import describe_recommendation
from fki.report.table_formats import to_csv
from fki.report.tables import describe_adjustment
from fki.report.training_choice import CHOICE_COSTS, format_tflop, unit_costs

COST_HEADS = (
    "parameters",
    "steps",
    "tokens",
    "time",
    "tokens/s",
    "TFLOP",
    "peak MiB",
    *CHOICE_COSTS,
)
Finding = tuple[str, str, str]  # topic, metric, sentences


class Section(NamedTuple):
    """A group with its findings, breakdown and drawings."""

    anchor: str
    group: Group
    details: Breakdown
    advice: list[str]
    findings: list[Finding]
    pareto: str | None
    cost: str | None
    forest: str | None
    curves: str | None
    heat_maps: list[str]


def render_comparison(comparison: Comparison, details: Sequence[Breakdown] = ()) -> str:
    """The whole page.

    Args:
        details: the breakdown of each group in order; an empty one where it is missing.
    """
    given = [*details, *[Breakdown()] * len(comparison.groups)]
    sections = [
        _section(f"group-{place}", group, given[place - 1])
        for place, group in enumerate(comparison.groups, 1)
    ]
    downloads = {}
    if sections:
        files = (to_csv(comparison), to_json(comparison))
        downloads = dict(zip(("fki-comparison.csv", "fki-comparison.json"), files, strict=True))
    return render(
        "comparison.html",
        sections[0].group.title if len(sections) == 1 else "Comparison of runs",
        downloads,
        comparison=comparison,
        sections=sections,
        contents=[*_contents(comparison, sections)],
        metrics=_all_metrics(comparison),
        tests=sorted({d.test for g in comparison.groups for d in g.differences if d.test}),
        common_n=common_n,
        costs=format_costs,
        adjustment=describe_adjustment,
        curves_caption=figures.describe_curves,
        cost_heads=COST_HEADS,
    )


def _section(anchor: str, group: Group, details: Breakdown) -> Section:
    def drawn(figure: Any, name: str, title: str) -> str | None:
        title = f"{group.title}: {title}"
        return None if figure is None else svg.render_inline(figure, f"{anchor}-{name}", title)

    maps = (
        drawn(draw_heatmap(group, arm), f"map-{place}", f"exact match of {arm.name} by period")
        for place, arm in enumerate(group.arms)
    )
    return Section(
        anchor,
        group,
        details,
        describe_recommendation(group),
        [_finding(one) for one in findings.describe_findings(group)],
        drawn(draw_pareto(group), "front", "learning and keeping"),
        drawn(draw_cost(group), "cost", "right answers and cost"),
        drawn(figures.draw_forest(group), "forest", f"differences to {group.baseline}"),
        drawn(figures.draw_curves(group), "lines", "exact match over the stream"),
        [drawing for drawing in maps if drawing is not None],
    )


def _finding(one: findings.Finding) -> Finding:
    """The metric is left out where the topic is its name."""
    return one.topic, "" if one.metric.lower() == one.topic.lower() else one.metric, one.text


def _contents(
    comparison: Comparison, sections: Sequence[Section]
) -> Iterator[tuple[str, str, int]]:
    """The anchor, name and level of each part of the page."""
    level = 2 if len(sections) > 1 else 1
    for section in sections:
        if level > 1:
            yield section.anchor, section.group.title, 1
        parts = {
            "advice": ("Which one to take", section.advice or section.findings),
            "choice": ("Should I train at all?", section.group.choice),
            "scores": ("Scores", True),
            "pareto": ("Learning, keeping and cost", section.pareto or section.cost),
            "differences": (f"Differences to {section.group.baseline}", section.group.differences),
            "curves": ("Over the stream", section.curves),
            "matrix": ("Period by period", section.heat_maps),
            "relations": ("By relation", section.details.relations),
            "answers": ("Answers that differ", section.details.contrasts),
            "settings": ("Settings that differ", section.group.settings),
        }
        for key, (name, is_there) in parts.items():
            if is_there:
                yield f"{section.anchor}-{key}", name, level
    if sections:
        yield "how-to-read", "How to read this", 1
    if comparison.environments:
        yield "environment", "Environment", 1


def _all_metrics(comparison: Comparison) -> list[Metric]:
    """Each metric once, for the glossary."""
    return list({m.key: m for group in comparison.groups for m in group.metrics}.values())


def common_n(group: Group, metric: Metric) -> int | None:
    """The number of probes of a metric, where it is the same for all arms."""
    counts = {
        value.n for arm in group.arms if (value := arm.estimate(metric.key)).value is not None
    }
    return counts.pop() if len(counts) == 1 else None


def format_costs(arm: Arm) -> list[str]:
    """The cost of an arm's runs, as cells under COST_HEADS."""
    cost: Cost = arm.cost
    rate = cost.tokens_per_second
    return [
        format_count(cost.trainable),
        format_number(cost.steps, 0),
        format_count(round(cost.tokens)),
        format_duration(cost.seconds),
        UNDEFINED if rate is None else format_number(rate, 0),
        format_tflop(cost.flops or None),
        UNDEFINED if cost.peak_mib is None else f"{cost.peak_mib:,.0f}",
        *unit_costs(cost),
    ]


def to_json(comparison: Comparison) -> str:
    """All numbers of a comparison: groups, arms, estimates, differences, recommendations."""
    groups = [
        {
            "title": group.title,
            "rows": group.rows,
            "baseline": group.baseline,
            "arms": [asdict(arm) for arm in group.arms],
            "differences": [asdict(difference) for difference in group.differences],
            "recommendation": group.recommendation and asdict(group.recommendation),
            "warnings": group.warnings,
        }
        for group in comparison.groups
    ]
    whole = {"groups": groups, "left_out": dict(comparison.left_out)}
    return json.dumps(whole, ensure_ascii=False, default=str)
