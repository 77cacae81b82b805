"""The command line in-process: its exit code, its output, and its rows where it writes JSON."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fki.commands.app import main


class Shown(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def words(self) -> str:
        """All of stderr on one line."""
        return re.sub(r"\s+", " ", self.err)


Fki = Callable[..., Shown]


@pytest.fixture
def fki(capsys: pytest.CaptureFixture[str]) -> Fki:
    """Run the command line; an exception that is no exit fails the test."""

    def run(*arguments: str | Path) -> Shown:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(a) for a in arguments])
            raise SystemExit(0)
        return Shown(int(caught.value.code or 0), *capsys.readouterr())

    return run
