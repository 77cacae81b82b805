"""Draw the output of `fki compare` as an SVG for the README.

python scripts/picture.py runs/ docs/compare.svg
"""

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from fki.commands import compare
from fki.commands._console import Show

FONT = re.compile(r"@font-face \{\{.*?\}\}\n?", re.DOTALL)  # else a viewer downloads the font


class Wrapped(Console):
    """A console that wraps every line: a picture would cut it."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, whatever the caller states, at the width of the picture."""
        super().print(*objects, **options | {"soft_wrap": False})


def main() -> None:
    """Record the output of one comparison and save it."""
    runs, output = map(Path, sys.argv[1:3])
    recorder = Wrapped(record=True, width=88, force_terminal=True, highlight=False)

    class Recorded(Show):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.out = self.err = recorder

        def busy(self, text: str) -> AbstractContextManager[object]:
            return nullcontext()

    compare.Show = Recorded  # type: ignore[misc]
    recorder.print("$ [bold]fki compare runs/[/]")
    compare.compare([runs])
    svg = recorder.export_svg(title="fki", code_format=FONT.sub("", CONSOLE_SVG_FORMAT))
    output.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
