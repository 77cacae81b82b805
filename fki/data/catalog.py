"""The datasets that fki knows by name, where they come from, and how any dataset is opened.

A new source is one class with `name`, `summary` and `fetch`, and one line in `SOURCES`.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

from fki.core.errors import DataError, NotDownloaded, nearest
from fki.core.home import asset, data_home, user_path
from fki.core.types import Prompt, Stream, Version
from fki.data.files import data_files, digest, file_digest, read_folder

MANIFEST = "manifest.json"


class Source(Protocol):
    """A place that a dataset comes from."""

    name: str
    summary: str

    def fetch(self, folder: Path) -> None:
        """Write the dataset's files, its card and its manifest into an empty folder."""


class Embedded:
    """A dataset that ships inside the package."""

    def __init__(self, name: str, summary: str) -> None:
        self.name, self.summary = name, summary

    def fetch(self, folder: Path) -> None:
        """Copy the files out of the package."""
        shutil.copytree(asset(self.name), folder, dirs_exist_ok=True)


SOURCES: dict[str, Source] = {
    s.name: s
    for s in [
        Embedded(
            "wiki",
            "dated facts of 2023-2025: offices, ambassadors, committees, sports, software",
        )
    ]
}


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
    if folder.exists():
        verify(folder)
        return folder, True
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-")
    except OSError as error:
        raise DataError(
            f"The dataset cannot be put into {folder}: {error.strerror}.",
            hint="Set FKI_HOME to a folder that can be written to.",
        ) from None
    with scratch as place:
        fresh = Path(place) / name
        fresh.mkdir()
        source.fetch(fresh)
        verify(fresh)
        os.replace(fresh, folder)
    return folder, False


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
        return {"name": manifest["name"], "digest": manifest["digest"], "files": files}
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
    if dataset in SOURCES:
        folder = dataset_folder(dataset)
        if not folder.exists():
            raise NotDownloaded(
                f"Dataset '{dataset}' is not on this machine ({folder}).",
                hint=f"Run: fki download {dataset}",
            )
        verify(folder)
        return read_folder(folder, version, prompt, name=dataset)
    folder = user_path(dataset)
    if not folder.is_dir():
        raise DataError(
            f"No dataset '{dataset}': neither a known name ({', '.join(SOURCES)}) nor a folder."
            f"{nearest(dataset, SOURCES)}",
            hint="Run: fki download --list   or give a folder with a stream.jsonl",
        )
    return read_folder(folder, version, prompt, name=folder.resolve().name)
