"""Downloads a file with resume and checksums; the file gets its name only when it is complete.

Bytes received so far are in `.<name>.part`; `.<name>.part.json` has the server's validators of the
file. The next attempt requests the rest on condition that the file is unchanged (RFC 9110, 13.1.5:
If-Range), so that the parts of two versions are never joined. `.<name>.origin` stores the URL and
the checksums of the complete file.
"""

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

from fki.core.atomic_io import file_checksums, sync, write_json
from fki.core.errors import DataError
from fki.net.http import HttpClient, RetryableError

CHECKSUMS = ("sha256", "sha1", "md5")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A URL, with the checksums that its source publishes, in hex."""

    url: str
    sha256: str = ""
    sha1: str = ""
    md5: str = ""

    @property
    def checksums(self) -> dict[str, str]:
        """The published checksums, by algorithm; "" if not published."""
        return {name: getattr(self, name) for name in CHECKSUMS}


class FileProgress(NamedTuple):
    """How much of a file is read or downloaded."""

    name: str
    done: int  # bytes
    total: int | None  # bytes; None if unknown
    seconds: float | None  # until it is complete, at the rate of this attempt


OnProgress = Callable[[FileProgress], None]


def fetch_file(
    client: HttpClient, remote: RemoteFile, target: Path, on_progress: OnProgress | None = None
) -> Path:
    """Download a file and check it; a file that exists already is only checked.

    Raises DataError if the download fails, a checksum is wrong, or the disk refuses.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.exists():
                _check_existing(remote, target)
                _check_server_unchanged(client, remote, target)
                return target
            return _Download(client, remote, target, on_progress).run()
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}.",
            hint="Free some space, or set FKI_HOME to another folder; the same command resumes.",
        ) from None


def find_checksum_mismatch(file: Path, expected: dict[str, str]) -> str:
    """The first checksum that differs, as text; "" if all given checksums match."""
    given = {name: value.lower() for name, value in expected.items() if value}
    actual = file_checksums(file, given)
    wrong = [name for name in given if actual[name] != given[name]]
    return f"its {wrong[0]} must be {given[wrong[0]]}, it is {actual[wrong[0]]}" if wrong else ""


def _check_existing(remote: RemoteFile, target: Path) -> None:
    """Raises DataError if an existing file does not match its checksums, or has none."""
    origin = target.with_name(f".{target.name}.origin")
    expected = remote.checksums
    try:
        expected["sha256"] = expected["sha256"] or _read_json_object(origin).get("sha256", "")
        if not any(expected.values()):
            fault = "no checksum or download record found"
        else:
            fault = find_checksum_mismatch(target, expected)
    except OSError as error:
        fault = f"it cannot be read: {error.strerror}"
    if fault:
        raise DataError(
            f"{target} cannot be verified: {fault}.",
            hint=f"Move {target} away and run the same command again.",
        )


def _check_server_unchanged(client: HttpClient, remote: RemoteFile, target: Path) -> None:
    """Raises DataError if the server has another version of an existing file.

    A file with a published checksum is not checked, and neither is one whose server is unreachable.
    """
    origin = _read_json_object(target.with_name(f".{target.name}.origin"))
    if any(remote.checksums.values()) or origin.get("url") != remote.url:
        return
    try:
        with client.open(remote.url, method="HEAD") as response:
            current = _read_validators(response)
    except (RetryableError, DataError):
        return
    before, now = _strong_validator(origin), _strong_validator(current)
    if before and now and before != now:
        raise DataError(
            f"{remote.url} has changed since {target} was downloaded.",
            hint=f"Move {target} away and run the same command to download the new version.",
        )


