"""Figures hold what the group holds, with intervals and names."""

from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from fki.comparison.types import Arm, Estimate, Group
from fki.report import figures
from fki.report.style import SETTINGS, STAND_INS, series_style


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


def test_the_pareto_plot_has_a_mark_two_intervals_and_a_name_for_each_arm(group: Group) -> None:
    [axes] = drawn(figures.draw_pareto(group)).axes
    crosses = marks(axes)
    assert [(c.has_xerr, c.has_yerr) for c in crosses] == [(True, True)] * 3
    found = [tuple(float(v[0]) for v in c.lines[0].get_data()) for c in crosses]
    assert found == [(87.64, 24.62), (80.17, 31.25), (60.05, 99.28)]
    assert [text.get_text() for text in axes.texts] == [arm.name for arm in group.arms]
    assert "Learning gain" in axes.get_xlabel() and "Kept facts" in axes.get_ylabel()


def test_an_interval_on_the_plot_is_that_of_the_estimate(group: Group) -> None:
    [axes] = drawn(figures.draw_pareto(group)).axes
    across = marks(axes)[0].lines[2][0].get_segments()[0]
    assert [round(float(x), 2) for x, _ in across] == [87.14, 88.34]


def test_labels_lie_apart(group: Group) -> None:
    near = [
        replace(arm, estimates={**arm.estimates, "invariant": Estimate(50.0 + n / 10, 49, 51)})
        for n, arm in enumerate(group.arms)
    ]
    figure = drawn(figures.draw_pareto(replace(group, arms=tuple(near))))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1 :])


def test_an_arm_without_a_value_is_not_on_the_plot(group: Group) -> None:
    arm = replace(group.arms[0], estimates={"invariant": Estimate(None)})
    [axes] = drawn(figures.draw_pareto(replace(group, arms=(arm, *group.arms[1:])))).axes
    assert len(marks(axes)) == 2
    assert figures.draw_pareto(replace(group, arms=(arm,))) is None
    assert figures.draw_pareto(replace(group, metrics=())) is None


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


def test_there_is_no_forest_plot_without_a_baseline(group: Group) -> None:
    assert figures.draw_forest(replace(group, baseline="", differences=())) is None


def test_curves_have_a_panel_a_set_and_a_line_an_arm(group: Group) -> None:
    panels = [a for a in drawn(figures.draw_curves(group)).axes if a.get_visible()]
    assert [panel.get_title("left") for panel in panels] == ["invariant", "new"]
    assert [len(panel.lines) for panel in panels] == [3, 3]
    first, *rest = panels[1].lines[0].get_ydata()
    assert first != first and list(rest) == [90.0, 60.0, 40.0]
    assert figures.draw_curves(replace(group, arms=(replace(group.arms[0], curves={}),))) is None


def test_equal_values_have_an_axis_without_an_offset() -> None:
    assert figures._widen((99.999999, 100.0000001)) == pytest.approx((99.0, 101.0), abs=1e-5)
    assert figures._widen((10.0, 90.0)) == (10.0, 90.0)
    assert SETTINGS["axes.formatter.useoffset"] is False
