"""Original files from where a user says: a folder, a file, an archive, an address, the Hub."""

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
    """A file or service that rows were made of, and what pins it down."""

    name: str
    license: str
    revision: str  # a digest, a revision id, or the time that it was asked
    url: str = ""


class SourceFiles(NamedTuple):
    """A folder to read, and the archive or address that it came from, if it did."""

    folder: Path
    origins: list[SourceRecord]


@contextmanager
def open_source(
    place: str,
    license: str,
    watch: OnProgress | None = None,
    *,
    patterns: Sequence[str] = ("*",),
    revision: str = "",
) -> Iterator[SourceFiles]:
    """The files at a place, for as long as they are read; archives are unpacked.

    An address may end in #sha256=..., #sha1=... or #md5=..., what its file must be. Of a dataset on
    the Hub, hub:owner/name, the files that match `patterns` are fetched, of a revision. Raises
    DataError where there is nothing.
    """
    if place.startswith(hub.HUB_PREFIX):
        snapshot = hub.pin_snapshot(place.removeprefix(hub.HUB_PREFIX), revision)
        with tempfile.TemporaryDirectory(prefix="fki-") as scratch:
            _link_files(snapshot, patterns, Path(scratch), watch)
            told = card_license(read_card(snapshot.folder / hub.CARD))
            told = license if told == "unknown" else told
            origin = SourceRecord(snapshot.name, told, snapshot.revision, snapshot.url)
            yield SourceFiles(Path(scratch), [origin])
        return
    file = resolve_place(place, watch)
    url = place.partition("#")[0] if ADDRESS.match(place) else ""
    if file.is_dir():
        yield SourceFiles(file, [])
        return
    if not file.is_file():
        raise DataError(
            f"There is nothing at {file}.", hint="Give the folder with the files: --from FOLDER"
        )
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


def resolve_place(place: str, watch: OnProgress | None = None) -> Path:
    """The file or folder at a place, an address being fetched into fki's own folder; it need not
    be there otherwise."""
    return fetch_address(place, watch) if ADDRESS.match(place) else expand_path(place)


def _link_files(
    snapshot: hub.HubSnapshot, wanted: Sequence[str], folder: Path, watch: OnProgress | None
) -> None:
    """What is wanted of a snapshot, in a folder: archives unpacked, other files by links."""
    names = [n for n in snapshot.names if any(fnmatchcase(n, pattern) for pattern in wanted)]
    if not names:
        raise DataError(
            f"{snapshot.name} has no {' or '.join(wanted)}.",
            hint=f"Look at {snapshot.url}, and give the folder with the files: --from FOLDER",
        )
    for name, file in zip(names, hub.fetch_files(snapshot, names, watch), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if is_archive(file):
            unpack(file, folder / name)
        else:
            (folder / name).symlink_to(file.absolute())


def fetch_address(address: str, watch: OnProgress | None) -> Path:
    """The file of an address, under `downloads` in the data folder."""
    url, _, sums = address.partition("#")
    kind, _, value = sums.partition("=")
    if sums and (kind not in CHECKSUMS or not re.fullmatch(r"[0-9a-fA-F]+", value)):
        raise DataError(
            f"'#{sums}' is no checksum.",
            hint=f"Write #{kind if kind in CHECKSUMS else 'sha256'}=<hex>",
        )
    name = re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path.rpartition("/")[2])).lstrip(".")
    folder = hashlib.sha256(url.encode()).hexdigest()[:16]  # many addresses end in one name
    target = data_home() / "downloads" / folder / (name or "file")
    with HttpClient() as web:
        return fetch_file(web, RemoteFile(url, **({kind: value} if sums else {})), target, watch)
