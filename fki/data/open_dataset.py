"""Finds a dataset by name or folder, verifies it and opens its stream."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from fki.core.atomic_io import file_digest
from fki.core.errors import DataError, NotDownloaded, did_you_mean
from fki.core.formatting import format_command
from fki.core.paths import data_home, expand_path
from fki.core.types import ProbeSet, PromptFormat, Stream
from fki.data.dataset_folder import (
    MANIFEST,
    add_further_sets,
    data_files,
    folder_digest,
    probe_files,
    read_folder,
    read_probe_sets,
)
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import ROW_SUFFIXES

DATASET_NAME = re.compile(r"\w[\w.-]*")


def dataset_folder(name: str) -> Path:
    """The folder of a dataset in the data folder."""
    return data_home() / "datasets" / name


def verify_dataset(folder: Path) -> str:
    """Verify a downloaded dataset. Returns its digest; raises DataError if a file has changed."""
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        file = folder / name
        found = file_digest(file) if file.is_file() else "no such file"
        if found != expected["sha256"]:
            raise DataError(
                f"{file} was altered: its SHA-256 must be {expected['sha256']}, it is {found}.",
                hint=f"Move {folder} away and run: "
                + format_command("fki", "download", manifest["name"]),
            )
    if folder_digest(folder) != manifest["digest"]:
        extra = sorted(
            {f.relative_to(folder).as_posix() for f in data_files(folder)} - set(manifest["files"])
        )
        raise DataError(
            f"{folder} contains files that its manifest does not list: {', '.join(extra)}.",
            hint="Put your own data into another folder: --set dataset=path/",
        )
    return str(manifest["digest"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a downloaded dataset. Raises DataError if it is missing or unreadable."""
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


def list_datasets() -> list[str]:
    """The names of the datasets on this machine."""
    folder = data_home() / "datasets"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(f.name for f in found if f.is_dir() and DATASET_NAME.fullmatch(f.name))


def find_faults(folder: Path) -> list[str]:
    """Faults of a dataset folder's manifest and card; `read_folder` checks the rows.

    Your own folder needs neither; a folder that fki wrote has both.
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


def open_stream(
    dataset: str, version: str, prompt: PromptFormat, wordings: int = 1, probes: str = ""
) -> Stream:
    """Open a dataset, by name or folder, as a stream of periods.

    The examples of facts have at most `wordings` wordings, which are taught in turn. `probes` names
    the places of further probe sets, separated by commas.
    Raises NotDownloaded for a known dataset that is not downloaded, DataError for any other dataset
    that cannot be read.
    """
    stream = _open_stream(dataset, version, prompt, wordings)
    for place in filter(None, map(str.strip, probes.split(","))):
        stream = add_further_sets(stream, open_probes(place), locate_dataset(place))
        files = find_probes(place)
        digest = hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()
        stream = replace(stream, further={**stream.further, place: digest})
    return stream


def open_probes(place: str) -> list[ProbeSet]:
    """The probe sets of a dataset, by name or folder, or that of a probe file.

    Raises NotDownloaded and DataError as `find_probes`, and DataError for any bad row.
    """
    return read_probe_sets(find_probes(place), locate_dataset(place))


def find_probes(place: str) -> list[Path]:
    """The probe files of a dataset, by name or folder, or the one of this path.

    Raises NotDownloaded for a known dataset that is not downloaded, DataError for a place without
    probe files, or a dataset that was altered.
    """
    folder = locate_dataset(place)
    if is_dataset_name(place):
        _check_downloaded(place, folder)
        verify_dataset(folder)
    files = [folder] if folder.is_file() else probe_files(folder)
    if not files or folder.suffix not in ("", *ROW_SUFFIXES):
        known = KNOWN_DATASETS.get(place)
        raise DataError(
            f"probes: {folder} is no probe file, and has no folder 'probes' with one.",
            hint=f"Run: {known.command} --as probes --output {place}-probes"
            if known and known.has_probes
            else "Give a dataset, a folder with probes/, or a .jsonl, .csv or .xlsx file.",
        )
    return files


def _check_downloaded(dataset: str, folder: Path) -> None:
    """Raises NotDownloaded if a known dataset is not on this machine."""
    if folder.exists():
        return
    also = f"; your own folder is ./{dataset}" if expand_path(dataset).is_dir() else ""
    raise NotDownloaded(
        f"Dataset '{dataset}' is not on this machine ({folder}).",
        hint=f"Run: {KNOWN_DATASETS[dataset].command}{also}",
    )


def _open_stream(dataset: str, version: str, prompt: PromptFormat, wordings: int) -> Stream:
    folder = locate_dataset(dataset)
    if is_dataset_name(dataset):
        _check_downloaded(dataset, folder)
        verify_dataset(folder)
        return read_folder(folder, version, prompt, name=dataset, wordings=wordings)
    if folder.is_file():
        raise DataError(
            f"Dataset '{dataset}' is a file, not a folder.",
            hint="Import it: "
            + format_command("fki", "download", "NAME", "--from", folder)
            + " --columns subject=COLUMN,relation=COLUMN,object=COLUMN,date=COLUMN",
        )
    if not folder.is_dir():
        raise DataError(
            f"Dataset '{dataset}' not found: it is neither a known name "
            f"({', '.join(KNOWN_DATASETS)}) nor a folder.{did_you_mean(dataset, KNOWN_DATASETS)}",
            hint="Run: fki download --list   or give a folder with a stream.jsonl",
        )
    return read_folder(folder, version, prompt, name=folder.resolve().name, wordings=wordings)


def locate_dataset(dataset: str) -> Path:
    """The folder of a dataset, given by name or folder; it may not exist."""
    return dataset_folder(dataset) if is_dataset_name(dataset) else expand_path(dataset)


def is_dataset_name(dataset: str) -> bool:
    """Is this the name of a dataset, and not a folder?"""
    return dataset in KNOWN_DATASETS or _is_on_this_machine(dataset)


def _is_on_this_machine(dataset: str) -> bool:
    """Was a dataset of this name made on this machine?"""
    is_name = DATASET_NAME.fullmatch(dataset) is not None
    return is_name and (dataset_folder(dataset) / MANIFEST).is_file()
