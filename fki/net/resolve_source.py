"""Opens the files of a place: a folder, a file, an archive, an address, or a Hub dataset."""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from fki.core.atomic_io import file_digest
from fki.core.errors import DataError
from fki.core.paths import data_home, expand_path
from fki.net import hub
from fki.net.archives import is_archive, unpack
from fki.net.downloads import CHECKSUMS, OnProgress, RemoteFile, fetch_file
from fki.net.http import HttpClient
from fki.net.hub import card_license, read_card

ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A file or service that rows come from, with its version."""

    name: str
    license: str
    revision: str  # a digest, a commit, or the time of the query
    url: str = ""


class SourceFiles(NamedTuple):
    """A folder to read, and the archive, address or Hub dataset that it comes from, if any."""

    folder: Path
    origins: list[SourceRecord]


@contextmanager
def open_source(
    place: str,
    license: str,
    on_progress: OnProgress | None = None,
    *,
    patterns: Sequence[str] = ("*",),
    revision: str = "",
) -> Iterator[SourceFiles]:
    """The files of a place, in a folder that exists for the duration of the context.

    Archives are unpacked. An address may end in #sha256=..., #sha1=... or #md5=..., which is then
    verified. Of a Hub dataset, hub:owner/name, the files that match `patterns` are fetched. Raises
    DataError if the place is empty or cannot be fetched.
    """
    if place.startswith(hub.HUB_PREFIX):
        snapshot = hub.pin_snapshot(place.removeprefix(hub.HUB_PREFIX), revision)
        with tempfile.TemporaryDirectory(prefix="fki-") as scratch:
            _link_files(snapshot, patterns, Path(scratch), on_progress)
            stated = card_license(read_card(snapshot.folder / hub.CARD))
            license = license if stated == "unknown" else stated
            origin = SourceRecord(snapshot.name, license, snapshot.revision, snapshot.url)
            yield SourceFiles(Path(scratch), [origin])
        return
    file = resolve_place(place, on_progress)
    url = place.partition("#")[0] if ADDRESS.match(place) else ""
    if file.is_dir():
        yield SourceFiles(file, [])
        return
    if not file.is_file():
        raise DataError(f"{file} not found.", hint="Give the folder with the files: --from FOLDER")
    with tempfile.TemporaryDirectory(prefix="fki-") as scratch:
        folder = Path(scratch) / "files"
        if is_archive(file):
            unpack(file, folder)
        else:
            folder.mkdir()
            shutil.copy(file, folder / file.name)
        yield SourceFiles(
            folder, [SourceRecord(file.name, license, f"sha256 {file_digest(file)}", url)]
        )


def resolve_place(place: str, on_progress: OnProgress | None = None) -> Path:
    """The path of a place; an address is downloaded. A local path may not exist."""
    return fetch_address(place, on_progress) if ADDRESS.match(place) else expand_path(place)


def _link_files(
    snapshot: hub.HubSnapshot, patterns: Sequence[str], folder: Path, on_progress: OnProgress | None
) -> None:
    """Fetch files of a snapshot into a folder: archives unpacked, other files as links."""
    names = [n for n in snapshot.names if any(fnmatchcase(n, pattern) for pattern in patterns)]
    if not names:
        raise DataError(
            f"{snapshot.name} has no file {' or '.join(patterns)}.",
            hint=f"See {snapshot.url}, or give a folder with the files: --from FOLDER",
        )
    for name, file in zip(names, hub.fetch_files(snapshot, names, on_progress), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if is_archive(file):
            unpack(file, folder / name)
        else:
            (folder / name).symlink_to(file.absolute())


def fetch_address(address: str, on_progress: OnProgress | None) -> Path:
    """Download an address into `downloads` in the data folder."""
    url, _, sums = address.partition("#")
    kind, _, value = sums.partition("=")
    if sums and (kind not in CHECKSUMS or not re.fullmatch(r"[0-9a-fA-F]+", value)):
        raise DataError(
            f"'#{sums}' is not a checksum.",
            hint=f"Write #{kind if kind in CHECKSUMS else 'sha256'}=<hex>",
        )
    name = re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path.rpartition("/")[2])).lstrip(".")
    folder = hashlib.sha256(url.encode()).hexdigest()[
        :16
    ]  # different addresses may end in the same name
    target = data_home() / "downloads" / folder / (name or "file")
    with HttpClient() as client:
        return fetch_file(
            client, RemoteFile(url, **({kind: value} if sums else {})), target, on_progress
        )
