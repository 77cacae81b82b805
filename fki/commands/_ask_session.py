"""The session of `fki ask` without a question: the model is loaded once, then asked each line."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from fki.commands._console import Show
from fki.core.errors import ConfigError, FkiError, did_you_mean

PROMPT = "? "
HELP = "Write ___ where the answer belongs. :top 5 shows five answers, :quit ends."
COMMANDS = (":top", ":help", ":quit")
Answer = Callable[[Sequence[str], int], None]  # answers questions with so many runners-up


def hold_session(answer: Answer, runners_up: int, show: Show) -> None:
    """Answer the lines of a terminal until `:quit` or the end of input.

    An error is shown, and the session goes on.
    """
    _keep_history()
    show.note(HELP)
    while True:
        try:
            line = input(PROMPT).strip()
        except (EOFError, KeyboardInterrupt):
            show.err.print()
            return
        try:
            if line.startswith(":"):
                changed = _run_command(line, runners_up, show)
                if changed is None:
                    return
                runners_up = changed
            elif line:
                answer([line], runners_up)
        except FkiError as error:
            show.error(str(error), error.hint or "")


def _keep_history() -> None:
    """The arrow keys repeat earlier lines, where Python has readline."""
    with suppress(ImportError):
        import readline  # noqa: F401 - it changes `input`


def _run_command(line: str, runners_up: int, show: Show) -> int | None:
    """The number of runners-up from now on; None ends the session. Raises ConfigError."""
    from fki.inference import MAX_RUNNERS_UP

    name, _, value = line.partition(" ")
    if name in (":quit", ":q", ":exit"):
        return None
    if name == ":help":
        show.note(HELP)
    elif name == ":top":
        if not value.strip().isdecimal() or not 1 <= int(value) <= MAX_RUNNERS_UP + 1:
            raise ConfigError(f":top requires a number from 1 to {MAX_RUNNERS_UP + 1}.")
        return int(value) - 1
    else:
        raise ConfigError(f"'{name}' is no command.{did_you_mean(name, COMMANDS)}", hint=HELP)
    return runners_up
