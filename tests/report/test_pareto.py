"""Figures with a mark for each arm: places, intervals, names, bounds."""

from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from fki.comparison.types import Estimate, Group, Option, TrainingChoice
from fki.report import pareto, svg
from fki.report.style import SETTINGS, series_style


def marks(axes: Axes) -> list[ErrorbarContainer]:
    return [c for c in axes.containers if isinstance(c, ErrorbarContainer)]


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def test_the_pareto_plot_has_a_mark_two_intervals_and_a_name_for_each_arm(group: Group) -> None:
    [axes] = drawn(pareto.draw_pareto(group)).axes
    crosses = marks(axes)
    assert [(c.has_xerr, c.has_yerr) for c in crosses] == [(True, True)] * 3
    found = [tuple(float(v[0]) for v in c.lines[0].get_data()) for c in crosses]
    assert found == [(87.64, 24.62), (80.17, 31.25), (60.05, 99.28)]
    assert [text.get_text() for text in axes.texts] == [arm.name for arm in group.arms]
    assert "Learning gain" in axes.get_xlabel() and "Kept facts" in axes.get_ylabel()


def test_an_interval_on_the_plot_is_that_of_the_estimate(group: Group) -> None:
    [axes] = drawn(pareto.draw_pareto(group)).axes
    across = marks(axes)[0].lines[2][0].get_segments()[0]
    assert [round(float(x), 2) for x, _ in across] == [87.14, 88.34]


def test_labels_lie_apart(group: Group) -> None:
    near = [
        replace(arm, estimates={**arm.estimates, "invariant": Estimate(50.0 + n / 10, 49, 51)})
        for n, arm in enumerate(group.arms)
    ]
    figure = drawn(pareto.draw_pareto(replace(group, arms=tuple(near))))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1 :])


def test_names_that_have_no_room_are_in_a_legend(group: Group) -> None:
    estimates = dict.fromkeys(("learning_gain", "invariant"), Estimate(50.0, 10.0, 90.0))
    same = tuple(
        replace(group.arms[0], name=f"arm {n} of a long name", estimates=estimates)
        for n in range(12)
    )
    figure = drawn(pareto.draw_pareto(replace(group, arms=same)))
    assert not figure.axes[0].texts
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [arm.name for arm in same]
    markers = [handle.get_marker() for handle in legend.legend_handles]
    assert markers == [series_style(n)[1] for n in range(12)]


def test_an_arm_without_a_value_is_not_on_the_plot(group: Group) -> None:
    arm = replace(group.arms[0], estimates={"invariant": Estimate(None)})
    [axes] = drawn(pareto.draw_pareto(replace(group, arms=(arm, *group.arms[1:])))).axes
    assert len(marks(axes)) == 2
    assert pareto.draw_pareto(replace(group, arms=(arm,))) is None
    assert pareto.draw_pareto(replace(group, metrics=())) is None


def test_equal_values_have_an_axis_without_an_offset() -> None:
    assert pareto._widen((99.999999, 100.0000001)) == pytest.approx((99.0, 101.0), abs=1e-5)
    assert pareto._widen((10.0, 90.0)) == (10.0, 90.0)
    assert SETTINGS["axes.formatter.useoffset"] is False


@pytest.fixture
def priced(group: Group) -> Group:
    """Arms of 1, 0.5 and 4 times the baseline's operations."""
    flops = (2e12, 1e12, 8e12)
    arms = tuple(
        replace(arm, cost=replace(arm.cost, flops=f))
        for arm, f in zip(group.arms, flops, strict=True)
    )
    return replace(group, arms=arms)


def choice(untouched: float) -> TrainingChoice:
    em = dict.fromkeys(("invariant", "updated", "new"), Estimate(untouched))
    options = (
        Option("untouched model", "", em, None),
        Option("best of 3", "recadam", em, None),
        Option("joint", "joint", {**em, "new": Estimate(99.0)}, None),
    )
    return TrainingChoice(tuple(em), options, {})


def test_the_cost_plot_has_each_arm_at_its_share_of_the_baselines_operations(priced: Group) -> None:
    [axes] = drawn(pareto.draw_cost(priced)).axes
    found = [tuple(float(v[0]) for v in c.lines[0].get_data()) for c in marks(axes)]
    assert found == [(1.0, 30.0), (0.5, 60.9), (4.0, 61.2)]
    assert axes.get_xscale() == "log" and "relative to vanilla" in axes.get_xlabel()
    assert {"0.5", "1", "2", "3"} <= {tick.get_text() for tick in axes.get_xticklabels()}
    assert axes.get_ylabel() == "mean of invariant, updated and new, %"
    fills = [
        mark.lines[0].get_markerfacecolor() == mark.lines[0].get_color() for mark in marks(axes)
    ]
    assert fills == [False, True, True]  # vanilla costs more than lora and answers less


def test_bounds_are_lines_at_their_mean(priced: Group) -> None:
    [axes] = drawn(pareto.draw_cost(replace(priced, choice=choice(40.0)))).axes
    names = {t.get_text(): t.xy[1] for t in axes.texts if t.get_text() in ("untouched", "joint")}
    assert names == {"untouched": 40.0, "joint": pytest.approx((40 + 40 + 99) / 3)}


def test_without_operations_or_a_recommendation_there_is_no_cost_plot(priced: Group) -> None:
    assert pareto.draw_cost(replace(priced, recommendation=None)) is None
    free = [replace(arm, cost=replace(arm.cost, flops=0.0)) for arm in priced.arms]
    assert pareto.draw_cost(replace(priced, arms=tuple(free))) is None


def test_equal_costs_have_an_axis_with_a_span(group: Group) -> None:
    [axes] = drawn(pareto.draw_cost(group)).axes
    low, high = axes.get_xlim()
    assert low < 0.75 and high > 1.4


def test_each_mark_has_a_tooltip(priced: Group) -> None:
    text = svg.render_inline(
        drawn(pareto.draw_cost(replace(priced, choice=choice(40.0)))), "a", "t"
    )
    assert "<title>recadam: x 4.0, y 61.2 [58.0, 64.1]</title>" in text
    assert "<title>untouched: 40.0</title>" in text
    assert "&lt;b&gt;" in text and "tooltip:" not in text
