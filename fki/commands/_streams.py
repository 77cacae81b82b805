"""The standard streams of a command: of any encoding, closed, full, or read by nobody."""

import codecs
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from fki.core.errors import FkiError

LOOKALIKES = str.maketrans("▲▼━┿│●…’‘“”–—−", "^v=+|o.''\"\"---")
REPLACE = "fki.replace"  # the name of an error handler of codecs


def _replace_characters(error: UnicodeError) -> tuple[str, int]:
    """Characters that a stream cannot encode, as similar ones or as `?`."""
    assert isinstance(error, UnicodeEncodeError)
    similar = error.object[error.start : error.end].translate(LOOKALIKES)
    return "".join(c if c.isascii() else "?" for c in similar), error.end


codecs.register_error(REPLACE, _replace_characters)


class GuardedStream:
    """A standard stream whose errors are sentences: for stdout an FkiError, for stderr nothing.

    A pipe that its reader closed raises BrokenPipeError, as ever.
    """

    def __init__(self, stream: IO[str], *, is_error: bool) -> None:
        self._stream, self._is_error = stream, is_error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text."""
        with self._guard():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with self._guard():
            self._stream.flush()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EINVAL):  # EINVAL: a closed pipe on Windows
                raise
            self._discard()
            if not self._is_error:
                raise FkiError(f"Standard output cannot be written: {error.strerror}.") from None

    def _discard(self) -> None:
        """Send what is buffered nowhere; the interpreter would fail on it at its end."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def guard_streams() -> Iterator[None]:
    """Within the context, stdout and stderr are guarded; one that is closed discards its text."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        _guard_stream(stream, is_error=stream is before[1]) for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _guard_stream(stream: IO[str] | None, *, is_error: bool) -> Any:
    if stream is None:  # closed, as by >&-
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=REPLACE)
    return GuardedStream(stream, is_error=is_error)


def ignore_empty_size() -> None:
    """Remove COLUMNS=0 and LINES=0 from the environment: a terminal of no size shows nothing."""
    for name in ("COLUMNS", "LINES"):
        value = os.environ.get(name, "")
        if value.strip("0") == "" and value:
            del os.environ[name]


def ignore_interrupts() -> None:
    """Let a further Ctrl-C pass while the process ends: it would interrupt what runs at exit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
