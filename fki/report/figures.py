"""Figures of a group: differences to the baseline, and curves over the stream."""

from collections.abc import Sequence
from itertools import product
from math import ceil, nan

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fki.comparison.types import Arm, Difference, Group
from fki.core.formatting import format_list, format_number, format_p_value
from fki.core.probe_sets import matrix_probe_sets
from fki.metrics.registry import Metric
from fki.report.metric_roles import format_interval, reach
from fki.report.style import (
    GROUND,
    INK,
    SOFT,
    series_style,
    set_row_ticks,
    set_tooltip,
    shorten_label,
    with_figure_style,
)

LONGEST_TITLE = 17  # letters of a panel's title
MOST_NAMED = 14  # rows in a tooltip
TICK_LETTERS = 38  # of all names below a panel of curves
MARKED = 25  # rows, up to which a curve has a mark at each


@with_figure_style
def draw_forest(group: Group) -> Figure | None:
    """Differences to the baseline by metric, with intervals; None where there are none.

    A mark is filled where the verdict is better or worse.
    """
    others = [(n, arm) for n, arm in enumerate(group.arms) if arm.name != group.baseline]
    shown = [
        metric
        for metric in group.metrics
        if any(d.metric == metric.key and d.value is not None for d in group.differences)
    ]
    if not others or not shown:
        return None
    columns = min(3, len(shown))
    rows = ceil(len(shown) / columns)
    height = rows * (0.75 + 0.24 * len(others))
    longest = max(len(shorten_label(arm.name)) for _, arm in others)
    figure = Figure(figsize=(1.3 + 0.075 * longest + 2.6 * columns, height))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    for panel, metric in zip(panels.flat, shown, strict=False):
        _differences(panel, group, metric, others)
    for panel in panels.flat[len(shown) :]:
        panel.set_visible(False)
    return figure


def _differences(
    axes: Axes, group: Group, metric: Metric, others: Sequence[tuple[int, Arm]]
) -> None:
    better = "right" if metric.higher_is_better else "left"
    axes.set_title(metric.label if len(metric.label) <= LONGEST_TITLE else metric.short, pad=5)
    axes.set_title(f"better: {better}", loc="right", fontsize=7.5, color=SOFT, weight="normal")
    axes.axvline(0, color=SOFT, lw=1)
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    for height, (number, arm) in enumerate(others):
        difference = group.difference(arm.name, metric.key)
        if difference is None or difference.value is None:
            axes.text(0, height, " undefined", fontsize=7.5, color=SOFT, va="center")
            continue
        color, marker = series_style(number)
        is_evident = difference.verdict in ("better", "worse")
        marks = axes.errorbar(
            [difference.value],
            [height],
            xerr=reach(difference),
            color=color,
            marker=marker,
            markerfacecolor=color if is_evident else GROUND,
        )
        set_tooltip(marks, _describe_difference(difference, metric))
    axes.set_yticks(range(len(others)), [shorten_label(arm.name) for _, arm in others])
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)


def _describe_difference(difference: Difference, metric: Metric) -> str:
    value = format_number(difference.value, metric.digits, sign=True)
    ends = format_interval(difference, metric.digits, sign=True)
    p = format_p_value(difference.p_holm)
    return f"{difference.arm}: {value} {ends}, adjusted p {p}, {difference.verdict}"


@with_figure_style
def draw_curves(group: Group, most: int = 3) -> Figure | None:
    """Exact match over the stream, a panel for each probe set; None where there are none.

    Args:
        most: panels beside each other.
    """
    sets = list(dict.fromkeys(name for arm in group.arms for name in arm.curves))
    if not sets:
        return None
    columns = min(most, len(sets))
    rows = ceil(len(sets) / columns)
    figure = Figure(figsize=(1 + 3.0 * columns, 2.3 * rows + 0.5))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    for (number, arm), (panel, name) in product(
        enumerate(group.arms), zip(panels.flat, sets, strict=False)
    ):
        color, marker = series_style(number)
        values = [nan if value is None else value for value in arm.curves.get(name, ())]
        label = shorten_label(arm.name)
        every = max(1, ceil(len(values) / MARKED))
        lines = panel.plot(
            values, color=color, marker=marker, markersize=4, markevery=every, label=label
        )
        set_tooltip(lines, _describe_curve(label, name, group.rows, values))
    for panel, name in zip(panels.flat, sets, strict=False):
        panel.set_title(name)
        panel.set_ylim(-3, 103)
        panel.grid(True, axis="y")
        set_row_ticks(panel, group.rows, min(5, TICK_LETTERS // max(map(len, group.rows))))
    for panel in panels.flat[len(sets) :]:
        panel.set_visible(False)
    if len(group.arms) > 1:
        handles, names = panels.flat[0].get_legend_handles_labels()
        beside = max(1, min(8, 120 // (max(map(len, names)) + 5)))
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), beside))
    figure.supylabel("exact match (EM), %", fontsize=9, color=SOFT)
    return figure


def describe_curves(group: Group, mean: str = ", mean over seeds.") -> str:
    """The caption of the curves: which probes each point is about."""
    sets = list(dict.fromkeys(name for arm in group.arms for name in arm.curves))
    learned = [name for name in matrix_probe_sets(sets) if name in sets]
    kept = [name for name in sets if any(_has_base_row(arm, name) for arm in group.arms)]
    others = [name for name in sets if name not in (*learned, *kept)]
    parts = (
        (kept, "all probes, before training (base) too"),
        (learned, "those of all periods so far"),
        (others, "those of the period just learned, at the last point of all periods"),
    )
    shown = "; ".join(f"{format_list(names)}: {text}" for names, text in parts if names)
    return f"Exact match (EM) after each period by probe set{mean} Of {shown}."


def _has_base_row(arm: Arm, name: str) -> bool:
    return next(iter(arm.curves.get(name, ())), None) is not None


def _describe_curve(arm: str, name: str, rows: Sequence[str], values: Sequence[float]) -> str:
    """The arm, the probe set, and the values of up to `MOST_NAMED` rows."""
    pairs = [f"{row} {v:.1f}" for row, v in zip(rows, values, strict=False) if v == v]  # no NaN
    shown = pairs if len(pairs) <= MOST_NAMED else [*pairs[: MOST_NAMED - 2], "...", pairs[-1]]
    return f"{arm}, {name}: {', '.join(shown)}"
