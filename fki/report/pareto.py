"""Figures with one mark for each arm: learning against keeping, and right answers against cost."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from fki.comparison.training_choice import JOINT, RETRIEVAL
from fki.comparison.types import Arm, Estimate, Group
from fki.core.formatting import format_list, format_number
from fki.metrics.registry import Metric
from fki.report.metric_roles import format_interval, front, metric_of_role, reach
from fki.report.style import (
    GROUND,
    SOFT,
    series_style,
    set_tooltip,
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
MOST_FAR = 0.34  # share of such labels, above which a legend is easier to read
LEAST_SPAN = 2.0  # percentage points that an axis covers at least
BOUNDS = (JOINT, RETRIEVAL)
RATIOS = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 1.2, 1.5, 2, 3, 5, 7)]
LEAST_RATIO = 1.5  # of the ends of a logarithmic axis
SIZE = (5.8, 4.4)  # inches


class Mark(NamedTuple):
    """An arm at its place."""

    number: int  # of the arm, for its color
    arm: Arm
    x: Estimate
    y: Estimate

    @property
    def point(self) -> tuple[float, float]:
        """Its place; `_marks` leaves out undefined values."""
        return self.x.value or 0.0, self.y.value or 0.0


class Bound(NamedTuple):
    """A horizontal line for what an arm outside of the competition reaches."""

    name: str
    value: float


@with_figure_style
def draw_pareto(group: Group) -> Figure | None:
    """Learning against keeping of each arm, with intervals; None where no arm has both."""
    learned, kept = metric_of_role(group, "learned"), metric_of_role(group, "kept")
    if learned is None or kept is None:
        return None
    marks = _defined(
        Mark(number, arm, arm.estimate(learned.key), arm.estimate(kept.key))
        for number, arm in enumerate(group.arms)
    )
    if not marks:
        return None
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    bounds = [b for b in _bounds_of(group, (kept.probe_set,)) if b.name != JOINT]
    _draw(axes, marks, [mark.point for mark in marks], bounds)
    axes.set_xlabel(_named(learned))
    axes.set_ylabel(_named(kept))
    axes.set_xlim(_widen(axes.get_xlim()))
    axes.set_ylim(_widen(axes.get_ylim()))
    _label(figure, axes, marks)
    return figure


@with_figure_style
def draw_cost(group: Group) -> Figure | None:
    """Right answers after the stream against the operations of training, relative to the baseline.

    The axis of operations is logarithmic. Lines are the untouched model, retrieval and joint
    training. None for a group without a recommendation or without operations.
    """
    found = group.recommendation
    if found is None:
        return None
    arms = [arm for arm in group.arms if arm.name in found.scores and arm.cost.flops]
    if len(arms) < 2:
        return None
    unit = next((arm for arm in arms if arm.name == group.baseline), arms[0])
    numbers = {arm.name: number for number, arm in enumerate(group.arms)}
    marks = [
        Mark(
            numbers[arm.name],
            arm,
            Estimate(arm.cost.flops / unit.cost.flops),
            found.scores[arm.name],
        )
        for arm in arms
    ]
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    axes.set_xscale("log")
    bounds = _bounds_of(group, found.probe_sets) if found.probe_sets else []
    _draw(axes, marks, [(-mark.point[0], mark.point[1]) for mark in marks], bounds)
    low, high = axes.get_xlim()
    if high / low < LEAST_RATIO:
        low, high = low / LEAST_RATIO, high * LEAST_RATIO
    axes.set_xlim(low, high)
    ticks = [tick for tick in RATIOS if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(f"operations of training, relative to {shorten_label(unit.name)}")
    what = f"mean of {format_list(found.probe_sets)}" if found.probe_sets else "edit score S"
    axes.set_ylabel(f"{what}, %")
    axes.set_ylim(_widen(axes.get_ylim()))
    _label(figure, axes, marks)
    return figure


def _defined(marks: Iterable[Mark]) -> list[Mark]:
    return [mark for mark in marks if None not in (mark.x.value, mark.y.value)]


def _bounds_of(group: Group, sets: Sequence[str]) -> list[Bound]:
    """The untouched model, and the bounds that were run: their mean over these probe sets."""
    bounds = []
    for option in group.choice.options if group.choice else ():
        values = [option.em[name].value for name in sets if name in option.em]
        known = [value for value in values if value is not None]
        if option.arm in ("", *BOUNDS) and known and len(known) == len(sets):
            bounds.append(Bound(option.arm or "untouched", sum(known) / len(known)))
    return bounds


def _draw(
    axes: Axes,
    marks: Sequence[Mark],
    values: Sequence[tuple[float, float]],
    bounds: Sequence[Bound],
) -> None:
    """Draw the marks, their front and the bounds.

    Args:
        values: of the marks, higher being better.
    """
    axes.grid(True)
    axes.set_axisbelow(True)
    best = front(values)
    axes.plot(*_stairs([marks[place].point for place in best]), color=SOFT, ls=(0, (4, 3)), lw=1)
    for place, mark in enumerate(marks):
        _cross(axes, mark, is_best=place in best)
    axes.margins(0.12)
    for bound in bounds:
        line = axes.axhline(bound.value, color=SOFT, lw=1, ls=(0, (1, 2)))
        set_tooltip([line], f"{bound.name}: {format_number(bound.value)}")
        axes.annotate(
            bound.name,
            (0, bound.value),
            (3, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            color=SOFT,
            size=7.5,
        )


def _widen(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits of an axis, at least `LEAST_SPAN` apart."""
    missing = max(0.0, LEAST_SPAN - (limits[1] - limits[0])) / 2
    return limits[0] - missing, limits[1] + missing


