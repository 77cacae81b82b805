"""The matrix R of an arm as a heat map: exact match on each period after each period."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fki.comparison.types import Arm, Group
from fki.report.style import (
    COLORS,
    HEAT,
    INK,
    LINE,
    SOFT,
    set_row_ticks,
    set_tooltip,
    shorten_label,
    with_figure_style,
)

Cells = Sequence[tuple[int, int, float]]  # row t, column i, R[t][i], for learned periods

ANNOTATED = 13  # periods, up to which each cell shows its number
SCALE = (0, 25, 50, 75, 100)  # percent, whose shades a map without numbers explains
DRAWN = 40  # periods, up to which each cell is a shape of its own


@with_figure_style
def draw_heatmap(group: Group, arm: Arm) -> Figure | None:
    """R[t][i] for i <= t, a higher score in a stronger color; None where nothing was scored."""
    cells = [
        (t, i, value)
        for t, row in enumerate(arm.matrix)
        for i, value in enumerate(row, 1)
        if i <= t and value is not None
    ]
    if not cells:
        return None
    periods = group.rows[1:]
    figure = Figure(figsize=(5.4, 4.6))
    axes = figure.subplots()
    if len(periods) <= DRAWN:
        _shapes(axes, cells, periods)
    else:
        _picture(axes, cells, len(periods))
    axes.set_xlim(0.5, len(periods) + 0.5)
    axes.set_ylim(len(periods) + 0.5, 0.5)
    axes.set_title(shorten_label(arm.name))
    axes.set_xlabel("exact match on the probes of")
    axes.set_ylabel("after training on")
    names = ("", *periods)
    set_row_ticks(axes, names, 13, slanted=True)
    places = [int(place) for place in axes.get_xticks() if place > 0]
    axes.set_xticks(places, [names[p] for p in places])
    axes.set_yticks(places, [names[p] for p in places])
    axes.tick_params(length=0, labelsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(periods) > ANNOTATED:
        _draw_scale(axes)
    return figure


def _draw_scale(axes: Axes) -> None:
    """The shades of some scores, in the empty corner."""
    for place, value in enumerate(SCALE):
        left = 0.5 + 0.09 * place
        fill = to_rgba(HEAT, value / 100)
        shade = Rectangle((left, 0.93), 0.09, 0.04, facecolor=fill, edgecolor=LINE, lw=0.4)
        shade.set_transform(axes.transAxes)
        axes.add_patch(shade)
        axes.text(
            left + 0.045,
            0.91,
            f"{value}%",
            transform=axes.transAxes,
            size=8,
            color=SOFT,
            ha="center",
            va="top",
        )


def _shapes(axes: Axes, cells: Cells, periods: Sequence[str]) -> None:
    size = 9 if len(periods) <= 10 else 8
    for t, i, value in cells:
        fill = to_rgba(HEAT, min(max(value / 100, 0.0), 1.0))
        corner = (i - 0.47, t - 0.47)
        cell = Rectangle(corner, 0.94, 0.94, facecolor=fill, edgecolor=LINE, lw=0.4)
        set_tooltip(
            [axes.add_patch(cell)], f"{periods[i - 1]} after {periods[t - 1]}: {value:.1f}%"
        )
        if len(periods) <= ANNOTATED:
            axes.text(i, t, f"{value:.0f}", size=size, color=INK, ha="center", va="center")


def _picture(axes: Axes, cells: Cells, periods: int) -> None:
    """Many cells: one picture, in a color for both backgrounds, transparent between."""
    red, green, blue, _ = to_rgba(COLORS["heat"].light)
    clear = (red, green, blue, 0.0)
    image = [[clear] * periods for _ in range(periods)]
    for t, i, value in cells:
        image[t - 1][i - 1] = (red, green, blue, min(max(value / 100, 0.0), 1.0))
    extent = (0.5, periods + 0.5, periods + 0.5, 0.5)
    axes.imshow(image, extent=extent, interpolation="nearest", aspect="auto")
