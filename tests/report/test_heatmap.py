"""A heat map shows R, with its numbers while there is room."""

from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fki.comparison.types import Arm, Group
from fki.report.heatmap import ANNOTATED, draw_heatmap


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def with_periods(group: Group, count: int) -> tuple[Group, Arm]:
    rows = ("base", *(f"p{number}" for number in range(1, count + 1)))
    matrix = [[50.0] * count for _ in rows]
    arm = replace(group.arms[0], matrix=matrix)
    return replace(group, rows=rows, arms=(arm,)), arm


def test_a_heat_map_shows_the_lower_triangle_with_its_numbers(group: Group) -> None:
    [axes] = drawn(draw_heatmap(group, group.arms[0])).axes
    cells = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert len(cells) == 6
    assert [t.get_text() for t in axes.texts] == ["95", "50", "96", "25", "48", "97"]
    assert [round(float(c.get_facecolor()[3]), 2) for c in cells[:2]] == [0.95, 0.5]


@pytest.mark.parametrize("count", [ANNOTATED, ANNOTATED + 1, 60])
def test_a_heat_map_of_many_periods_has_no_numbers(group: Group, count: int) -> None:
    many, arm = with_periods(group, count)
    [axes] = drawn(draw_heatmap(many, arm)).axes
    numbers = [text.get_text() for text in axes.texts]
    if count <= ANNOTATED:
        assert numbers == ["50"] * (count * (count + 1) // 2)
    else:  # a scale explains the shades
        assert numbers == ["0%", "25%", "50%", "75%", "100%"]
        shades = [patch.get_facecolor()[3] for patch in axes.patches[-5:]]
        assert [float(shade) for shade in shades] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert len(axes.get_yticks()) <= 13
    assert bool(axes.images) == (count > 40)


def test_a_matrix_that_was_never_asked_has_no_heat_map(group: Group) -> None:
    assert draw_heatmap(group, replace(group.arms[0], matrix=[[None] * 3] * 4)) is None
