"""The datasets that fki knows by name, where they come from, and how any dataset is opened.

A new source is one class with `name`, `summary`, `how` and `fetch`, and one line in `SOURCES`.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from fki.core.errors import DataError, NotDownloaded, nearest
from fki.core.paths import asset, data_home, user_path
from fki.core.types import Prompt, Stream, Version
from fki.data.dataset_folder import MANIFEST, data_files, digest, file_digest, read_folder
from fki.sources.benchmarks.registry import READERS

NAME = re.compile(r"\w[\w.-]*")


class Source(Protocol):
    """A place that a dataset comes from."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def summary(self) -> str:
        """What it holds."""

    @property
    def how(self) -> str:
        """What to type for it."""

    def fetch(self, folder: Path) -> None:
        """Write the dataset's files, its card and its manifest into an empty folder."""


class Embedded:
    """A dataset that ships inside the package."""

    def __init__(self, name: str, summary: str) -> None:
        self.name, self.summary, self.how = name, summary, f"fki download {name}"

    def fetch(self, folder: Path) -> None:
        """Copy the files out of the package."""
        with _disk(folder):
            shutil.copytree(asset(self.name), folder, dirs_exist_ok=True)


WIKI = Embedded(
    "wiki", "dated facts of 2023-2025: offices, ambassadors, committees, sports, software"
)
SOURCES: dict[str, Source] = {WIKI.name: WIKI, **READERS}


def dataset_folder(name: str) -> Path:
    """Where a known dataset is kept on this machine."""
    return data_home() / "datasets" / name


def fetch(name: str) -> tuple[Path, bool]:
    """Bring a known dataset onto this machine and verify it.

    Returns its folder, and whether it was there already.
    Raises DataError for an unknown name, for a data folder that cannot be written to, or for files
    that are not what their checksums say.
    """
    source = SOURCES.get(name)
    if source is None:
        raise DataError(
            f"No dataset is called '{name}'.{nearest(name, SOURCES)}",
            hint="Run: fki download --list",
        )
    folder = dataset_folder(name)
    with alone(folder):
        if folder.exists():
            verify(folder)
            return folder, True
        place(folder, source.fetch)
        return folder, False


@contextmanager
def alone(folder: Path, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """One process at a time makes a dataset in this place; another waits until it is there.

    Args:
        waits: is called where it has to.
    """
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    lock = FileLock(data_home() / "locks" / name)
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        waits()
        lock.acquire()
    except OSError:
        pass  # whether the dataset can be written, its own place tells
    try:
        yield
    finally:
        lock.release()


def build(folder: Path, fill: Callable[[Path], None]) -> bool:
    """Make a dataset in a folder; one that is there already must hold the same.

    Returns whether it was there. Raises DataError where another one is.
    """
    if not folder.exists():
        place(folder, fill)
        return False
    told = verify(folder)
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch))
        if verify(Path(scratch)) != told:
            raise DataError(
                f"{folder} holds a dataset that was made of something else.",
                hint=f"Give another --output, or move {folder} away.",
            )
    return True


def place(folder: Path, fill: Callable[[Path], None]) -> None:
    """What `fill` writes into an empty folder, verified, under its name; or nothing. Only `alone`.

    Raises DataError for a place that cannot be written to, or files that are not what they must be.
    """
    room = folder.with_name(f".{folder.name}.fki")
    fresh = room / folder.name
    try:
        with _disk(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(room, ignore_errors=True)  # what a process left that was killed
            fresh.mkdir(parents=True)
        fill(fresh)
        verify(fresh)
        with _disk(folder):
            os.replace(fresh, folder)
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Raises DataError where the disk refuses."""
    try:
        yield
    except OSError as error:
        why = error.strerror or "not all files could be copied"
        raise DataError(
            f"The dataset cannot be put into {folder}: {why}.",
            hint="Free some space, or set FKI_HOME to a folder that can be written to.",
        ) from None


def kept() -> list[str]:
    """The names of the datasets on this machine."""
    folder = data_home() / "datasets"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(f.name for f in found if f.is_dir() and NAME.fullmatch(f.name))


def check(folder: Path) -> list[str]:
    """What is wrong with a dataset folder beside its rows, which `read_folder` checks.

    A folder of one's own needs neither manifest nor card; one that fki made has both.
    """
    faults = []
    if (folder / MANIFEST).exists():
        try:
            verify(folder)
        except DataError as error:
            faults.append(str(error))
        if not (folder / "README.md").is_file():
            faults.append(f"{folder} has no card, README.md.")
    return faults


def verify(folder: Path) -> str:
    """The digest of a fetched dataset. Raises DataError where a file is altered or missing."""
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        file = folder / name
        found = file_digest(file) if file.is_file() else "no such file"
        if found != expected["sha256"]:
            raise DataError(
                f"{file} was altered: its SHA-256 must be {expected['sha256']}, it is {found}.",
                hint=f"Move {folder} away and run: fki download {manifest['name']}",
            )
    if digest(folder) != manifest["digest"]:
        extra = sorted(
            {f.relative_to(folder).as_posix() for f in data_files(folder)} - set(manifest["files"])
        )
        raise DataError(
            f"{folder} holds files that its manifest does not name: {', '.join(extra)}.",
            hint="Keep your own data in a folder of your own: --set dataset=path/",
        )
    return str(manifest["digest"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a fetched dataset. Raises DataError where there is no readable one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {name: {"sha256": entry["sha256"]} for name, entry in manifest["files"].items()}
        return {
            "name": manifest["name"],
            "digest": manifest["digest"],
            "files": files,
            "command": manifest.get("made", {}).get("command", ""),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder / MANIFEST} cannot be read: {error!r}.",
            hint=f"Move {folder} away and download the dataset again.",
        ) from None


def open_stream(dataset: str, version: Version, prompt: Prompt) -> Stream:
    """A known dataset by name, or a folder, cut into periods.

    Raises NotDownloaded for a known dataset that is not on this machine, DataError for anything
    else that cannot be read.
    """
    folder = folder_of(dataset)
    if is_known(dataset):
        if not folder.exists():
            also = f"; your own folder is ./{dataset}" if user_path(dataset).is_dir() else ""
            raise NotDownloaded(
                f"Dataset '{dataset}' is not on this machine ({folder}).",
                hint=f"Run: {SOURCES[dataset].how}{also}",
            )
        verify(folder)
        return read_folder(folder, version, prompt, name=dataset)
    if not folder.is_dir():
        raise DataError(
            f"No dataset '{dataset}': neither a known name ({', '.join(SOURCES)}) nor a folder."
            f"{nearest(dataset, SOURCES)}",
            hint="Run: fki download --list   or give a folder with a stream.jsonl",
        )
    return read_folder(folder, version, prompt, name=folder.resolve().name)


def folder_of(dataset: str) -> Path:
    """Where a dataset is, by its name or folder; it may not be there."""
    return dataset_folder(dataset) if is_known(dataset) else user_path(dataset)


def is_known(dataset: str) -> bool:
    """Is it a name, and not a folder of the user's own?"""
    return dataset in SOURCES or _is_kept(dataset)


def _is_kept(dataset: str) -> bool:
    """Is it the name of a dataset that was made on this machine?"""
    is_name = NAME.fullmatch(dataset) is not None
    return is_name and (dataset_folder(dataset) / MANIFEST).is_file()
