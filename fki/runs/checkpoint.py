"""Checkpoints: what trains, its optimizer's state and where the run was, whatever the method.

Loading is `method.prepare(base)` and then these weights. A checkpoint is written to a scratch
folder, synced, named in a manifest with the digest of each file, renamed, and only then are older
ones removed. One whose manifest does not verify does not count.
"""

import json
import logging
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fki.core.atomic_io import file_digest, sync, write_json, write_text
from fki.core.errors import DataError, FkiError
from fki.methods.base import trainable_parameters
from fki.runs.run_dir import CHECKPOINTS, RUN

logger = logging.getLogger(__name__)

WEIGHTS, OPTIMIZER, STATE, MANIFEST = (
    "weights.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
)
LATEST = "LATEST"  # a file with the newest checkpoint's name, for scripts


def save(
    run: Path,
    name: str,
    model: nn.Module,
    *,
    order: int,
    state: Mapping[str, Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    keep_last: int = 1,
    keep: Collection[str] = (),
) -> Path:
    """Save what trains as `checkpoints/<name>`.

    Args:
        order: which of two is newer.
        state: where the run is, as JSON has it.
        optimizer: whose state goes with it.
        keep_last: how many of the newest remain; those named in `keep` remain beside them.
    Raises:
        FkiError: the disk refuses; older checkpoints are then untouched.
    """
    root = run / CHECKPOINTS
    folder, scratch = root / name, root / f".{name}.{os.getpid()}"
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a process with our number, long gone
        scratch.mkdir(parents=True)
        tensors = {n: p.detach().cpu().contiguous() for n, p in trainable_parameters(model).items()}
        save_file(tensors, scratch / WEIGHTS)
        numbers, moments = _split_optimizer_state(optimizer)
        save_file(moments, scratch / OPTIMIZER)
        write_json(scratch / STATE, {**(state or {}), "optimizer": numbers})
        digests = {file.name: file_digest(file) for file in sorted(scratch.iterdir())}
        for file in (*scratch.iterdir(), scratch):
            sync(file)
        write_json(scratch / MANIFEST, {"name": name, "order": order, "sha256": digests})
        _move_into_place(scratch, folder)
        write_text(root / LATEST, name + "\n")
    except (OSError, SafetensorError, FkiError) as error:
        raise FkiError(
            f"The checkpoint {folder} cannot be written: {error}.",
            hint="Free some space, then run the same command with --resume; "
            "the checkpoints before it are whole.",
        ) from None
    finally:  # also on Ctrl-C
        shutil.rmtree(scratch, ignore_errors=True)
    rotate(run, keep_last, keep)
    return folder


def _move_into_place(scratch: Path, folder: Path) -> None:
    """The scratch folder in its place; one of the same name, from before a restart, makes way."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
        os.replace(folder, old)
        os.replace(scratch, folder)
        shutil.rmtree(old)
    else:
        os.replace(scratch, folder)
    sync(folder.parent)


def rotate(run: Path, keep_last: int, keep: Collection[str] = ()) -> None:
    """Remove all checkpoints but the newest and those that are named."""
    for old in list_checkpoints(run)[:-keep_last]:
        if old.name not in keep:
            hidden = old.with_name(f".{old.name}.old.{os.getpid()}")
            os.replace(old, hidden)  # so that no half-removed one ever counts
            shutil.rmtree(hidden)


def _split_optimizer_state(
    optimizer: torch.optim.Optimizer | None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An optimizer's state as numbers and as tensors, both by "parameter.name"."""
    numbers: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for parameter, state in (optimizer.state_dict()["state"] if optimizer else {}).items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}.{name}"] = value.detach().cpu().contiguous()
            else:
                numbers[f"{parameter}.{name}"] = value
    return numbers, tensors