def _read_json_object(file: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is missing or unreadable."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


class _Download:
    """The download of one file."""

    def __init__(
        self,
        client: HttpClient,
        remote: RemoteFile,
        target: Path,
        on_progress: OnProgress | None,
    ) -> None:
        self.client, self.remote, self.target = client, remote, target
        self.on_progress = on_progress
        self.part = target.with_name(f".{target.name}.part")
        self.validators_file = target.with_name(f".{target.name}.part.json")
        self.most_received = self.received
        self.has_gained, self.is_resumed = False, False

    @property
    def received(self) -> int:
        """Bytes on disk."""
        return self.part.stat().st_size if self.part.exists() else 0

    def run(self) -> Path:
        """Download the file. If a resumed file has a wrong checksum, download it again, once."""
        for is_last in (False, True):
            self.client.retry(self._attempt, self.remote.url, lambda: self.has_gained)
            fault = find_checksum_mismatch(self.part, self.remote.checksums)
            if not fault:
                break
            self.part.unlink()
            if is_last or not self.is_resumed:
                raise DataError(
                    f"{self.remote.url} does not match its published checksum: {fault}. "
                    "Nothing was kept.",
                    hint="The file may be changed or damaged on the server: try again later.",
                )
            self.most_received = 0
        return self._publish()

    def _publish(self) -> Path:
        """Rename the complete file to its name, once it is on disk."""
        sync(self.part)
        validators = _read_json_object(self.validators_file)
        checksums = file_checksums(self.part, CHECKSUMS)
        origin = {"url": self.remote.url, **validators, **checksums}
        write_json(self.target.with_name(f".{self.target.name}.origin"), origin)
        os.replace(self.part, self.target)
        self.validators_file.unlink(missing_ok=True)
        return self.target

    def _attempt(self) -> None:
        """Download the missing bytes. Raises RetryableError if the connection breaks."""
        self.has_gained = False
        headers = {"Accept-Encoding": "identity"}  # ranges count the file's own bytes
        before, received = _read_json_object(self.validators_file), self.received
        validator = _strong_validator(before) if before.get("url") == self.remote.url else ""
        if received and validator:
            headers |= {"Range": f"bytes={received}-", "If-Range": validator}
        with self.client.open(self.remote.url, headers=headers) as response:
            continues = "Range" in headers and _is_continuation(response, received, before)
            if continues and response.status_code == 416:
                return  # the file was complete
            if response.status_code not in (200, 206) or (
                response.status_code == 206 and not continues
            ):
                self.part.unlink(missing_ok=True)
                raise RetryableError("the file has changed on the server; starting again")
            total = before.get("size") if continues else _content_length(response)
            if not continues:
                received = 0
                self.part.unlink(missing_ok=True)
                validators = {"url": self.remote.url, **_read_validators(response), "size": total}
                write_json(self.validators_file, validators)
            self.is_resumed |= continues
            self._check_free_space(total, received)
            self._append(response, received, total)

    def _check_free_space(self, total: int | None, received: int) -> None:
        free = shutil.disk_usage(self.target.parent).free
        if total is not None and total - received > free:
            missing, available = (total - received) / 2**20, free / 2**20
            raise OSError(28, f"{missing:,.0f} MiB are missing, {available:,.0f} MiB are free")

    def _append(self, response: Any, received: int, total: int | None) -> None:
        began, before = time.monotonic(), received
        try:
            with self.part.open("ab") as out:
                for chunk in response.iter_raw():
                    out.write(chunk)
                    received += len(chunk)
                    if self.on_progress:
                        rate = (received - before) / max(time.monotonic() - began, 1e-6)
                        rest = (total - received) / rate if total is not None and rate else None
                        name = self.target.name
                        self.on_progress(FileProgress(name, received, total, rest))
        finally:
            self.has_gained = self.received > self.most_received
            self.most_received = max(self.most_received, self.received)
        if total is not None and received != total:
            if received > total:
                self.part.unlink()
            raise RetryableError(f"{received} of {total} bytes received")


def _read_validators(response: Any) -> dict[str, str]:
    headers = response.headers
    return {"etag": headers.get("ETag", ""), "last_modified": headers.get("Last-Modified", "")}


def _strong_validator(validators: dict[str, Any]) -> str:
    """The ETag, or the date if the ETag is weak: a weak one does not promise the same bytes."""
    etag = str(validators.get("etag", ""))
    return etag if etag and not etag.startswith("W/") else str(validators.get("last_modified", ""))


def _content_length(response: Any) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _is_continuation(response: Any, received: int, before: dict[str, Any]) -> bool:
    """Does the response continue the same file at the next byte?"""
    content_range, size = response.headers.get("Content-Range", ""), before.get("size")
    if not _is_same_file(response, before):
        return False
    if response.status_code == 416:
        return bool(content_range == f"bytes */{received}" and size in (None, received))
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
    return bool(
        response.status_code == 206
        and match
        and int(match[1]) == received
        and (size is None or match[2] in ("*", str(size)))
    )


def _is_same_file(response: Any, before: dict[str, Any]) -> bool:
    """Is no validator of the response different from before?"""
    current = _read_validators(response)
    return all(not value or value == before.get(name) for name, value in current.items())
