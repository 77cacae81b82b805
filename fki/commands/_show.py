"""What people and programs see: words and progress on stderr, data on stdout, rank 0 only."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

NONE = "-"
GAP = 2  # spaces between the columns of a table
LETTERS = 14  # of a text that a narrow table keeps in a line


def is_main() -> bool:
    """Is this the process that shows? Launchers number the others from 1."""
    return os.environ.get("RANK", "0") == "0"


class Show:
    """Shows tables and notes; with `as_json`, one JSON object a line on stdout instead."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.err = Console(stderr=True, quiet=not is_main(), highlight=False)
        self.out = Console(quiet=as_json or not is_main(), highlight=False)

    def note(self, text: str) -> None:
        """A sentence for people."""
        self._words(escape(text))

    def data(self, **row: Any) -> None:
        """One line of data, where JSON was asked for."""
        if self.as_json and is_main():
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def table(self, table: Table) -> None:
        """A table for people; where it cannot fit, the terminal breaks lines and hides nothing."""
        least = self._least_width(table)
        if least > self.out.width:
            table.width = least
        self.out.print(table, crop=False)

    def _least_width(self, table: Table) -> int:
        """The width at which no number is cut and every text keeps some letters a line."""
        widths = [
            (max(map(self._width, (column.header, *column.cells))), column.no_wrap)
            for column in table.columns
        ]
        return sum(GAP + (wide if is_whole else min(wide, LETTERS)) for wide, is_whole in widths)

    def _width(self, cell: RenderableType) -> int:
        return self.out.measure(cell).maximum

    def next_commands(self, *commands: str) -> None:
        """What to type next."""
        if self.as_json:
            return
        for i, command in enumerate(commands):
            self._words(f"{'Next:' if i == 0 else '     '} [bold]{escape(command)}[/]")

    def _words(self, markup: str) -> None:
        """Words, broken at spaces on a terminal; a file or pipe gets whole lines."""
        self.err.print(markup, soft_wrap=not self.err.is_terminal)


def new_table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are right-aligned."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
    )
    for column in columns:
        right = column in numbers
        table.add_column(
            column, justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    return table


def number(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """A number for a cell, `-` where it is undefined."""
    if value is None:
        return NONE
    return f"{value:{'+' if sign else ''},.{digits}f}"


def duration(seconds: float) -> str:
    """`7 s`, `2:05` or `1:02:05`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def parameters(count: int) -> str:
    """`1.3 M`, `223 M`, `47 k`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
