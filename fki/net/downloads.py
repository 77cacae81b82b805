"""A file from the web, whole or not at all.

What came is kept in `.<name>.part`, beside it what the server said of the file. The next attempt
asks for the rest on condition that the file is still the same one (RFC 9110, 13.1.5: If-Range), so
that a changed file is never glued to an old half. The file gets its name when its size and its
checksums are right; `.<name>.origin` then says where it came from and its SHA-256.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from fki.core.atomic_io import sync, write_json
from fki.core.errors import DataError
from fki.net.http import HttpClient, RetryableError

CHECKSUMS = ("sha256", "sha1", "md5")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the web, with the checksums that its source publishes, in hex."""

    url: str
    sha256: str = ""
    sha1: str = ""
    md5: str = ""


class FileProgress(NamedTuple):
    """How far a file is."""

    name: str
    done: int  # bytes
    total: int | None  # bytes; None where the server does not say
    seconds: float | None  # until it is here, at the rate of this attempt


OnProgress = Callable[[FileProgress], None]


def fetch_file(
    web: HttpClient, remote: RemoteFile, target: Path, watch: OnProgress | None = None
) -> Path:
    """The file, fetched and checked; one that is there already is checked only.

    Raises DataError where it cannot be fetched, is not what its checksums say, or does not fit.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.exists():
                _check_existing(remote, target)
                _check_server_unchanged(web, remote, target)
                return target
            return _Download(web, remote, target, watch).whole()
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}.",
            hint="Free some space, or set FKI_HOME to another folder; the same command goes on.",
        ) from None


def file_checksums(file: Path, names: tuple[str, ...] = CHECKSUMS) -> dict[str, str]:
    """Checksums of a file, read once."""
    found = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with file.open("rb") as content:
        while part := content.read(2**20):
            for total in found.values():
                total.update(part)
    return {name: total.hexdigest() for name, total in found.items()}


def find_checksum_mismatch(file: Path, expected: dict[str, str]) -> str:
    """What is wrong with a file, in words; empty where all checksums that are given are right."""
    given = {name: value.lower() for name, value in expected.items() if name in CHECKSUMS and value}
    found = file_checksums(file, tuple(given))
    wrong = [n for n in given if found[n] != given[n]]
    return f"its {wrong[0]} must be {given[wrong[0]]}, it is {found[wrong[0]]}" if wrong else ""


def _published_checksums(remote: RemoteFile) -> dict[str, str]:
    return {name: getattr(remote, name) for name in CHECKSUMS}


def _check_existing(remote: RemoteFile, target: Path) -> None:
    """Raises DataError where a file that was fetched before is not what it must be."""
    origin = target.with_name(f".{target.name}.origin")
    expected = _published_checksums(remote)
    try:
        expected["sha256"] = expected["sha256"] or _read_json_object(origin).get("sha256", "")
        fault = (
            find_checksum_mismatch(target, expected)
            if any(expected.values())
            else "nothing vouches for it"
        )
    except OSError as error:
        fault = f"it cannot be read: {error.strerror}"
    if fault:
        raise DataError(
            f"{target} was altered or is not fki's: {fault}.",
            hint=f"Move {target} away and run the same command again.",
        )


def _check_server_unchanged(web: HttpClient, remote: RemoteFile, target: Path) -> None:
    """Raises DataError where the server has another file by now; one that cannot be asked, or a
    checksum that pins the file, leaves it as it is."""
    told = _read_json_object(target.with_name(f".{target.name}.origin"))
    if any(_published_checksums(remote).values()) or told.get("url") != remote.url:
        return
    try:
        with web.open(remote.url, method="HEAD") as response:
            now = _read_validators(response)
    except (RetryableError, DataError):
        return
    if all(map(_strong_validator, (told, now))) and _strong_validator(told) != _strong_validator(
        now
    ):
        raise DataError(
            f"{remote.url} has changed since {target} was fetched.",
            hint=f"Move {target} away, and run the same command to fetch what is there now.",
        )


def _read_json_object(file: Path) -> dict[str, Any]:
    """An object, empty where there is none that can be read."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


