"""Writes each figure of a comparison as an SVG file."""

import re
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from fki.comparison.types import Comparison, Group
from fki.core.atomic_io import write_text
from fki.core.errors import FkiError
from fki.report import figures, svg
from fki.report.heatmap import draw_heatmap
from fki.report.pareto import draw_cost, draw_pareto


def iter_figures(group: Group) -> Iterator[tuple[str, str, Figure]]:
    """The name, the title and the figure, for each figure that is not empty."""
    drawn = [
        ("pareto", "learning and keeping", draw_pareto(group)),
        ("cost", "right answers and cost", draw_cost(group)),
        ("forest", f"differences to {group.baseline}", figures.draw_forest(group)),
        ("curves", "exact match over the stream", figures.draw_curves(group)),
        *(
            (f"matrix-{arm.name}", f"the matrix R of {arm.name}", draw_heatmap(group, arm))
            for arm in group.arms
        ),
    ]
    for name, title, figure in drawn:
        if figure is not None:
            yield name, f"{group.title}: {title}", figure


def save_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Write each figure as an SVG file, light, on white; creates the folder where it is missing.

    Returns:
        The files, named after the figures, with the group's number first where there are several.
    Raises:
        FkiError: a file exists already, or the disk refuses. Nothing is overwritten.
    """
    several = len(comparison.groups) > 1
    texts = {
        _file(folder, f"{number}-{name}" if several else name, seen): svg.render_file(figure, title)
        for seen in [set[str]()]
        for number, group in enumerate(comparison.groups, 1)
        for name, title, figure in iter_figures(group)
    }
    existing = [file for file in texts if file.exists()]
    if existing:
        raise FkiError(
            f"{existing[0]} already exists; fki does not overwrite files.",
            hint="Pass another folder, or move that file.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FkiError(f"Cannot create folder {folder}: {error.strerror}.") from None
    for file, text in texts.items():
        write_text(file, text)
    return list(texts)


def _file(folder: Path, name: str, seen: set[str]) -> Path:
    """A file with a new name of letters, digits and dashes alone."""
    stem = plain = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "figure"
    number = 1
    while stem.casefold() in seen:
        number += 1
        stem = f"{plain}-{number}"
    seen.add(stem.casefold())
    return folder / f"{stem}.svg"
