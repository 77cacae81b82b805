"""The datasets that fki knows by name, where they come from, and how any dataset is opened.

A new source is one class with `name`, `summary`, `how` and `fetch`, and one line in `SOURCES`.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from fki.core.errors import DataError, did_you_mean
from fki.core.paths import asset_folder, data_home
from fki.data.dataset_folder import MANIFEST
from fki.data.open_dataset import DATASET_NAME, dataset_folder, verify_dataset
from fki.sources.benchmarks.registry import BENCHMARKS


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
        with _translate_disk_errors(folder):
            shutil.copytree(asset_folder(self.name), folder, dirs_exist_ok=True)


WIKI = Embedded(
    "wiki", "dated facts of 2023-2025: offices, ambassadors, committees, sports, software"
)
SOURCES: dict[str, Source] = {WIKI.name: WIKI, **BENCHMARKS}


def fetch_dataset(name: str) -> tuple[Path, bool]:
    """Bring a known dataset onto this machine and verify it.

    Returns its folder, and whether it was there already.
    Raises DataError for an unknown name, for a data folder that cannot be written to, or for files
    that are not what their checksums say.
    """
    source = SOURCES.get(name)
    if source is None:
        raise DataError(
            f"No dataset is called '{name}'.{did_you_mean(name, SOURCES)}",
            hint="Run: fki download --list",
        )
    folder = dataset_folder(name)
    with lock_folder(folder):
        if folder.exists():
            verify_dataset(folder)
            return folder, True
        place_dataset(folder, source.fetch)
        return folder, False


@contextmanager
def lock_folder(folder: Path, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
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


def place_or_compare(folder: Path, fill: Callable[[Path], None]) -> bool:
    """Make a dataset in a folder; one that is there already must hold the same.

    Returns whether it was there. Raises DataError where another one is.
    """
    if not folder.exists():
        place_dataset(folder, fill)
        return False
    told = verify_dataset(folder)
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch))
        if verify_dataset(Path(scratch)) != told:
            raise DataError(
                f"{folder} holds a dataset that was made of something else.",
                hint=f"Give another --output, or move {folder} away.",
            )
    return True


def place_dataset(folder: Path, fill: Callable[[Path], None]) -> None:
    """What `fill` writes into an empty folder, verified, under its name; or nothing. Only `alone`.

    Raises DataError for a place that cannot be written to, or files that are not what they must be.
    """
    room = folder.with_name(f".{folder.name}.fki")
    fresh = room / folder.name
    try:
        with _translate_disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(room, ignore_errors=True)  # what a process left that was killed
            fresh.mkdir(parents=True)
        fill(fresh)
        verify_dataset(fresh)
        with _translate_disk_errors(folder):
            os.replace(fresh, folder)
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _translate_disk_errors(folder: Path) -> Iterator[None]:
    """Raises DataError where the disk refuses."""
    try:
        yield
    except OSError as error:
        why = error.strerror or "not all files could be copied"
        raise DataError(
            f"The dataset cannot be put into {folder}: {why}.",
            hint="Free some space, or set FKI_HOME to a folder that can be written to.",
        ) from None


def list_datasets() -> list[str]:
    """The names of the datasets on this machine."""
    folder = data_home() / "datasets"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(f.name for f in found if f.is_dir() and DATASET_NAME.fullmatch(f.name))


def find_faults(folder: Path) -> list[str]:
    """What is wrong with a dataset folder beside its rows, which `read_folder` checks.

    A folder of one's own needs neither manifest nor card; one that fki made has both.
    """
    faults = []
    if (folder / MANIFEST).exists():
        try:
            verify_dataset(folder)
        except DataError as error:
            faults.append(str(error))
        if not (folder / "README.md").is_file():
            faults.append(f"{folder} has no card, README.md.")
    return faults