class _Download:
    """One file on its way."""

    def __init__(
        self, web: HttpClient, remote: RemoteFile, target: Path, watch: OnProgress | None
    ) -> None:
        self.web, self.remote, self.target, self.watch = web, remote, target, watch
        self.part = target.with_name(f".{target.name}.part")
        self.said = target.with_name(f".{target.name}.part.json")  # by the server, of the part
        self.most = self.have
        self.gained, self.is_glued = False, False

    @property
    def have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def whole(self) -> Path:
        """The file under its name. A wrong sum after a resumed half is fetched afresh, once."""
        for is_last in (False, True):
            self.web.retry(self._attempt, self.remote.url, lambda: self.gained)
            fault = find_checksum_mismatch(self.part, _published_checksums(self.remote))
            if not fault:
                break
            self.part.unlink()
            if is_last or not self.is_glued:
                raise DataError(
                    f"{self.remote.url} is not what its source says: {fault}. Nothing was kept.",
                    hint="The file may have been changed or damaged there: try again later.",
                )
            self.most = 0
        return self._name()

    def _name(self) -> Path:
        """Give the whole file its name, once the disk holds it."""
        sync(self.part)
        origin = {
            "url": self.remote.url,
            **_read_json_object(self.said),
            **file_checksums(self.part),
        }
        write_json(self.target.with_name(f".{self.target.name}.origin"), origin)
        os.replace(self.part, self.target)
        self.said.unlink(missing_ok=True)
        return self.target

    def _attempt(self) -> None:
        """Bring what is missing. Raises TryLater where the line breaks."""
        self.gained = False
        headers = {"Accept-Encoding": "identity"}  # the file's own bytes, so that ranges fit
        told = _read_json_object(self.said)
        have = self.have
        validator = _strong_validator(told) if told.get("url") == self.remote.url else ""
        if have and validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        with self.web.open(self.remote.url, headers=headers) as response:
            goes_on = "Range" in headers and _is_continuation(response, have, told)
            if goes_on and response.status_code == 416:
                return  # all of it was here
            if response.status_code not in (200, 206) or (
                response.status_code == 206 and not goes_on
            ):
                self.part.unlink(missing_ok=True)
                raise RetryableError("the file is another one by now: beginning anew")
            total = told.get("size") if goes_on else _content_length(response)
            if not goes_on:
                have = 0
                self.part.unlink(missing_ok=True)
                write_json(
                    self.said, {"url": self.remote.url, **_read_validators(response), "size": total}
                )
            self.is_glued |= goes_on
            self._check_room(total, have)
            self._read(response, have, total)

    def _check_room(self, total: int | None, have: int) -> None:
        free = shutil.disk_usage(self.target.parent).free
        if total is not None and total - have > free:
            raise OSError(28, f"{(total - have) / 2**20:,.0f} MiB are to come, and "
                          f"{free / 2**20:,.0f} MiB are free")  # fmt: skip

    def _read(self, response: Any, have: int, total: int | None) -> None:
        began, before = time.monotonic(), have
        try:
            with self.part.open("ab") as out:
                for piece in response.iter_raw():
                    out.write(piece)
                    have += len(piece)
                    if self.watch:
                        rate = (have - before) / max(time.monotonic() - began, 1e-6)
                        rest = (total - have) / rate if total is not None and rate else None
                        self.watch(FileProgress(self.target.name, have, total, rest))
        finally:
            self.gained = self.have > self.most
            self.most = max(self.most, self.have)
        if total is not None and have != total:
            if have > total:
                self.part.unlink()
            raise RetryableError(f"{have} of {total} bytes came")


def _read_validators(response: Any) -> dict[str, str]:
    headers = response.headers
    return {"etag": headers.get("ETag", ""), "last_modified": headers.get("Last-Modified", "")}


def _strong_validator(told: dict[str, Any]) -> str:
    """What the rest is asked for with: a weak ETag does not promise the same bytes."""
    etag = str(told.get("etag", ""))
    return etag if etag and not etag.startswith("W/") else str(told.get("last_modified", ""))


def _content_length(response: Any) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _is_continuation(response: Any, have: int, told: dict[str, Any]) -> bool:
    """Is this the rest of the file that the part is of, from the very next byte on?"""
    place = response.headers.get("Content-Range", "")
    size = told.get("size")
    if response.status_code == 416:
        return bool(
            place == f"bytes */{have}" and size in (None, have) and _is_same_file(response, told)
        )
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", place)
    return bool(
        response.status_code == 206
        and found
        and int(found[1]) == have
        and (size is None or found[2] in ("*", str(size)))
        and _is_same_file(response, told)
    )


def _is_same_file(response: Any, told: dict[str, Any]) -> bool:
    """Does what the server says of the file now contradict nothing that it said before?"""
    return all(not new or new == told.get(name) for name, new in _read_validators(response).items())
