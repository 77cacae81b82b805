"""Unpacks archives (zip, tar, tar.gz, .bz2, .xz, .zst) into a new folder, whole or not at all.

Refused are members with a path outside of the folder, links, devices, duplicate names, encryption
and archive bombs. Limits apply to the bytes that are unpacked, not to the sizes in headers.

`tarfile` stops at the first block that is no header, so it drops the members behind a damaged one,
and never reads the checksum at the end of the compressed stream. Here a tar archive must have its
end mark, and its stream is read to the end.
"""

import errno
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from fki.core.decompress import detect_compression, open_stream, read_errors
from fki.core.errors import DataError
from fki.core.git_lfs import refuse_pointer

CHUNK_SIZE = 2**20
MAX_PADDING = 64 * CHUNK_SIZE  # bytes after the end of a tar archive
ZIPPED_TABLES = (".xlsx",)  # zip files that are no archives
ARCHIVE_SUFFIXES = (".zip", ".7z", ".tar", ".tgz", ".tbz2", ".txz", ".tzst",
                    ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")  # fmt: skip
BROKEN_ARCHIVE: tuple[type[Exception], ...] = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    ValueError,
)
READ_ERRORS: tuple[type[Exception], ...] = (*BROKEN_ARCHIVE, OSError, EOFError)
NAME_CONFLICTS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)


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
    errors = (*BROKEN_ARCHIVE, *read_errors(detect_compression(archive)))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
            fresh = Path(place) / "fresh"
            fresh.mkdir()
            _extract(archive, fresh, bounds or ArchiveLimits())
            os.replace(fresh, folder)
    except errors as error:
        raise _unpack_error(archive, folder, error) from None
    return folder


def is_archive(file: Path) -> bool:
    """Is the file an archive, by its name or its content? Raises DataError for a Git LFS pointer.

    A damaged archive may have no more than its name. An Excel workbook is a zip file, and a table.
    """
    refuse_pointer(file)
    if file.suffix.lower() in ZIPPED_TABLES:
        return False
    if file.name.lower().endswith(ARCHIVE_SUFFIXES) or zipfile.is_zipfile(file):
        return True
    try:
        return tarfile.is_tarfile(file)
    except READ_ERRORS:  # of the compression around a tar archive
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
    compression = detect_compression(archive)
    with archive.open("rb") as packed, open_stream(archive, packed, compression) as content:
        yield from _iter_tar(archive, content)


def _iter_tar(archive: Path, content: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=content, mode="r:", tarinfo=_CheckedHeader) as tarred:
        for entry in tarred:
            if not (entry.isreg() or entry.isdir()) or entry.issparse():
                raise _refusal_error(archive, f"'{entry.name}' is a link or a device")
            yield Member(entry.name, entry.isdir(), partial(tarred.extractfile, entry))
    padding = 0
    while piece := content.read(CHUNK_SIZE):
        padding += len(piece)
        if piece.strip(b"\0") or padding > MAX_PADDING:
            raise _refusal_error(archive, "content follows its end")


class _CheckedHeader(tarfile.TarInfo):
    """A header of a tar archive; a damaged one, or none, is an error and not the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_CheckedHeader":
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not buf.strip(b"\0"):
                raise  # the end mark
            raise tarfile.ReadError(f"{error}, where a file or the end mark must be") from None


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


def _unpack_error(archive: Path, folder: Path, error: Exception) -> DataError:
    errno_ = error.errno if isinstance(error, OSError) else None  # none of damaged .gz and .bz2
    if errno_ is None:
        return _refusal_error(archive, f"it is broken: {str(error) or type(error).__name__}")
    why = os.strerror(errno_)
    if errno_ in NAME_CONFLICTS:
        return _refusal_error(archive, f"a name in it is unusable: {why}")
    return DataError(
        f"{archive} cannot be unpacked into {folder}: {why}.",
        hint="Free some space, then try again.",
    )


def _refusal_error(archive: Path, why: str) -> DataError:
    return DataError(
        f"{archive} is not unpacked: {why}.",
        hint="Download the archive again from its source; no file was kept.",
    )
