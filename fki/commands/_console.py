"""Terminal output: notes and progress on stderr, data on stdout, from rank 0 only."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from fki.core.control_characters import escape_controls


def is_main_process() -> bool:
    """Whether this is the process that prints (rank 0 of those that a launcher starts)."""
    return os.environ.get("RANK", "0") == "0"


class Show:
    """Prints tables and notes. With `as_json`, prints JSON lines on stdout instead of tables."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.err = Console(stderr=True, quiet=not is_main_process(), highlight=False)
        self.out = Console(quiet=as_json or not is_main_process(), highlight=False)

    def note(self, text: str) -> None:
        """Print a sentence on stderr."""
        self._print_words(_escape(text))

    def error(self, text: str) -> None:
        """Print an error on stderr."""
        self._print_words(f"[bold red]Error:[/] {_escape(text)}")

    def notes(self, texts: Iterable[str]) -> None:
        """Print each text as a note on stderr."""
        for text in texts:
            self.note(f"Note: {text}")

    def data(self, **row: Any) -> None:
        """Print one JSON line on stdout, if JSON was requested."""
        if self.as_json and is_main_process():
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def text(self, text: str) -> None:
        """Print a text on stdout, unchanged."""
        if is_main_process():
            sys.stdout.write(text)
            sys.stdout.flush()

    def table(self, table: Table) -> None:
        """Print a table on stdout, unless JSON was requested."""
        self.out.print(table)

    def next_commands(self, *commands: str) -> None:
        """Print suggested next commands on stderr."""
        if self.as_json:
            return
        for i, command in enumerate(commands):
            self._print_words(f"{'Next:' if i == 0 else '     '} [bold]{_escape(command)}[/]")

    def _print_words(self, markup: str) -> None:
        """Print markup, wrapped at spaces on a terminal; a file or pipe gets whole lines."""
        self.err.print(markup, soft_wrap=not self.err.is_terminal)


def _escape(text: str) -> str:
    """Text as rich's markup, with control characters written out."""
    return escape(escape_controls(text))


def make_table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """An empty table. The columns in `numbers` are right-aligned.

    On a narrow terminal cells fold, the widest columns first, so that no text is lost.
    """
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
