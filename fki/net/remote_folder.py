"""Folders at an address of fsspec, such as s3://bucket/run: their copy here, and its changes.

fki works on the local copy. `push` uploads the files that have changed: an object store replaces
single objects at once, but not folders. The files that make others count, such as a checkpoint's
manifest and run.json, therefore come last, and a checkpoint without its manifest is ignored.
Addresses have no locks: two machines must not write to one address at the same time.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import fsspec

from fki.core.atomic_io import write_json
from fki.core.errors import FkiError
from fki.core.optional import describe_library_install
from fki.core.paths import data_home

ADDRESS = re.compile(r"(?!gguf:|hub:|ray:)([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])")
CHECKPOINTS, MANIFEST = "checkpoints", "manifest.json"
LAST = (MANIFEST, "LATEST", "scores.json", "run.json")  # uploaded after all other files, in order
TAGS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created")
LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def is_address(text: str) -> bool:
    """Is this an address rather than a path? Path objects have a single slash after the colon."""
    return ADDRESS.match(text) is not None


class Copied(NamedTuple):
    """A file that is equal here and there."""

    tag: str  # of the store: it differs for another content
    size: int
    time: int  # of the copy's last change, in nanoseconds


@dataclass
class RemoteFolder:
    """An address, and the folder with its copy."""

    address: str
    local: Path
    copied: dict[str, Copied] = field(default_factory=dict)  # by name

    def __post_init__(self) -> None:
        self._read_record()

    def _read_record(self) -> None:
        with suppress(OSError, ValueError, TypeError):
            stored = json.loads(self.record.read_text(encoding="utf-8"))
            self.copied = {name: Copied(*values) for name, values in stored.items()}

    @classmethod
    def at(cls, text: str) -> "RemoteFolder":
        """The address, with its copy in fki's data folder."""
        address = ADDRESS.sub(r"\1://", text.rstrip("/"))
        name = PurePosixPath(address).name or "folder"
        digest = sha256(address.encode()).hexdigest()[:12]
        return cls(address, data_home() / "remote" / digest / name)

    @property
    def record(self) -> Path:
        """The file beside the copy with what is equal."""
        return self.local.with_name(f".{self.local.name}.json")

    def pull(self, *, leave_out: str = "") -> bool:
        """Make the copy equal to the address, unless its checkpoints are newer than those there.

        Args:
            leave_out: the name of folders that are not copied.
        Returns:
            Is there anything at the address?
        Raises:
            FkiError: the address cannot be read.
        """
        self._read_record()  # another process may have copied it meanwhile
        store, root = self._open()
        try:
            found = store.find(root, detail=True) if store.exists(root) else {}
        except Exception as error:
            raise self._unreachable(error) from None
        names = {name: path for path in found if (name := _relative(path, root))}
        wanted = {n: p for n, p in names.items() if leave_out not in PurePosixPath(n).parts}
        if self._is_newer(store, names):
            return bool(names)
        for name, path in wanted.items():
            target, tag = self.local / name, _tag(found[path])
            if not self._is_copied(name, tag):
                target.parent.mkdir(parents=True, exist_ok=True)
                self._copy(store.get_file, path, str(target), name)
                self.copied[name] = Copied(tag, *self._stamp(name))
        for file in self._files():
            if file.relative_to(self.local).as_posix() not in names and not leave_out:
                file.unlink(missing_ok=True)  # of the copy, which is fki's own
        self._record()
        return bool(names)

    def push(self) -> int:
        """Upload what has changed, and remove the checkpoints that are no longer there.

        Returns the number of files. Raises FkiError if the address cannot be written to.
        """
        store, root = self._open()
        changed = [n for n in self._names() if not self._is_unchanged(n)]
        for name in sorted(changed, key=_rank):
            stamp, path = self._stamp(name), f"{root}/{name}"
            self._copy(store.put_file, str(self.local / name), path, name)
            self.copied[name] = Copied(self._read_tag(store, path), *stamp)
        gone = {_checkpoint_of(n) for n in self.copied} - {_checkpoint_of(n) for n in self._names()}
        for folder in filter(None, gone):
            with suppress(FileNotFoundError):
                store.rm(f"{root}/{folder}", recursive=True)
            self.copied = {n: c for n, c in self.copied.items() if _checkpoint_of(n) != folder}
        self._record()
        return len(changed)

    def _open(self) -> tuple[Any, str]:
        try:
            store, root = fsspec.core.url_to_fs(self.address)
        except ImportError:
            protocol = self.address.partition(":")[0]
            library = LIBRARIES.get(protocol, f"the fsspec library for {protocol}://")
            raise FkiError(
                f"{self.address} needs {library}, which is not installed.",
                hint=describe_library_install(library) if protocol in LIBRARIES else None,
            ) from None
        except (ValueError, OSError) as error:
            raise self._unreachable(error) from None
        store.invalidate_cache()
        return store, root.rstrip("/")

    def _unreachable(self, error: Exception) -> FkiError:
        cause = str(error).strip().splitlines()[:1] or [type(error).__name__]
        return FkiError(
            f"{self.address} cannot be reached: {cause[0]}",
            hint="Check the address, the network and the credentials, then run the same command "
            f"again. The copy on this machine: {self.local}",
        )

    def _copy(self, copy: Any, source: str, target: str, name: str) -> None:
        try:
            copy(source, target)
        except Exception as error:
            raise self._unreachable(error) from error

    def _files(self) -> Iterator[Path]:
        """The files of the copy, without hidden ones: locks and unfinished files."""
        for file in self.local.rglob("*") if self.local.is_dir() else ():
            parts = file.relative_to(self.local).parts
            if file.is_file() and not any(part.startswith(".") for part in parts):
                yield file

    def _names(self) -> list[str]:
        return [file.relative_to(self.local).as_posix() for file in self._files()]

    def _stamp(self, name: str) -> tuple[int, int]:
        status = (self.local / name).stat()
        return status.st_size, status.st_mtime_ns

    def _is_unchanged(self, name: str) -> bool:
        """Is the file as it was when it was copied?"""
        known = self.copied.get(name)
        is_there = known is not None and (self.local / name).is_file()
        return is_there and known is not None and (known.size, known.time) == self._stamp(name)

    def _is_copied(self, name: str, tag: str) -> bool:
        """Is the file the one that has this tag?"""
        return self._is_unchanged(name) and self.copied[name].tag == tag

    def _read_tag(self, store: Any, path: str) -> str:
        try:
            store.invalidate_cache()
            return _tag(store.info(path))
        except Exception as error:
            raise self._unreachable(error) from None

    def _record(self) -> None:
        """Store what is equal, for later commands."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.record, {name: list(copied) for name, copied in self.copied.items()})

    def _is_newer(self, store: Any, names: dict[str, str]) -> bool:
        """Does the copy have a newer checkpoint than the address, such as one not uploaded?"""
        ours = [_order(file.read_bytes()) for file in self._files() if file.name == MANIFEST]
        theirs = []
        for name, path in names.items():
            if PurePosixPath(name).name == MANIFEST:
                try:
                    theirs.append(_order(store.cat_file(path)))
                except Exception as error:
                    raise self._unreachable(error) from None
        return max(ours, default=-1) > max(theirs, default=-1)


def _tag(detail: dict[str, Any]) -> str:
    """What a store has beside the size to tell one content from another."""
    found = (str(detail[key]) for key in TAGS if detail.get(key))
    return f"{next(found, '')} {detail.get('size')}"


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/") if path.startswith(root) else ""


def _rank(name: str) -> tuple[int, str]:
    last = PurePosixPath(name).name
    return (LAST.index(last) + 1 if last in LAST else 0), name


def _checkpoint_of(name: str) -> str:
    """The folder of the checkpoint that a file belongs to; "" for other files."""
    parts = PurePosixPath(name).parts
    place = parts.index(CHECKPOINTS) if CHECKPOINTS in parts else len(parts)
    return "/".join(parts[: place + 2]) if len(parts) > place + 2 else ""


def _order(content: bytes) -> int:
    """The order of a checkpoint's manifest; -1 of another file."""
    try:
        return int(json.loads(content)["order"])
    except (ValueError, KeyError, TypeError):
        return -1
