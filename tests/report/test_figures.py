"""Figures hold what the group holds, with intervals and names."""

from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from fki.comparison.types import Arm, Group
from fki.report import figures
from fki.report.style import STAND_INS, series_style


def marks(axes: Axes) -> list[ErrorbarContainer]:
    return [c for c in axes.containers if isinstance(c, ErrorbarContainer)]


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def with_periods(group: Group, count: int) -> tuple[Group, Arm]:
    rows = ("base", *(f"p{number}" for number in range(1, count + 1)))
    matrix = [[50.0] * count for _ in rows]
    arm = replace(group.arms[0], matrix=matrix)
    return replace(group, rows=rows, arms=(arm,)), arm


def test_the_forest_plot_has_a_panel_a_metric_and_a_mark_an_arm(group: Group) -> None:
    panels = [a for a in drawn(figures.draw_forest(group)).axes if a.get_visible()]
    assert [panel.get_title("left") for panel in panels] == [m.label for m in group.metrics]
    assert [len(marks(panel)) for panel in panels] == [2, 2, 2, 1]
    assert "undefined" in panels[3].texts[0].get_text()
    assert float(marks(panels[0])[1].lines[0].get_xdata()[0]) == pytest.approx(99.28 - 24.62)


def test_a_mark_is_full_where_the_arm_is_told_apart(group: Group) -> None:
    first = drawn(figures.draw_forest(group)).axes[0]
    fills = [mark.lines[0].get_markerfacecolor() for mark in marks(first)]
    assert fills == [STAND_INS["ground"], series_style(2)[0]]


@pytest.mark.parametrize(("name", "most"), [("base", 5), ("2024-01-05", 3), ("edit-0001-0010", 2)])
def test_names_of_periods_have_room_below_a_curve(group: Group, name: str, most: int) -> None:
    many = replace(group, rows=(name,) * 101)
    arms = [replace(arm, curves={"new": [50.0] * 101}) for arm in group.arms]
    [panel] = drawn(figures.draw_curves(replace(many, arms=tuple(arms)))).axes
    assert 1 <= len(panel.get_xticks()) <= most
    assert panel.lines[0].get_markevery() == 5  # 21 marks, not 101
    figure = panel.figure
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in panel.get_xticklabels()]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1 :])


def test_captions_name_the_probes_of_each_point(group: Group) -> None:
    curves = {"invariant": [1.0, 2.0], "new": [None, 1.0], "paraphrase": [None, 3.0]}
    caption = figures.describe_curves(
        replace(group, arms=(replace(group.arms[0], curves=curves),)), "."
    )
    assert caption == (
        "Exact match (EM) after each period by probe set. Of invariant: all probes, before "
        "training (base) too; new: those of all periods so far; paraphrase: those of the period "
        "just learned, at the last point of all periods."
    )


def test_there_is_no_forest_plot_without_a_baseline(group: Group) -> None:
    assert figures.draw_forest(replace(group, baseline="", differences=())) is None


def test_curves_have_a_panel_a_set_and_a_line_an_arm(group: Group) -> None:
    panels = [a for a in drawn(figures.draw_curves(group)).axes if a.get_visible()]
    assert [panel.get_title("left") for panel in panels] == ["invariant", "new"]
    assert [len(panel.lines) for panel in panels] == [3, 3]
    first, *rest = panels[1].lines[0].get_ydata()
    assert first != first and list(rest) == [90.0, 60.0, 40.0]
    assert figures.draw_curves(replace(group, arms=(replace(group.arms[0], curves={}),))) is None
