"""A session answers line by line until it is ended; an error does not end it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from fki.commands._ask_session import HELP, hold_session
from fki.commands._console import Show
from fki.core.errors import ConfigError

Fki = Callable[..., Any]


def hold(
    monkeypatch: pytest.MonkeyPatch, *lines: str, end: type[BaseException] = EOFError
) -> list[tuple[list[str], int]]:
    """The questions that a session of these lines asks, each with its number of runners-up."""
    left: Iterator[str] = iter(lines)

    def type_line(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise end from None

    asked = []

    def answer(questions: Sequence[str], runners_up: int) -> None:
        if "___" not in questions[0]:
            raise ConfigError("no blank", hint="write one")
        asked.append(([*questions], runners_up))

    monkeypatch.setattr("builtins.input", type_line)
    hold_session(answer, 4, Show())
    assert list(left) == [] or ":quit" in lines
    return asked


def test_each_line_is_a_question_and_empty_ones_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert hold(monkeypatch, " a ___ ", "", "b ___") == [(["a ___"], 4), (["b ___"], 4)]


def test_top_changes_the_number_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = hold(monkeypatch, "a ___", ":top 1", "b ___", ":top 51", "c ___")
    assert [number for _, number in found] == [4, 0, 50]


@pytest.mark.parametrize("end", [":quit", ":q", ":exit"])
def test_quit_ends_the_session(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    assert hold(monkeypatch, "a ___", end) == [(["a ___"], 4)]


def test_an_interrupt_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hold(monkeypatch, "a ___", end=KeyboardInterrupt) == [(["a ___"], 4)]


def test_an_error_is_shown_and_the_session_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["no place", ":top", ":top 0", ":top x", ":tip 3", ":help", "a ___"]
    assert hold(monkeypatch, *lines) == [(["a ___"], 4)]
    err = " ".join(capsys.readouterr().err.split())
    assert "Error: no blank write one" in err and err.count(":top requires a number") == 3
    assert "':tip' is no command. Did you mean ':top'?" in err and err.count(HELP) == 3


def test_without_a_question_and_a_terminal_there_is_an_error(fki: Fki) -> None:
    for more in ([], ["--json"]):
        shown = fki("ask", "t5-mini", *more)
        assert shown.code == 2 and "There is no question." in shown.words
        assert "fki ask t5-mini" in shown.words and "< FILE" in shown.words
