"""Signals of a run: SIGINT and SIGTERM stop it after the current step, SIGUSR1 saves a checkpoint.

A second SIGINT or SIGTERM stops the run at once, at any point. Before the first step and after the
last, either signal stops the command at once, with the same exit code.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from fki.core.errors import Interrupted


@dataclass(slots=True)
class SignalRequests:
    """Requests that are not fulfilled yet."""

    stop: bool = False
    save: bool = False


@contextmanager
def handle_signals() -> Iterator[SignalRequests]:
    """Within the context, signals become requests; only in the main thread, which receives them."""
    requests = SignalRequests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return

    def request_stop(number: int, frame: FrameType | None) -> None:
        if requests.stop:
            raise KeyboardInterrupt
        requests.stop = True

    def request_save(number: int, frame: FrameType | None) -> None:
        requests.save = True

    handlers = {signal.SIGINT: request_stop, signal.SIGTERM: request_stop}
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        handlers[signal.SIGUSR1] = request_save
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def stop_at_once() -> Iterator[None]:
    """Within the context, SIGINT and SIGTERM raise Interrupted, for a command that can be repeated.

    A run's own handlers replace these while it takes its steps. Only in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Interrupted.", hint="Run the same command with --resume.") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
