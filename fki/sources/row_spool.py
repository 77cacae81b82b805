"""Collections of rows and digests on disk, for more rows than fit into memory.

They are in the system's temporary folder (TMPDIR) and are deleted with their object.
"""

import json
import sqlite3
import tempfile
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fki.core.errors import DataError

Row = dict[str, Any]


class RowSpool(Collection[Row]):
    """Rows in a temporary file, which can be read any number of times."""

    def __init__(self) -> None:
        with _translate_disk_errors():
            self._out = tempfile.NamedTemporaryFile(  # noqa: SIM115  (it outlives this block)
                "w", encoding="utf-8", prefix="fki-", suffix=".jsonl", delete=False
            )
        self._size = 0
        weakref.finalize(self, _delete, self._out)

    def append(self, row: Row) -> None:
        """Add a row. Raises DataError if the disk is full."""
        with _translate_disk_errors():
            self._out.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._size += 1

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Row]:
        with _translate_disk_errors():
            self._out.flush()
        with open(self._out.name, encoding="utf-8") as lines:
            yield from map(json.loads, lines)

    def __contains__(self, row: object) -> bool:
        return any(row == own for own in self)


class SeenDigests:
    """A set of digests, on disk once it is large."""

    def __init__(self) -> None:
        # SQLite's own temporary file; the garbage collector may close it in another thread
        self._known = sqlite3.connect("", check_same_thread=False)
        weakref.finalize(self, self._known.close)
        self._known.execute("CREATE TABLE known (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def is_new(self, digest: bytes) -> bool:
        """Is the digest new? It is added."""
        added = self._known.execute("INSERT OR IGNORE INTO known VALUES (?)", (digest,))
        return added.rowcount == 1


@contextmanager
def _translate_disk_errors() -> Iterator[None]:
    """Raises DataError in place of OSError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Rows cannot be written to {tempfile.gettempdir()}: {error.strerror or error}.",
            hint="Free some space, or set TMPDIR to another folder.",
        ) from None


def _delete(out: IO[str]) -> None:
    out.close()
    Path(out.name).unlink(missing_ok=True)
