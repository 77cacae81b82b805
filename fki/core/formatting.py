"""Numbers and tables as text, the same on a terminal, on a page and in a file."""

import json
import shlex
from collections.abc import Iterable, Sequence
from os import PathLike

UNDEFINED = "-"

MAX_QUOTED = 80  # characters of a text in a message
MOST_NAMED = 4  # names in a sentence


def format_number(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """A number for a cell, `-` where it is undefined."""
    if value is None:
        return UNDEFINED
    rounded = round(value, digits) + 0.0  # never -0.0
    return f"{rounded:{'+' if sign else ''},.{digits}f}"


def format_p_value(p: float | None) -> str:
    """`0.031`, `<0.001`, `-`."""
    if p is None:
        return UNDEFINED
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_duration(seconds: float) -> str:
    """`7 s`, `2:05` or `1:02:05`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_minutes(minutes: float) -> str:
    """`56 s`, `45 min`, `2.3 h`."""
    if minutes < 1.5:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def format_count(count: int) -> str:
    """`1.3 M`, `223 M`, `47 k`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def format_list(names: Sequence[str]) -> str:
    """`a, b and c`; `a; b and c` where a name contains a comma or a bracket."""
    comma = ";" if any(set(name) & set(",(") for name in names) else ","
    if len(names) < 2:
        return "".join(names)
    return f"{f'{comma} '.join(names[:-1])} and {names[-1]}"


def format_some(names: Sequence[str]) -> str:
    """The same of many names: the first ones, and the number of the others."""
    if len(names) <= MOST_NAMED:
        return format_list(names)
    shown = MOST_NAMED - 1
    return format_list([*names[:shown], f"{len(names) - shown} others"])


def format_command(*words: str | PathLike[str]) -> str:
    """A command line that a POSIX shell runs as it is.

    Words are quoted where they need it. A path that begins with a dash gets `./` in front, so that
    it is not taken for an option.
    """
    return shlex.join(
        word if isinstance(word, str) else f"./{word}" if str(word).startswith("-") else str(word)
        for word in words
    )


def quote_text(text: str) -> str:
    """The text, or its beginning, for a message."""
    return text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + " ..."


def quote_python(text: str) -> str:
    """A string literal of Python, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def markdown_table(
    head: Sequence[str], rows: Iterable[Iterable[str]], align: str = ""
) -> list[str]:
    """The lines of a Markdown table.

    Args:
        head: one cell a column; the cells are Markdown, their pipes escaped.
        align: "l" or "r" for each column; "" for all to the left.
    """
    rules = ["---:" if side == "r" else "---" for side in align or "l" * len(head)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rules, *rows)]


def escape_pipes(cell: str) -> str:
    """Markdown that is one cell of a table."""
    return cell.replace("|", "\\|")
