"""What people and programs see: words and progress on stderr, data on stdout, rank 0 only."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table


def is_main_process() -> bool:
    """Is this the process that shows? Launchers number the others from 1."""
    return os.environ.get("RANK", "0") == "0"


class Show:
    """Shows tables and notes; with `as_json`, one JSON object a line on stdout instead."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.err = Console(stderr=True, quiet=not is_main_process(), highlight=False)
        self.out = Console(quiet=as_json or not is_main_process(), highlight=False)

    def note(self, text: str) -> None:
        """A sentence for people."""
        self._words(escape(text))

    def error(self, text: str) -> None:
        """What went wrong."""
        self._words(f"[bold red]Error:[/] {escape(text)}")

    def notes(self, texts: Iterable[str]) -> None:
        """What a user should know before something is done."""
        for text in texts:
            self.note(f"Note: {text}")

    def data(self, **row: Any) -> None:
        """One line of data, where JSON was asked for."""
        if self.as_json and is_main_process():
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def text(self, text: str) -> None:
        """Data that is text, as it is."""
        if is_main_process():
            sys.stdout.write(text)
            sys.stdout.flush()

    def table(self, table: Table) -> None:
        """A table for people."""
        self.out.print(table)

    def next_commands(self, *commands: str) -> None:
        """What to type next."""
        if self.as_json:
            return
        for i, command in enumerate(commands):
            self._words(f"{'Next:' if i == 0 else '     '} [bold]{escape(command)}[/]")

    def _words(self, markup: str) -> None:
        """Words, broken at spaces on a terminal; a file or pipe gets whole lines."""
        self.err.print(markup, soft_wrap=not self.err.is_terminal)


def make_table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are right-aligned, and where a terminal is narrow
    all of them fold, the widest first, so that nothing is cut off."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        justify: JustifyMethod = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, overflow="fold")
    return table
