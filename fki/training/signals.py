"""What signals ask of a run: SIGINT and SIGTERM to stop after this step, SIGUSR1 to save now.

A second SIGINT or SIGTERM stops at once, wherever the run is.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class SignalRequests:
    """What has been asked for and not been done yet."""

    stop: bool = False
    save: bool = False


@contextmanager
def handle_signals() -> Iterator[SignalRequests]:
    """Signals become wishes in here; not outside of the main thread, where none arrive."""
    wishes = SignalRequests()
    if threading.current_thread() is not threading.main_thread():
        yield wishes
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if wishes.stop:
            raise KeyboardInterrupt
        wishes.stop = True

    def save(number: int, frame: FrameType | None) -> None:
        wishes.save = True

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop}
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        handlers[signal.SIGUSR1] = save
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield wishes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