def list_checkpoints(run: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    found = [
        (m, f.parent)
        for f in (run / CHECKPOINTS).glob(f"[!.]*/{MANIFEST}")
        if (m := _read_manifest(f))
    ]
    return [folder for _, folder in sorted(found, key=lambda pair: pair[0]["order"])]


def _read_manifest(file: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        is_one = isinstance(manifest["order"], int) and isinstance(manifest["sha256"], dict)
        return manifest if is_one else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def verify(folder: Path) -> None:
    """Raises DataError where a file is missing, altered, or a link to somewhere else."""
    manifest = _read_manifest(folder / MANIFEST)
    names = {WEIGHTS, OPTIMIZER, STATE}
    if manifest is None or manifest["sha256"].keys() != names:
        raise DataError(f"The checkpoint {folder} is damaged: it has no whole {MANIFEST}.")
    for name in sorted(names):
        file = folder / name
        if folder.is_symlink() or file.is_symlink() or not file.is_file():
            raise DataError(f"The checkpoint {folder} is damaged: {name} is missing or a link.")
        try:
            found = file_digest(file)
        except OSError as error:
            raise DataError(f"The checkpoint {folder} cannot be read: {error}.") from None
        if found != manifest["sha256"][name]:
            raise DataError(
                f"The checkpoint {folder} is damaged: the checksum of {name} does not match."
            )


def find_newest_valid(run: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that verifies, and why newer ones were passed over."""
    problems = []
    for folder in reversed(list_checkpoints(run)):
        try:
            verify(folder)
        except DataError as error:
            logger.info("Checkpoint skipped: %s", error)
            problems.append(str(error))
        else:
            return folder, problems
    return None, problems


def choose(run: Path, name: str = "") -> Path:
    """The named checkpoint of a run, or its newest. Raises DataError where there is none."""
    found = list_checkpoints(run)
    if not found:
        raise DataError(f"{run} has no checkpoint.", hint="Was the run finished?")
    chosen = {folder.name: folder for folder in found}.get(name) if name else found[-1]
    if chosen is None:
        names = ", ".join(folder.name for folder in found)
        raise DataError(
            f"{run} has no checkpoint '{name}'; it has {names}.",
            hint="A run keeps the newest ones: for more, train with --set keep_last=12",
        )
    return chosen


def find(path: Path, setting: str = "checkpoint_path") -> Path:
    """The checkpoint that a setting's path means: itself, or the newest of a run.

    Raises DataError where it is neither.
    """
    if (path / WEIGHTS).is_file():
        return path
    if (path / RUN).is_file():
        return choose(path)
    raise DataError(
        f"{setting}: {path} is neither a run nor one of its checkpoints.",
        hint="A plain model folder is given as: --model FOLDER",
    )


def load(folder: Path, model: nn.Module) -> None:
    """Put a checkpoint's weights into a prepared model.

    Raises DataError where a file is altered, or its weights are not the ones that train, or are no
    numbers.
    """
    verify(folder)
    tensors = _read_tensors(folder / WEIGHTS)
    parameters = trainable_parameters(model)
    wrong = sorted(tensors.keys() ^ parameters.keys()) or [
        n for n, p in parameters.items() if p.shape != tensors[n].shape
    ]
    if wrong:
        raise DataError(
            f"The checkpoint {folder} does not fit the model: {wrong[0]} is missing, unknown or of "
            "another shape.",
            hint="Use the model, method and freeze_level that it was trained with.",
        )
    if bad := [n for n, t in tensors.items() if not bool(torch.isfinite(t).all())]:
        raise DataError(f"The checkpoint {folder} holds no finite numbers in {bad[0]}.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def load_state(folder: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Where the run was, and the optimizer's state by parameter, of a checkpoint that verifies.

    Raises DataError where they are not as fki writes them.
    """
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        optimizer: dict[int, dict[str, Any]] = {}
        for key, value in {**state.pop("optimizer"), **_read_tensors(folder / OPTIMIZER)}.items():
            parameter, _, name = key.partition(".")
            optimizer.setdefault(int(parameter), {})[name] = value
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"The checkpoint {folder} cannot be read: {error!r}.") from None
    return state, optimizer


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from None
