"""Figures hold what the group holds, in colours that fit every ground."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fki.comparison.types import Arm, Comparison, Estimate, Group
from fki.core.errors import FkiError
from fki.report import figures, metric_roles, svg
from fki.report.heatmap import ANNOTATED, draw_heatmap
from fki.report.save_figures import iter_figures, save_figures
from fki.report.style import COLORS, STAND_INS, series_style


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


def test_the_front_is_what_no_other_point_beats() -> None:
    points = [(1.0, 5.0), (3.0, 3.0), (2.0, 2.0), (3.0, 1.0), (5.0, 1.0), (1.0, 5.0)]
    assert metric_roles.front(points) == [0, 5, 1, 4]
    chosen = [points[place] for place in metric_roles.front(points)]
    assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in pairwise(chosen))


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
    assert len(axes.texts) == (count * (count + 1) // 2 if count <= ANNOTATED else 0)
    assert len(axes.get_yticks()) <= 13
    assert bool(axes.images) == (count > 40)


def test_a_matrix_that_was_never_asked_has_no_heat_map(group: Group) -> None:
    assert draw_heatmap(group, replace(group.arms[0], matrix=[[None] * 3] * 4)) is None


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
    for draw in (figures.draw_pareto, figures.draw_forest, figures.draw_curves):
        one, two = (svg.render_inline(drawn(draw(group)), "a", "t") for _ in range(2))
        assert one == two and svg.render_file(drawn(draw(group)), "t") == svg.render_file(
            drawn(draw(group)), "t"
        )


def test_a_figure_reaches_for_nothing_outside(group: Group) -> None:
    for _, title, figure in iter_figures(group):
        assert "http" not in svg.render_inline(figure, "a", title)
        assert "<style" not in svg.render_inline(figure, "a", title)


def test_a_users_matplotlibrc_changes_nothing(group: Group) -> None:
    import matplotlib

    plain = svg.render_inline(drawn(figures.draw_pareto(group)), "a", "t")
    with matplotlib.rc_context({"text.color": "red", "axes.grid": True, "font.size": 20}):
        assert svg.render_inline(drawn(figures.draw_pareto(group)), "a", "t") == plain


@pytest.mark.parametrize("name", ["知識", "a$b_{c}$ -->", "x" * 200, "two\nlines\x00"])
def test_any_name_can_be_drawn(group: Group, name: str, tmp_path: Path) -> None:
    arms = (replace(group.arms[0], name=name), *group.arms[1:])
    odd = replace(group, arms=arms, baseline="recadam", differences=())
    [axes] = drawn(figures.draw_pareto(odd)).axes
    assert len(axes.texts[0].get_text()) <= 44
    for file in save_figures(Comparison((odd,), {}), tmp_path):
        ElementTree.fromstring(file.read_text(encoding="utf-8"))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_marks_and_text_stand_out_from_the_ground(ground: str) -> None:
    colours = {name: getattr(colour, ground) for name, colour in COLORS.items()}
    for name in ("ink", "soft"):
        assert contrast(colours[name], colours["ground"]) >= 4.5, name
    for name in (n for n in colours if re.fullmatch(r"s\d", n)):
        assert contrast(colours[name], colours["ground"]) >= 3, name
    assert contrast(colours["ink"], colours["heat"]) >= 4.5
    assert contrast(colours["s1"], colours["ground"]) >= 4.5  # the word "Warning"


def test_the_first_24_arms_are_told_apart() -> None:
    assert len({series_style(number) for number in range(24)}) == 24


def test_each_figure_is_saved_as_an_svg_of_its_own(comparison: Comparison, tmp_path: Path) -> None:
    files = save_figures(comparison, tmp_path / "new" / "figures")
    names = ["pareto", "forest", "curves", "matrix-vanilla", "matrix-lora-b", "matrix-recadam"]
    assert [file.stem for file in files] == names
    for file in files:
        text = file.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].text and root[0].text.startswith("wiki, 3 months")
        assert "var(" not in text and not any(s in text for s in STAND_INS.values())
        assert "<text" not in text


def test_a_figure_is_never_overwritten(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "curves.svg").write_text("mine")
    with pytest.raises(FkiError, match=r"curves\.svg already exists"):
        save_figures(comparison, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["curves.svg"]


def test_names_that_make_one_file_get_numbers(group: Group, tmp_path: Path) -> None:
    arms = tuple(replace(group.arms[0], name=name) for name in ("a/b", "a b", "../.."))
    files = save_figures(Comparison((replace(group, arms=arms), group), {}), tmp_path)
    assert {"1-matrix-a-b.svg", "1-matrix-a-b-2.svg"} <= {file.name for file in files}
    assert len({*files}) == len(files) and {file.parent for file in files} == {tmp_path}
