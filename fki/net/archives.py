"""Unpacks archives (zip, tar, tar.gz, tar.bz2, tar.xz) into a new folder, whole or not at all.

Refused are members with a path outside of the folder, links, devices, duplicate names, encryption
and archive bombs. Limits apply to the bytes that are unpacked, not to the sizes in headers.
"""

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from fki.core.errors import DataError

CHUNK_SIZE = 2**20
BROKEN_ARCHIVE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits of an unpacked archive."""

    files: int = 100_000
    total: int = 64 * 2**30  # bytes
    ratio: int = 200  # unpacked to packed; for text it is seldom above 20
    free_of_ratio: int = 64 * 2**20  # bytes; below this, any ratio is accepted


class Member(NamedTuple):
    """A file or folder of an archive."""

    name: str
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, bounds: ArchiveLimits | None = None) -> Path:
    """Unpack an archive into a new folder. Returns the folder.

    Raises DataError if the archive is broken or unsafe, or if the disk refuses; the folder does not
    exist then.
    """
    if folder.exists():
        raise DataError(f"{folder} exists already.", hint="Move it away, then try again.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
            fresh = Path(place) / "fresh"
            fresh.mkdir()
            _extract(archive, fresh, bounds or ArchiveLimits())
            os.replace(fresh, folder)
    except BROKEN_ARCHIVE as error:
        raise _refusal_error(archive, f"it is broken: {error}") from None
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked into {folder}: {error.strerror or error}.",
            hint="Free some space, then try again.",
        ) from None
    return folder


def is_archive(file: Path) -> bool:
    """Is the file a zip or tar archive? A broken one counts if its first member is readable."""
    try:
        return zipfile.is_zipfile(file) or tarfile.is_tarfile(file)
    except BROKEN_ARCHIVE:  # of the compression around a tar archive
        return False


def _extract(archive: Path, fresh: Path, bounds: ArchiveLimits) -> None:
    most = max(bounds.free_of_ratio, bounds.ratio * archive.stat().st_size)
    room = min(bounds.total, most)
    seen: set[str] = set()
    with closing(_iter_members(archive)) as members:
        for number, member in enumerate(members, 1):
            if number > bounds.files:
                raise _refusal_error(archive, f"it holds more than {bounds.files:,} files")
            path = _safe_path(archive, member.name)
            if member.is_folder:
                (fresh / path).mkdir(parents=True, exist_ok=True)
                continue
            if str(path).casefold() in seen:
                raise _refusal_error(archive, f"it holds '{member.name}' twice")
            seen.add(str(path).casefold())
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            room -= _write_member(member, fresh / path, room)
            if room < 0:
                raise _refusal_error(archive, f"it grows beyond {min(bounds.total, most):,} bytes")


def _write_member(member: Member, file: Path, room: int) -> int:
    """Write a member. Returns the bytes written, which may exceed `room` by one chunk."""
    written, opened = 0, member.open()
    if opened is None:
        raise ValueError(f"'{member.name}' has no content")
    with opened as content, file.open("xb") as out:
        while (piece := content.read(CHUNK_SIZE)) and written <= room:
            if shutil.disk_usage(file.parent).free < 2 * CHUNK_SIZE:
                raise OSError(28, "No space left on device")
            out.write(piece)
            written += len(piece)
    return written


def _iter_members(archive: Path) -> Generator[Member, None, None]:
    """The files and folders of an archive. Raises DataError for any other member."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _refusal_error(archive, f"'{info.filename}' is a link or a device")
                if info.flag_bits & 1:
                    raise _refusal_error(archive, f"'{info.filename}' is encrypted")
                yield Member(info.orig_filename, info.is_dir(), partial(zipped.open, info))
        return
    with archive.open("rb") as packed, tarfile.open(fileobj=packed) as tarred:
        for entry in tarred:
            if not (entry.isreg() or entry.isdir()) or entry.issparse():
                raise _refusal_error(archive, f"'{entry.name}' is a link or a device")
            yield Member(entry.name, entry.isdir(), partial(tarred.extractfile, entry))


def _safe_path(archive: Path, name: str) -> Path:
    """The member's path within the folder. Raises DataError for a path outside of it."""
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or any(sign in name for sign in ("\\", "\0", ":"))  # Windows' separators and drives
    ):
        raise _refusal_error(archive, f"'{name}' is outside of it")
    return Path(*path.parts)


def _refusal_error(archive: Path, why: str) -> DataError:
    return DataError(
        f"{archive} is not unpacked: {why}.",
        hint="Download the archive again from its source; no file was kept.",
    )
