"""The help of every command at 80 columns, in the golden file `tests/golden/help.txt`.

To accept a change: see `test_messages.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from fki.commands.app import app
from tests.support.golden import Golden


def find_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group, from the root on."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from find_commands(inner, (*path, name))


COMMANDS = [*find_commands(typer.main.get_command(app))]


@pytest.fixture(scope="module")
def golden() -> Iterator[Golden]:
    golden = Golden("help.txt", [" ".join(("fki", *words, "--help")) for words in COMMANDS])
    yield golden
    golden.write()


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "fki")
def test_the_help_is_that_of_the_golden_file(
    fki: Callable[..., Any],
    golden: Golden,
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = fki(*words, "--help")
    assert shown.code == 0
    golden.check(" ".join(("fki", *words, "--help")), shown.out)


def test_the_golden_file_has_no_other_commands(golden: Golden) -> None:
    assert sorted(golden.texts) == sorted(golden.keys)
