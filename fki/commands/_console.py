"""Terminal output: notes and progress on stderr, data on stdout, from rank 0 only.

The consoles interpret neither rich's markup nor emoji codes, so that names, paths, questions and
answers appear as they are. Styled text is a `rich.text.Text`; control characters are escaped.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from rich.cells import cell_len
from rich.console import Console, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fki.core.control_characters import escape_controls

LONG_WORD = 24  # characters; a longer word may break within a cell
GAPS = (2, 1)  # characters between columns; the second where the first leaves too little space


def is_main_process() -> bool:
    """Whether this is the process that prints (rank 0 of those that a launcher starts)."""
    return os.environ.get("RANK", "0") == "0"


def style_text(text: str, style: str) -> Text:
    """Text in a style, for a cell or a line."""
    return Text(escape_controls(text), style)


class VerbatimConsole(Console):
    """A console on which a string is its characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a string, such as a table's cell, with its control characters escaped."""
        return super().render_str(escape_controls(text), **options)


class Show:
    """Prints tables and notes. With `as_json`, prints JSON lines on stdout instead of tables."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.err = VerbatimConsole(stderr=True, quiet=not is_main_process())
        self.out = VerbatimConsole(quiet=as_json or not is_main_process())

    def note(self, text: str) -> None:
        """Print a sentence on stderr."""
        self._print_words(text)

    def error(self, text: str, hint: str = "") -> None:
        """Print an error on stderr, and what to type next, which is never broken into lines."""
        self._print_words(Text.assemble(("Error:", "bold red"), f" {escape_controls(text)}"))
        if hint:
            self.err.print(hint, soft_wrap=True)

    def notes(self, texts: Iterable[str]) -> None:
        """Print each text as a note on stderr."""
        for text in texts:
            self.note(f"Note: {text}")

    def data(self, **row: Any) -> None:
        """Print one JSON line on stdout, if JSON was requested.

        Where stdout cannot encode a character, the line is ASCII.
        """
        if self.as_json and is_main_process():
            line = json.dumps(row, ensure_ascii=False)
            try:
                line.encode(sys.stdout.encoding or "utf-8")
            except UnicodeEncodeError:
                line = json.dumps(row)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def text(self, text: str) -> None:
        """Print a text on stdout, unchanged but for characters that stdout cannot encode."""
        if is_main_process():
            encoding = sys.stdout.encoding or "utf-8"
            sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
            sys.stdout.flush()

    def table(self, table: Table) -> None:
        """Print a table on stdout, unless JSON was requested; as a list if it is too wide."""
        if keep_words_whole(table, self.out.width):
            self.out.print(table)
            return
        for line in list_rows(table):
            self.out.print(line)

    def busy(self, text: str) -> AbstractContextManager[object]:
        """Show on a terminal what is being done, until the block ends."""
        return self.err.status(style_text(text, ""))

    def findings(self, findings: Iterable[tuple[str, str]]) -> None:
        """Print each topic and its sentence on stdout, unless JSON was requested."""
        for topic, text in findings:
            line = Text.assemble((f"{topic}:", "bold"), f" {escape_controls(text)}")
            self.out.print(line, soft_wrap=not self.out.is_terminal)
        self.out.print()

    def next_commands(self, *commands: str) -> None:
        """Print suggested next commands on stderr, unbroken, so that they can be pasted."""
        if self.as_json:
            return
        for i, command in enumerate(commands):
            head = "Next:" if i == 0 else "     "
            line = Text.assemble(head, " ", (escape_controls(command), "bold"))
            self.err.print(line, soft_wrap=True)

    def _print_words(self, words: str | Text) -> None:
        """Print words, wrapped at spaces on a terminal; a file or pipe gets whole lines."""
        self.err.print(words, soft_wrap=not self.err.is_terminal)


def make_table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """An empty table. The columns in `numbers` are right-aligned.

    Long words fold, so that no text is lost.
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, GAPS[0], 0, 0),
    )
    for column in columns:
        justify: JustifyMethod = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, overflow="fold")
    return table


def keep_words_whole(table: Table, width: int) -> bool:
    """Set the columns' widths so that lines break at spaces; False if the words do not fit.

    The rest of the space goes to the narrowest columns with longer lines. Very long words, such as
    paths, may break.
    """
    texts = [[str(text) for text in (c.header, *c.cells)] for c in table.columns]
    lines = [max(map(cell_len, column), default=0) for column in texts]
    words = [
        line if column.no_wrap else min(LONG_WORD, _longest_word(own))
        for column, own, line in zip(table.columns, texts, lines, strict=True)
    ]
    room = [width - gap * (len(lines) - 1) for gap in GAPS]
    if sum(lines) <= room[0]:
        return True
    fitting = [(gap, size) for gap, size in zip(GAPS, room, strict=True) if sum(words) <= size]
    if not fitting:
        return False
    gap, size = fitting[0]
    for _ in range(size - sum(words)):
        short = [i for i, line in enumerate(lines) if words[i] < line]
        if short:
            words[min(short, key=words.__getitem__)] += 1
    table.padding = (0, gap, 0, 0)
    for column, chosen in zip(table.columns, words, strict=True):
        column.width = chosen
    return True


def _longest_word(texts: Iterable[str]) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=0)


def list_rows(table: Table) -> Iterator[RenderableType]:
    """The title, then each row: its first cell, and below it the others with their heads."""
    if table.title:
        yield Text(str(table.title), "bold")
    first, *others = table.columns
    heads = [" ".join(str(column.header).split()) for column in others]
    for name, *cells in zip(first.cells, *(c.cells for c in others), strict=True):
        if str(name):
            yield Text(str(name), "bold")
        values = [str(cell).strip() for cell in cells]
        pairs = [f"{h} {v}" for h, v in zip(heads, values, strict=True) if h and v]
        yield Padding(Text(", ".join(pairs)), (0, 0, 0, 2))
