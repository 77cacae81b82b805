"""Colors stand out from light and dark backgrounds; a user's style changes nothing."""

import re

import pytest
from matplotlib.figure import Figure

from fki.comparison.types import Group
from fki.report import pareto, svg
from fki.report.style import COLORS, series_style


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def test_a_users_matplotlibrc_changes_nothing(group: Group) -> None:
    import matplotlib

    plain = svg.render_inline(drawn(pareto.draw_pareto(group)), "a", "t")
    with matplotlib.rc_context({"text.color": "red", "axes.grid": True, "font.size": 20}):
        assert svg.render_inline(drawn(pareto.draw_pareto(group)), "a", "t") == plain


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
