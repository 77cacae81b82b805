"""Figures of a group: learning against keeping, differences to the baseline, and curves."""

from collections.abc import Callable, Sequence
from itertools import product
from math import ceil, nan
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from fki.comparison.types import Arm, Difference, Estimate, Group
from fki.metrics.registry import Metric
from fki.report.metric_roles import front, metric_of_role
from fki.report.style import (
    GROUND,
    INK,
    SOFT,
    series_style,
    set_row_ticks,
    shorten_label,
    with_figure_style,
)

Crosses: TypeAlias = Sequence[tuple[Estimate, Estimate]]  # along x and along y

Place: TypeAlias = tuple[float, float, str, str]

LABEL_PLACES: list[
    Place
] = [  # points from the mark and the alignment of the text there, nearest first
    (x * far, y * far, ("right", "center", "left")[x + 1], ("top", "center", "bottom")[y + 1])
    for far in (5, 12, 20, 30, 42, 56)
    for x, y in ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
]
NEAR = 12  # points; a label farther than this has a line to its mark
LEAST_SPAN = 2.0  # percentage points that an axis of the Pareto figure covers at least
LONGEST_TITLE = 17  # letters of a panel's title


@with_figure_style
def draw_pareto(group: Group) -> Figure | None:
    """Learning against keeping of each arm, with intervals; None where no arm has both."""
    learned, kept = metric_of_role(group, "learned"), metric_of_role(group, "kept")
    if learned is None or kept is None:
        return None
    points = [
        (number, arm, arm.estimate(learned.key), arm.estimate(kept.key))
        for number, arm in enumerate(group.arms)
    ]
    places = [(n, arm, x, y) for n, arm, x, y in points if None not in (x.value, y.value)]
    if not places:
        return None
    figure = Figure(figsize=(6.8, 4.6))
    axes = figure.subplots()
    axes.grid(True)
    axes.set_axisbelow(True)
    values = [(x.value or 0.0, y.value or 0.0) for _, _, x, y in places]
    best = front(values)
    axes.plot(*_stairs([values[place] for place in best]), color=SOFT, ls=(0, (4, 3)), lw=1)
    for place, (number, _, x, y) in enumerate(places):
        _cross(axes, number, x, y, is_best=place in best)
    axes.set_xlabel(_named(learned))
    axes.set_ylabel(_named(kept))
    axes.margins(0.12)
    axes.set_xlim(_widen(axes.get_xlim()))
    axes.set_ylim(_widen(axes.get_ylim()))
    _label(
        figure,
        axes,
        [shorten_label(arm.name) for _, arm, _, _ in places],
        [(x, y) for *_, x, y in places],
    )
    return figure


def _widen(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits of an axis, at least `LEAST_SPAN` apart."""
    missing = max(0.0, LEAST_SPAN - (limits[1] - limits[0])) / 2
    return limits[0] - missing, limits[1] + missing


def _named(metric: Metric) -> str:
    return f"{metric.label}, {metric.unit}" if metric.unit else metric.label


def _stairs(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The front as a line; points to its lower left are beaten."""
    xs, ys = [], []
    for here, then in zip(points, [*points[1:], points[-1]], strict=True):
        xs += [here[0], here[0]]
        ys += [here[1], then[1]]
    return xs, ys


def _cross(axes: Axes, number: int, x: Estimate, y: Estimate, *, is_best: bool) -> None:
    color, marker = series_style(number)
    axes.errorbar(
        [x.value or 0.0],
        [y.value or 0.0],
        xerr=_reach(x),
        yerr=_reach(y),
        color=color,
        marker=marker,
        markerfacecolor=color if is_best else GROUND,
        markersize=7,
        elinewidth=1.2,
    )


def _reach(estimate: Estimate | Difference) -> list[list[float]] | None:
    """The distances from a value to both ends of its interval, not below zero: the interval of a
    bootstrap may exclude the value."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _label(figure: Figure, axes: Axes, names: Sequence[str], crosses: Crosses) -> None:
    """Write each name near its mark, where it covers the fewest marks, lines and names."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    taken = [box for x, y in crosses for box in _covered(axes, x, y)]
    inside = axes.get_window_extent()
    for name, (x, y) in zip(names, crosses, strict=True):
        line = {"arrowstyle": "-", "color": SOFT, "lw": 0.6, "shrinkB": 4}
        here = (x.value or 0.0, y.value or 0.0)
        note = axes.annotate(name, here, (0, 0), textcoords="offset points", arrowprops=line)

        def place_note(place: Place, note: Annotation = note) -> Bbox:
            note.set_position(place[:2])
            note.set(ha=place[2], va=place[3])
            note.update_positions(renderer)
            return Text.get_window_extent(note, renderer).padded(1)

        def count_clashes(place: Place, place_note: Callable[[Place], Bbox] = place_note) -> int:
            box = place_note(place)
            is_out = Bbox.union([box, inside]).bounds != inside.bounds
            return 100 * is_out + sum(box.overlaps(other) for other in taken)

        best = min(LABEL_PLACES, key=count_clashes)
        taken.append(place_note(best))
        if note.arrow_patch is not None:
            note.arrow_patch.set_visible(max(map(abs, best[:2])) > NEAR)


def _covered(axes: Axes, x: Estimate, y: Estimate) -> list[Bbox]:
    """The boxes of a mark and its two intervals, in pixels."""
    here = (x.value or 0.0, y.value or 0.0)
    across = [(x.low or here[0], here[1]), (x.high or here[0], here[1])]
    upright = [(here[0], y.low or here[1]), (here[0], y.high or here[1])]
    lines = [Bbox(axes.transData.transform(ends)) for ends in (across, upright)]
    mark = Bbox(axes.transData.transform([here, here])).padded(5)
    return [mark, *(line.padded(1) for line in lines)]


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
        axes.errorbar(
            [difference.value],
            [height],
            xerr=_reach(difference),
            color=color,
            marker=marker,
            markerfacecolor=color if is_evident else GROUND,
        )
    axes.set_yticks(range(len(others)), [shorten_label(arm.name) for _, arm in others])
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)


@with_figure_style
def draw_curves(group: Group) -> Figure | None:
    """Exact match over the stream, a panel for each probe set; None where there are none."""
    sets = list(dict.fromkeys(name for arm in group.arms for name in arm.curves))
    if not sets:
        return None
    columns = min(3, len(sets))
    rows = ceil(len(sets) / columns)
    figure = Figure(figsize=(1 + 3.0 * columns, 2.3 * rows + 0.5))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    for (number, arm), (panel, name) in product(
        enumerate(group.arms), zip(panels.flat, sets, strict=False)
    ):
        color, marker = series_style(number)
        values = [nan if value is None else value for value in arm.curves.get(name, ())]
        panel.plot(values, color=color, marker=marker, markersize=4, label=shorten_label(arm.name))
    for panel, name in zip(panels.flat, sets, strict=False):
        panel.set_title(name)
        panel.set_ylim(-3, 103)
        panel.grid(True, axis="y")
        set_row_ticks(panel, group.rows, 5)
    for panel in panels.flat[len(sets) :]:
        panel.set_visible(False)
    handles, names = panels.flat[0].get_legend_handles_labels()
    beside = max(1, min(8, 120 // (max(map(len, names)) + 5)))
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), beside))
    figure.supylabel("exact match (EM), %", fontsize=9, color=SOFT)
    return figure
