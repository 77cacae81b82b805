"""What can be known of a grid's cells before the first one starts."""

import os
from collections.abc import Sequence
from pathlib import Path

from fki.config.sweep import Cell, Cells
from fki.core.errors import ConfigError, FkiError
from fki.runs import output_log, resume
from fki.runs.run_dir import CHECKPOINTS, RUN, Run, is_free
from fki.training import session
from fki.training.run_lifecycle import MARGIN, check_space, checkpoint_size, space_kept
from fki.training.session import give_back


def is_done(cell: Cell) -> bool:
    """Has the cell's run come to its end?"""
    return (cell.folder / RUN).is_file() and resume.is_done(Run(cell.folder))


def check_folders(cells: Cells) -> None:
    """Raises ConfigError where the grid's folder is none, or the folder of a cell, all of them
    looked at, holds a run with other settings or anything else."""
    folder = cells.folder
    if (folder / RUN).is_file() or (folder.exists() and not folder.is_dir()):
        what = "a run" if folder.is_dir() else "a file"
        raise ConfigError(
            f"Several runs need a folder to put theirs in, and {folder} is {what}.",
            hint="Give another --output-dir.",
        )
    problems = [text for cell in cells.all if (text := _problem(cell))]
    if problems:
        raise ConfigError(
            "\n".join(problems),
            hint="Give another --output-dir, or the settings that they were begun with.",
        )


def _problem(cell: Cell) -> str:
    """What keeps a cell from its folder; "" for nothing."""
    try:
        run = resume.unfinished(cell.config)
    except ConfigError as error:
        return str(error)
    if run is None and cell.folder.exists():
        if not cell.folder.is_dir():
            return f"{cell.folder} is a file."
        if not is_free(cell.folder):
            return f"{cell.folder} holds files, and no run."
    return ""


def check_runs(folder: Path, left: Sequence[Cell]) -> list[str]:
    """Make a session of each method that is left, and let it go. Returns what the user should know.

    Raises FkiError for whatever would stop one of these cells before its first step, and where the
    disk is too small for all of them.
    """
    notes, kept, largest = list[str](), 0, 0
    for method in dict.fromkeys(cell.config.method for cell in left):
        cells = [cell for cell in left if cell.config.method == method]
        ready = session.build(cells[0].config)
        for cell in cells:
            output_log.check(cell.config.output_log)
            notes += [*cell.resolved.notes, *session.notes(cell.config, ready.accelerator)]
            if (cell.folder / RUN).is_file():
                resume.check_same(Run(cell.folder), ready.stream.digest, ready.base_digest)
            if not cell.config.check_validation:
                kept += max(0, space_kept(ready) - _held_bytes(cell)) + MARGIN
                largest = max(largest, checkpoint_size(ready))
        del ready
        give_back()
    _check_place(folder, kept + largest)
    return list(dict.fromkeys(notes))


def _held_bytes(cell: Cell) -> int:
    """What the cell's checkpoints take already."""
    files = (cell.folder / CHECKPOINTS).rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _check_place(folder: Path, needed: int) -> None:
    """Raises FkiError where runs cannot be put into a folder."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise FkiError(f"{folder} cannot be made or written to.", hint="Give another --output-dir.")
    check_space(place, needed, "the runs that are left need")
