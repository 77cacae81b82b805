"""A comparison as one HTML file: no network, no script; light or dark as the system's theme is."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from fki import __version__
from fki.comparison.breakdown import Breakdown, break_down
from fki.comparison.compare import compare
from fki.comparison.training_choice import TrainingChoice, find_training_choice
from fki.comparison.types import Arm, Comparison, Cost, Group
from fki.core.atomic_io import write_text
from fki.core.formatting import (
    UNDEFINED,
    format_count,
    format_duration,
    format_number,
    format_p_value,
)
from fki.metrics.registry import Metric
from fki.report import figures, findings, svg
from fki.report.heatmap import draw_heatmap
from fki.report.metric_roles import format_interval
from fki.report.style import COLORS, legend_key
from fki.report.training_choice import (
    CHOICE_COSTS,
    PURPOSES,
    choice_costs,
    describe_choice,
    unit_costs,
)
from fki.runs.run_dir import REPORT

COST_HEADS = (
    "trainable parameters",
    "steps",
    "tokens",
    "training time",
    "tokens per second",
    "FLOP",
    "peak MiB",
    *CHOICE_COSTS,
)


class Section(NamedTuple):
    """A group with its findings, breakdown and drawings."""

    anchor: str
    group: Group
    details: Breakdown
    findings: list[findings.Finding]
    choice: TrainingChoice | None
    pareto: str | None
    forest: str | None
    curves: str | None
    heat_maps: list[str]


def render_page(comparison: Comparison, details: Sequence[Breakdown] = ()) -> str:
    """The whole page.

    Args:
        details: the breakdown of each group in order; an empty one where it is missing.
    Returns:
        HTML, byte for byte the same for the same input.
    """
    given = [*details, *[Breakdown()] * len(comparison.groups)]
    sections = [
        _section(f"group-{place}", group, given[place - 1])
        for place, group in enumerate(comparison.groups, 1)
    ]
    return (
        _templates()
        .get_template("page.html")
        .render(
            comparison=comparison,
            sections=sections,
            metrics=_all_metrics(comparison),
            tests=sorted({d.test for g in comparison.groups for d in g.differences if d.test}),
            variables=_variables(),
            version=__version__,
        )
    )


def write_page(comparison: Comparison, file: Path) -> None:
    """Write the page with breakdowns by relation and probe. Raises FkiError where this fails."""
    write_text(file, render_page(comparison, break_down(comparison)))


def write_run_page(folder: Path) -> None:
    """Write report.html into a finished run's folder. Raises FkiError where this fails."""
    write_page(compare([folder]), folder / REPORT)


def _section(anchor: str, group: Group, details: Breakdown) -> Section:
    def drawn(figure: Any, name: str, title: str) -> str | None:
        title = f"{group.title}: {title}"
        return None if figure is None else svg.render_inline(figure, f"{anchor}-{name}", title)

    maps = (
        drawn(draw_heatmap(group, arm), f"matrix-{place}", f"exact match of {arm.name} by period")
        for place, arm in enumerate(group.arms)
    )
    return Section(
        anchor,
        group,
        details,
        findings.describe_findings(group),
        find_training_choice(group),
        drawn(figures.draw_pareto(group), "pareto", "learning and keeping"),
        drawn(figures.draw_forest(group), "forest", f"differences to {group.baseline}"),
        drawn(figures.draw_curves(group), "curves", "exact match over the stream"),
        [drawing for drawing in maps if drawing is not None],
    )


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("fki.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        interval=lambda *args, **kwargs: typeset(format_interval(*args, **kwargs)),
        common_n=common_n,
        costs=format_costs,
        cost_heads=COST_HEADS,
        choice_heads=CHOICE_COSTS,
        choice_costs=choice_costs,
        describe_choice=describe_choice,
        purpose_of=PURPOSES.get,
        runs=lambda group: sum(len(arm.runs) for arm in group.arms),
        key_of=lambda group, name: legend_key([arm.name for arm in group.arms].index(name)),
    )
    environment.filters.update(
        number=lambda *args, **kwargs: typeset(format_number(*args, **kwargs)),
        p=format_p_value,
        question=format_prompt,
        setting=format_setting,
        sets=group_by_probe_set,
        signed=typeset,
    )
    return environment


def _variables() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The page's colors by name, for a light and for a dark ground."""
    light = [(name, color.light) for name, color in COLORS.items()]
    return light, [(name, color.dark) for name, color in COLORS.items()]


def _all_metrics(comparison: Comparison) -> list[Metric]:
    """Each metric once, for the glossary."""
    return list({m.key: m for group in comparison.groups for m in group.metrics}.values())


def typeset(text: str) -> str:
    """With minus signs before numbers, and no line break before a percent sign."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text).replace(" %", "\N{NO-BREAK SPACE}%")


def format_prompt(text: str) -> str:
    """The prompt with a blank where the model answers."""
    return re.sub(r"<extra_id_\d+>", "___", text)


def format_setting(value: Any) -> str:
    """A setting as in a preset; a list without brackets."""
    if value is None or value in ("", [], ()):
        return UNDEFINED
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


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
        f"{cost.flops:.2e}" if cost.flops else UNDEFINED,
        UNDEFINED if cost.peak_mib is None else f"{cost.peak_mib:,.0f}",
        *unit_costs(cost),
    ]


def group_by_probe_set(rows: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """The rows by probe set, in order."""
    for name in dict.fromkeys(row.probe_set for row in rows):
        yield name, [row for row in rows if row.probe_set == name]
