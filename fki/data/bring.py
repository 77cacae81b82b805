"""Original files from where a user says they are: a folder, a file, an archive, or an address."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from fki.core.errors import DataError
from fki.core.home import data_home, user_path
from fki.data.archives import is_archive, unpack
from fki.data.fetch import SUMS, Remote, Watch, fetch_file
from fki.data.files import file_digest
from fki.data.made import Origin
from fki.data.web import Web

ADDRESS = re.compile(r"https?://", re.IGNORECASE)


class Brought(NamedTuple):
    """A folder to read, and the archive or address that it came from, if it did."""

    folder: Path
    origins: list[Origin]


@contextmanager
def brought(place: str, licence: str, watch: Watch | None = None) -> Iterator[Brought]:
    """The files at a place, for as long as they are read; archives are unpacked.

    An address may end in #sha256=..., #sha1=... or #md5=..., what its file must be. Raises
    DataError where there is nothing.
    """
    if ADDRESS.match(place):
        file = _fetched(place, watch)
        url = place.partition("#")[0]
    else:
        file, url = user_path(place), ""
    if file.is_dir():
        yield Brought(file, [])
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
        yield Brought(folder, [Origin(file.name, licence, f"sha256 {file_digest(file)}", url)])


def _fetched(address: str, watch: Watch | None) -> Path:
    """The file of an address, under `downloads` in the data folder."""
    url, _, sums = address.partition("#")
    kind, _, value = sums.partition("=")
    if sums and (kind not in SUMS or not re.fullmatch(r"[0-9a-fA-F]+", value)):
        raise DataError(
            f"'#{sums}' is no checksum.", hint=f"Write #{kind if kind in SUMS else 'sha256'}=<hex>"
        )
    name = re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path.rpartition("/")[2])).lstrip(".")
    target = data_home() / "downloads" / (name or "file")
    with Web() as web:
        return fetch_file(web, Remote(url, **({kind: value} if sums else {})), target, watch)
