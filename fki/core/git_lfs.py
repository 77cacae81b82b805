"""Recognizes pointers of Git LFS, which a clone without `git lfs` has in place of large files.

A pointer is a short text: version, oid and size, as
https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md defines it.
"""

import re
from pathlib import Path

from fki.core.errors import DataError

POINTER_SIZE = 1024  # bytes; a pointer is shorter
POINTER = re.compile(rb"version https://\S+/spec/v1\n(?:.+\n)*size (\d+)\s*\Z")


def refuse_pointer(file: Path) -> None:
    """Raises DataError if the file is a pointer. An unreadable file is left to its reader."""
    try:
        with file.open("rb") as content:
            head = content.read(POINTER_SIZE)
    except OSError:
        return
    if match := POINTER.match(head):
        raise DataError(
            f"{file} is a Git LFS pointer to a file of {int(match[1]):,} bytes, not that file.",
            hint="Run in its repository: git lfs pull   or download the file from its page",
        )