def _named(metric: Metric) -> str:
    return f"{metric.label}, {metric.unit}" if metric.unit else metric.label


def _stairs(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The front as a line; points on its worse side are beaten."""
    xs, ys = [], []
    for here, then in zip(points, [*points[1:], points[-1]], strict=True):
        xs += [here[0], here[0]]
        ys += [here[1], then[1]]
    return xs, ys


def _cross(axes: Axes, mark: Mark, *, is_best: bool) -> None:
    color, marker = series_style(mark.number)
    x, y = mark.point
    drawn = axes.errorbar(
        [x],
        [y],
        xerr=reach(mark.x),
        yerr=reach(mark.y),
        color=color,
        marker=marker,
        markerfacecolor=color if is_best else GROUND,
        markersize=7,
        elinewidth=1.2,
    )
    values = [f"{v.value:.1f} {format_interval(v, 1)}".strip() for v in (mark.x, mark.y)]
    set_tooltip(drawn, f"{mark.arm.name}: x {values[0]}, y {values[1]}")


def _label(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """Write each name near its mark, where it covers the fewest marks, lines and names.

    If a name covers another one or leaves the axes, or if many stand far from their marks, a legend
    below replaces them all.
    """
    names = [shorten_label(mark.arm.name) for mark in marks]
    crosses: Crosses = [(mark.x, mark.y) for mark in marks]
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    notes, written, far = list[Annotation](), list[Bbox](), 0
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
            return 100 * (not _contains(inside, box)) + sum(box.overlaps(other) for other in taken)

        best = min(LABEL_PLACES, key=count_clashes)
        box = place_note(best)
        is_far = max(map(abs, best[:2])) > NEAR
        far += is_far
        notes.append(note)
        if (
            far > MOST_FAR * len(marks)
            or any(box.overlaps(other) for other in written)
            or not _contains(inside, box)
        ):
            for other in notes:
                other.remove()
            _draw_legend(figure, marks)
            return
        written.append(box)
        taken.append(box)
        if note.arrow_patch is not None:
            note.arrow_patch.set_visible(is_far)


def _contains(outer: Bbox, inner: Bbox) -> bool:
    return bool(Bbox.union([outer, inner]).bounds == outer.bounds)


def _draw_legend(figure: Figure, marks: Sequence[Mark]) -> None:
    """The arms below the axes, in columns that their names leave room for."""
    names = [shorten_label(mark.arm.name) for mark in marks]
    handles = []
    for mark in marks:
        color, marker = series_style(mark.number)
        handles.append(Line2D([], [], color=color, marker=marker, ls="none"))
    beside = max(1, min(4, 80 // (max(map(len, names)) + 5)))
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), beside))


def _covered(axes: Axes, x: Estimate, y: Estimate) -> list[Bbox]:
    """The boxes of a mark and its two intervals, in pixels."""
    here = (x.value or 0.0, y.value or 0.0)
    across = [(x.low or here[0], here[1]), (x.high or here[0], here[1])]
    upright = [(here[0], y.low or here[1]), (here[0], y.high or here[1])]
    lines = [Bbox(axes.transData.transform(ends)) for ends in (across, upright)]
    mark = Bbox(axes.transData.transform([here, here])).padded(5)
    return [mark, *(line.padded(1) for line in lines)]
