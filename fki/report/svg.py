"""A figure as SVG: inside a page, or a file of its own."""

import re
from collections.abc import Callable
from io import StringIO

from matplotlib.figure import Figure

from fki.report.style import COLORS, STAND_INS, TOOLTIP, figure_style

SALT = "fki"  # with the drawing, it determines all ids
NAMESPACE = "http://www.w3.org/2000/svg"
TAG = re.compile(r"<[^>]*>")  # matplotlib writes a '>' of a text or an attribute as '&gt;'
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def render_inline(figure: Figure, name: str, title: str) -> str:
    """The <svg> element for a page; its text is text, in the page's font.

    Args:
        figure: drawn in stand-in colors.
        name: unique on the page; the prefix of every id.
        title: the content of the figure, for screen readers.
    Returns:
        SVG whose colors are the page's variables, such as `--fki-ink`.
    """

    def rewrite(tag: str) -> str:
        tag = re.sub(
            r"font: ([^;\"]*px)[^;\"]*", r"font: \1 system-ui, sans-serif", tag
        )  # before 3.11
        tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
        tag = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', tag)
        tag = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', tag)
        tag = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", tag)
        return _colored(tag, lambda color: f"var(--fki-{color})")

    text = TAG.sub(lambda tag: rewrite(tag[0]), _element(_draw(figure, "none")))
    return text.replace("<svg ", f'<svg role="img" aria-label="{_escape(title)}" ', 1)


def render_file(figure: Figure, title: str) -> str:
    """An SVG file that looks the same everywhere: light, on white, with letters as paths."""

    def rewrite(tag: str) -> str:
        return _colored(tag, lambda color: COLORS[color].light)

    text = _element(_draw(figure, "path", ground=COLORS["ground"].light))
    head, rest = TAG.sub(lambda tag: rewrite(tag[0]), text).split(">", 1)
    head = head.replace("<svg ", f'<svg xmlns="{NAMESPACE}" role="img" ', 1)
    return f"{head}>\n<title>{_escape(title)}</title>{rest}"


def _draw(figure: Figure, fonts: str, ground: str = "none") -> str:
    out = StringIO()
    with figure_style(**{"svg.fonttype": fonts, "svg.hashsalt": SALT}):
        figure.savefig(out, format="svg", metadata=NO_METADATA, facecolor=ground)
    return out.getvalue()


def _element(text: str) -> str:
    """The <svg> element alone, without metadata, links, or rules that apply outside of it.

    matplotlib's style sheet sets the line joins of the whole page; here the element sets its own.
    """
    text = text[text.index("<svg") :]
    for pattern in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        text = re.sub(pattern, "", text, flags=re.S)
    text = re.sub(rf"<g id=([\"']){TOOLTIP}(.*?)\1>", r"<g><title>\2</title>", text)
    text = re.sub(r"<defs>\s*</defs>", "", text)
    text = TAG.sub(lambda tag: re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", tag[0]), text)
    text = TAG.sub(lambda tag: tag[0].replace("xlink:href", "href"), text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    return text.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)


def _colored(text: str, color: Callable[[str], str]) -> str:
    for name, stand_in in STAND_INS.items():
        text = text.replace(stand_in, color(name))
    return text


def _escape(text: str) -> str:
    text = re.sub(r"[\x00-\x1f]", " ", text)
    return re.sub(r'[&<>"]', lambda match: f"&#{ord(match[0])};", text)
