"""Puts a dataset folder into its place: one process at a time, verified, whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fki.core.errors import DataError
from fki.core.paths import asset_folder, data_home
from fki.core.types import Version
from fki.data.dataset_folder import (
    MANIFEST,
    has_probes_alone,
    probe_files,
    read_folder,
    read_probe_sets,
)
from fki.data.open_dataset import dataset_folder, read_manifest, verify_dataset


def place_embedded(name: str) -> tuple[Path, bool]:
    """Copy a dataset out of the package into the data folder and verify it.

    Returns its folder, and whether it was there already.
    Raises DataError if the data folder cannot be written or a checksum is wrong.
    """
    folder = dataset_folder(name)

    def copy(empty: Path) -> None:
        with _translate_disk_errors(folder):
            shutil.copytree(asset_folder(name), empty, dirs_exist_ok=True)

    with lock_folder(folder):
        if folder.exists():
            verify_dataset(folder)
            return folder, True
        place_dataset(folder, copy)
        return folder, False


def differs_from_embedded(folder: Path) -> bool:
    """Does the package embed a dataset of the folder's name with other content?"""
    embedded = asset_folder(folder.name)
    if not (embedded / MANIFEST).is_file() or folder != dataset_folder(folder.name):
        return False
    return bool(read_manifest(folder)["digest"] != read_manifest(embedded)["digest"])


@contextmanager
def lock_folder(folder: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a dataset folder; another process waits until it is free.

    Args:
        on_wait: is called before this process waits.
    """
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    lock = FileLock(data_home() / "locks" / name)
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    except OSError:
        pass  # a data folder that cannot be written is reported when the dataset is placed
    try:
        yield
    finally:
        lock.release()


def place_or_compare(folder: Path, fill: Callable[[Path], None]) -> bool:
    """Place a dataset; a dataset that is there already must have the same content.

    Returns whether it was there already. Raises DataError if the content differs.
    """
    if not folder.exists():
        place_dataset(folder, fill)
        return False
    digest = verify_dataset(folder)
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch))
        if verify_dataset(Path(scratch)) != digest:
            raise DataError(
                f"{folder} contains a dataset that was made from other data.",
                hint=f"Give another --output, or move {folder} away.",
            )
    return True


def place_dataset(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into an empty folder, verify and open it, then rename it to `folder`.

    Call it under `lock_folder`. Raises DataError if the disk refuses, a checksum is wrong, or the
    dataset cannot be opened.
    """
    scratch = folder.with_name(f".{folder.name}.fki")
    fresh = scratch / folder.name
    try:
        with _translate_disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
            fresh.mkdir(parents=True)
        fill(fresh)
        verify_dataset(fresh)
        _open_versions(fresh)
        with _translate_disk_errors(folder):
            os.replace(fresh, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


OPENED_VERSIONS: tuple[Version, ...] = ("day", "month", "quarter")


def _open_versions(folder: Path) -> None:
    """Open a dataset in the usual versions; a later opening takes their stored streams.

    Raises DataError if it cannot be opened.
    """
    try:
        if has_probes_alone(folder):
            read_probe_sets(probe_files(folder), folder)
            return
        for version in OPENED_VERSIONS:
            read_folder(folder, version, "sentinel", name=folder.name)
    except DataError as error:
        if str(folder) not in str(error):
            raise
        why = str(error).replace(str(folder), folder.name)
        raise DataError(
            f"The dataset cannot be opened and is not kept: {why}",
            hint="Select other rows or columns of the source.",
        ) from None


@contextmanager
def _translate_disk_errors(folder: Path) -> Iterator[None]:
    """Raises DataError in place of OSError."""
    try:
        yield
    except OSError as error:
        why = error.strerror or "not all files could be copied"
        raise DataError(
            f"The dataset cannot be put into {folder}: {why}.",
            hint="Free some space, or set FKI_HOME to a writable folder.",
        ) from None
