"""Checkpoints: every parameter that trains, as safetensors with a manifest, whatever the method.

Loading is `method.prepare(base)` and then these weights. A checkpoint is written to a scratch
folder, synced, renamed, and only then are older ones removed.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fki.core.errors import DataError, FkiError
from fki.core.store import CHECKPOINTS, RUN, write_json
from fki.methods.base import trainable

WEIGHTS, MANIFEST = "weights.safetensors", "manifest.json"


def save(run: Path, name: str, model: nn.Module, *, order: int, keep_last: int) -> Path:
    """Save the weights that train as `checkpoints/<name>`; the `keep_last` newest remain.

    Raises FkiError where the disk refuses; older checkpoints are then untouched.
    """
    root = run / CHECKPOINTS
    folder, scratch = root / name, root / f".{name}.{os.getpid()}"
    try:
        scratch.mkdir(parents=True)
        tensors = {n: p.detach().cpu().contiguous() for n, p in trainable(model).items()}
        save_file(tensors, scratch / WEIGHTS)
        _sync(scratch / WEIGHTS)
        digest = hashlib.sha256((scratch / WEIGHTS).read_bytes()).hexdigest()
        write_json(scratch / MANIFEST, {"name": name, "order": order, "sha256": digest})
        os.replace(scratch, folder)
    except (OSError, SafetensorError) as error:
        raise FkiError(
            f"The checkpoint {folder} cannot be written: {error}.",
            hint="Free some space; the checkpoints before it are whole.",
        ) from None
    finally:  # also on Ctrl-C
        shutil.rmtree(scratch, ignore_errors=True)
    for old in listed(run)[:-keep_last]:
        shutil.rmtree(old)
    return folder


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def listed(run: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    found = [
        (m, f.parent) for f in (run / CHECKPOINTS).glob(f"[!.]*/{MANIFEST}") if (m := _manifest(f))
    ]
    return [folder for _, folder in sorted(found, key=lambda pair: pair[0]["order"])]


def _manifest(file: Path) -> dict[str, int | str] | None:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        return manifest if isinstance(manifest["order"], int) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def choose(run: Path, name: str = "") -> Path:
    """The named checkpoint of a run, or its newest. Raises DataError where there is none."""
    found = listed(run)
    if not found:
        raise DataError(f"{run} has no checkpoint.", hint="Was the run finished?")
    chosen = {folder.name: folder for folder in found}.get(name) if name else found[-1]
    if chosen is None:
        names = ", ".join(folder.name for folder in found)
        raise DataError(f"{run} has no checkpoint '{name}'; it has {names}.")
    return chosen


def find(path: Path) -> Path:
    """The checkpoint that a path means: itself, or the newest of a run.

    Raises DataError where it is neither.
    """
    if (path / WEIGHTS).is_file():
        return path
    if (path / RUN).is_file():
        return choose(path)
    raise DataError(
        f"checkpoint_path: {path} is neither a run nor one of its checkpoints.",
        hint="A plain model folder is given as: --model FOLDER",
    )


def load(folder: Path, model: nn.Module) -> None:
    """Put a checkpoint's weights into a prepared model.

    Raises DataError where the file is altered, or its weights are not the ones that train.
    """
    file = folder / WEIGHTS
    manifest = _manifest(folder / MANIFEST) or {}
    try:
        if hashlib.sha256(file.read_bytes()).hexdigest() != manifest.get("sha256"):
            raise DataError(f"The checkpoint {folder} is damaged: its checksum does not match.")
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(f"The checkpoint {folder} cannot be read: {error}.") from None
    parameters = trainable(model)
    wrong = sorted(tensors.keys() ^ parameters.keys()) or [
        n for n, p in parameters.items() if p.shape != tensors[n].shape
    ]
    if wrong:
        raise DataError(
            f"The checkpoint {folder} does not fit the model: {wrong[0]} is missing, unknown or of "
            "another shape.",
            hint="Use the model, method and freeze_level that it was trained with.",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
