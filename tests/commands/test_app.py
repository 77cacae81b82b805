"""The command line as a whole: the log of the library, on request."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from fki import __version__
from fki.commands import app

Fki = Callable[..., Any]


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The logger of the library, as it was after the test."""
    logger = logging.getLogger("fki")
    before = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = before


def test_the_log_is_shown_only_on_request(
    fki: Fki, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fki("plan", "--to-toml").code == 0
    logger.getChild("net.http").info("before")
    assert capsys.readouterr().err == ""
    assert fki("--verbose", "plan", "--to-toml").code == 0
    assert fki("-v", "plan", "--to-toml").code == 0
    logger.getChild("net.http").debug("Retry %d of [x]", 1)
    assert capsys.readouterr().err.count("Retry 1 of [x]") == 1


def test_the_log_never_goes_to_stdout(fki: Fki, logger: logging.Logger) -> None:
    shown = fki("-v", "plan", "--to-toml")
    assert shown.out == fki("plan", "--to-toml").out


def test_the_version_is_that_of_the_package(fki: Fki) -> None:
    assert fki("--version").out == f"fki {__version__}\n"


@pytest.mark.parametrize("command", ["eval", "export", "compare", "ask"])
def test_a_path_that_no_file_system_takes_is_an_error_in_words(command: str, fki: Fki) -> None:
    question = ["The head of X is ___."] if command == "ask" else []
    shown = fki(command, "x" * 5000, *question)
    assert shown.code == 2 and "File name too long" in shown.words and len(shown.words) < 300


@pytest.mark.parametrize(("option", "left"), [("--version", 1), ("--unknown", 0)])
def test_a_command_that_succeeds_leaves_the_processes_of_a_launcher(
    option: str, left: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: calls.append("left"))
    monkeypatch.setattr(app, "ignore_interrupts", lambda: None)
    monkeypatch.setattr("sys.argv", ["fki", option])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert bool(end.value.code) == (not left) and len(calls) == left
