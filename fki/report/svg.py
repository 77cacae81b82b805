"""A figure as SVG: inside a page, or a file of its own."""

import re
from collections.abc import Callable
from io import StringIO

from matplotlib.figure import Figure

from fki.report.style import COLORS, STAND_INS, figure_style

SALT = "fki"  # ids follow from it and the drawing, and from nothing else
NAMESPACE = "http://www.w3.org/2000/svg"
TAG = re.compile(r"<[^>]*>")  # matplotlib writes a '>' of a text or an attribute as '&gt;'
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def render_inline(figure: Figure, name: str, title: str) -> str:
    """The <svg> element to put into a page, with text as text in the page's own type.

    Args:
        figure: drawn in stand-ins.
        name: unlike that of any other figure on the page; every id begins with it.
        title: what the figure shows, for who cannot see it.
    Returns:
        Colours are the page's variables, `--fki-ink` and the like.
    """

    def placed(tag: str) -> str:
        tag = re.sub(
            r"font: ([^;\"]*px)[^;\"]*", r"font: \1 system-ui, sans-serif", tag
        )  # before 3.11
        tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
        tag = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', tag)
        tag = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', tag)
        tag = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", tag)
        return _coloured(tag, lambda colour: f"var(--fki-{colour})")

    text = TAG.sub(lambda tag: placed(tag[0]), _element(_drawn(figure, "none")))
    return text.replace("<svg ", f'<svg role="img" aria-label="{_escaped(title)}" ', 1)


def render_file(figure: Figure, title: str) -> str:
    """A file that looks the same everywhere: light, on white, its letters drawn as paths."""

    def placed(tag: str) -> str:
        return _coloured(tag, lambda colour: COLORS[colour].light)

    text = _element(_drawn(figure, "path", ground=COLORS["ground"].light))
    head, rest = TAG.sub(lambda tag: placed(tag[0]), text).split(">", 1)
    head = head.replace("<svg ", f'<svg xmlns="{NAMESPACE}" role="img" ', 1)
    return f"{head}>\n<title>{_escaped(title)}</title>{rest}"


def _drawn(figure: Figure, fonts: str, ground: str = "none") -> str:
    out = StringIO()
    with figure_style(**{"svg.fonttype": fonts, "svg.hashsalt": SALT}):
        figure.savefig(out, format="svg", metadata=NO_METADATA, facecolor=ground)
    return out.getvalue()


def _element(text: str) -> str:
    """The <svg> element alone, without what would reach beyond it or points to other places.

    matplotlib's style sheet says how the lines of *everything* end; here the element itself does.
    """
    text = text[text.index("<svg") :]
    for needless in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        text = re.sub(needless, "", text, flags=re.S)
    text = re.sub(r"<defs>\s*</defs>", "", text)
    text = TAG.sub(lambda tag: re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", tag[0]), text)
    text = TAG.sub(lambda tag: tag[0].replace("xlink:href", "href"), text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    return text.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)


def _coloured(text: str, colour: Callable[[str], str]) -> str:
    for name, stand_in in STAND_INS.items():
        text = text.replace(stand_in, colour(name))
    return text


def _escaped(text: str) -> str:
    text = re.sub(r"[\x00-\x1f]", " ", text)
    return re.sub(r'[&<>"]', lambda found: f"&#{ord(found[0])};", text)
