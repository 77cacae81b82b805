"""An SVG needs nothing outside of it, and its ids and colors fit a page."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from fki.comparison.types import Arm, Comparison, Group
from fki.report import figures, pareto, svg
from fki.report.save_figures import iter_figures, save_figures
from fki.report.style import COLORS


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def with_periods(group: Group, count: int) -> tuple[Group, Arm]:
    rows = ("base", *(f"p{number}" for number in range(1, count + 1)))
    matrix = [[50.0] * count for _ in rows]
    arm = replace(group.arms[0], matrix=matrix)
    return replace(group, rows=rows, arms=(arm,)), arm


def test_every_colour_in_a_page_is_a_variable_and_every_text_has_one(group: Group) -> None:
    for name, title, figure in iter_figures(group):
        text = svg.render_inline(figure, "a", title)
        assert not re.findall(
            r"#[0-9a-fA-F]{3,8}\b", re.sub(r"&#\d+;|href=\S+|url\S+", "", text)
        ), name
        assert "black" not in text and "rgb(" not in text
        texts = re.findall(r"<text [^>]*>", text)
        assert texts and all("fill: var(--fki-" in tag for tag in texts), name
        assert set(re.findall(r"--fki-([\w-]+)", text)) <= COLORS.keys()


def test_the_ids_of_two_figures_never_clash(group: Group) -> None:
    one, two = (
        svg.render_inline(drawn(figures.draw_forest(group)), name, "t") for name in ("a", "b")
    )
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, two)]
    assert ids[0] and not ids[0] & ids[1]
    assert len(ids[0]) == len(re.findall(r'\bid="', one))
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', one)
    assert used and {a or b for a, b in used} <= ids[0]


def test_one_figure_is_the_same_text_each_time(group: Group) -> None:
    for draw in (pareto.draw_pareto, figures.draw_forest, figures.draw_curves):
        one, two = (svg.render_inline(drawn(draw(group)), "a", "t") for _ in range(2))
        assert one == two and svg.render_file(drawn(draw(group)), "t") == svg.render_file(
            drawn(draw(group)), "t"
        )


def test_a_figure_reaches_for_nothing_outside(group: Group) -> None:
    for _, title, figure in iter_figures(group):
        assert "http" not in svg.render_inline(figure, "a", title)
        assert "<style" not in svg.render_inline(figure, "a", title)


@pytest.mark.parametrize("name", ["知識", "a$b_{c}$ -->", "x" * 200, "two\nlines\x00"])
def test_any_name_can_be_drawn(group: Group, name: str, tmp_path: Path) -> None:
    arms = (replace(group.arms[0], name=name), *group.arms[1:])
    odd = replace(group, arms=arms, baseline="recadam", differences=())
    [axes] = drawn(pareto.draw_pareto(odd)).axes
    assert len(axes.texts[0].get_text()) <= 44
    for file in save_figures(Comparison((odd,), {}), tmp_path):
        ElementTree.fromstring(file.read_text(encoding="utf-8"))
