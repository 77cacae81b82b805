"""The style of figures: named colors, markers, type.

A figure is drawn in stand-in colors, one for each name. `svg` replaces them, so that one drawing
serves light pages, dark pages and paper. The series follow Okabe & Ito (2008), which color-blind
readers can distinguish, darkened or lightened to a contrast of 3 to their background.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes

P = ParamSpec("P")
R = TypeVar("R")


class Color(NamedTuple):
    """A named color on a light and on a dark background."""

    light: str
    dark: str


COLORS = {
    "ground": Color("#ffffff", "#16181c"),
    "ink": Color("#1d2126", "#e7e9ec"),
    "soft": Color("#59616b", "#a3abb6"),  # ticks, notes
    "line": Color("#cfd4da", "#3b424c"),  # axes, grids
    "heat": Color("#3d9bd8", "#1c669c"),  # at 100 %; ink is readable on all of its shades
    "s0": Color("#0072b2", "#5aaef0"),
    "s1": Color("#c94f00", "#ff8a50"),
    "s2": Color("#00875f", "#2fc79a"),
    "s3": Color("#a8487f", "#e79ac6"),
    "s4": Color("#9c6c00", "#e9b23c"),
    "s5": Color("#2f8fc9", "#9ad4ff"),
    "s6": Color("#555b66", "#b9c0cb"),
    "s7": Color("#7d7900", "#f0e442"),
}
STAND_INS = {name: f"#0bad{number:02x}" for number, name in enumerate(COLORS)}
SERIES = [STAND_INS[name] for name in COLORS if name.startswith("s") and name[1:].isdigit()]
MARKERS = {  # of matplotlib, and the most similar character
    "o": "●",
    "s": "■",
    "^": "▲",
    "D": "◆",
    "v": "▼",
    "P": "✚",
    "X": "✖",
    "*": "★",
    "<": "◀",
    ">": "▶",
    "h": "⬢",
    "p": "⬟",
}
INK, SOFT, LINE = STAND_INS["ink"], STAND_INS["soft"], STAND_INS["line"]
GROUND, HEAT = STAND_INS["ground"], STAND_INS["heat"]
TOOLTIP = "tooltip:"  # the beginning of an id that is a tooltip
LONGEST = 44  # characters of a name in a figure

SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # part of matplotlib: the same lengths everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.formatter.useoffset": False,
    "axes.facecolor": "none",
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5.5,
    "xtick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.color": LINE,
    "ytick.labelcolor": SOFT,
    "text.parse_math": False,  # a name may contain a dollar sign
    "svg.image_inline": True,
}


@contextmanager
def figure_style(**more: Any) -> Iterator[None]:
    """Use this style and these settings, and ignore the user's matplotlibrc.

    Missing glyphs raise no warning, since a page has its own fonts.
    """
    with style.context({**SETTINGS, **more}, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def with_figure_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function to draw in this style."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with figure_style():
            return draw(*args, **kwargs)

    return drawn


def set_tooltip(artists: Iterable[Any], text: str) -> None:
    """Give artists a text that `svg` makes the tooltip of their shapes."""
    for artist in artists:
        if isinstance(artist, Artist):
            artist.set_gid(f"{TOOLTIP}{_on_one_line(text)}")
        elif artist is not None:
            set_tooltip(artist, text)


def shorten_label(name: str) -> str:
    """A name on one line, shortened to the room of a figure."""
    line = _on_one_line(name)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def series_style(number: int) -> tuple[str, str]:
    """The color and the marker of the arm at this place; unique among the first 24."""
    return SERIES[number % len(SERIES)], list(MARKERS)[number % len(MARKERS)]


def legend_key(number: int) -> tuple[str, str]:
    """The same for a page: the name of the color, and a character."""
    return f"s{number % len(SERIES)}", MARKERS[series_style(number)[1]]


def set_row_ticks(axes: Axes, names: tuple[str, ...], most: int, *, slanted: bool = False) -> None:
    """Name at most `most` rows along x, evenly spaced, the last row included."""
    step = max(1, -(-len(names) // max(1, most)))
    places = range(len(names) - 1, -1, -step)
    axes.set_xticks(
        list(places),
        [names[place] for place in places],
        rotation=35 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor",
    )
