"""Checkpoints of any method: trainable weights, optimizer state and the state of the run.

Loading is `method.prepare(base)` followed by these weights. A checkpoint is written to a scratch
folder and synced; a manifest with the digest of each file is added; the folder is renamed. Only
then are older checkpoints removed. A checkpoint whose manifest does not verify is ignored.
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
from safetensors.torch import load_file
from torch import Tensor, nn

from fki.core.atomic_io import file_digest, sync, write_json, write_text
from fki.core.errors import DataError, FkiError
from fki.methods.base import trainable_parameters
from fki.modeling.sharding import shard_like
from fki.modeling.zero import ZeroState
from fki.runs.run_dir import CHECKPOINTS, METRICS, RUN, SAMPLES
from fki.runs.tensor_file import send_shards, write_tensors

logger = logging.getLogger(__name__)

WEIGHTS, OPTIMIZER, STATE, MANIFEST = (
    "weights.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
)
TRAINING = "training.safetensors"  # further tensors of method and replay; only if there are any
LATEST = "LATEST"  # contains the newest checkpoint's name, for scripts


def save(
    run: Path,
    name: str,
    model: nn.Module,
    *,
    order: int,
    state: Mapping[str, Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    training: Mapping[str, Tensor] | None = None,
    collected: ZeroState | None = None,
    keep_last: int = 1,
    keep: Collection[str] = (),
) -> Path:
    """Save the trainable weights as `checkpoints/<name>`.

    Of a sharded model one tensor at a time is gathered; all other processes call `help_save`.

    Args:
        order: the larger, the newer.
        state: of the run, as JSON.
        optimizer: its state is saved too.
        training: further tensors, such as the state of a method.
        collected: weights and optimizer state, if DeepSpeed has parts of them.
        keep_last: number of newest checkpoints that remain, beside those named in `keep`.
    Raises:
        FkiError: writing fails; older checkpoints are then unchanged.
    """
    root = run / CHECKPOINTS
    folder, scratch = root / name, root / f".{name}.{os.getpid()}"
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # left by an earlier process with the same id
        scratch.mkdir(parents=True)
        numbers, files = _list_tensors(model, optimizer, training or {}, collected)
        for file_name, tensors in files.items():
            write_tensors(scratch / file_name, tensors)
        write_json(scratch / STATE, {**(state or {}), "optimizer": numbers})
        digests = {file.name: file_digest(file) for file in sorted(scratch.iterdir())}
        logs = [run / name for name in (METRICS, SAMPLES) if (run / name).exists()]
        for file in (*logs, *scratch.iterdir(), scratch):  # the state has the length of each log
            sync(file)
        write_json(scratch / MANIFEST, {"name": name, "order": order, "sha256": digests})
        _move_into_place(scratch, folder)
        write_text(root / LATEST, name + "\n")
    except (OSError, FkiError) as error:
        raise FkiError(
            f"Cannot write the checkpoint {folder}: {str(error).rstrip('.')}.",
            hint="Free some space, then run the same command with --resume. "
            "Earlier checkpoints are intact.",
        ) from None
    finally:  # also on Ctrl-C
        shutil.rmtree(scratch, ignore_errors=True)
    rotate(run, keep_last, keep)
    return folder


def help_save(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    training: Mapping[str, Tensor],
    collected: ZeroState | None = None,
) -> None:
    """Send the shards of this process to the main one, which calls `save` with equal arguments."""
    for tensors in _list_tensors(model, optimizer, training, collected)[1].values():
        send_shards(tensors)


def _list_tensors(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    training: Mapping[str, Tensor],
    collected: ZeroState | None,
) -> tuple[dict[str, Any], dict[str, Mapping[str, Tensor]]]:
    """The numbers of the optimizer's state, and the tensors of each file."""
    weights: Mapping[str, Tensor]
    if collected:
        weights, state = collected
    else:
        weights = trainable_parameters(model)
        state = optimizer.state_dict()["state"] if optimizer else {}
    numbers, moments = _split_optimizer_state(state)
    files: dict[str, Mapping[str, Tensor]] = {WEIGHTS: weights}
    return numbers, files | {OPTIMIZER: moments} | ({TRAINING: training} if training else {})


def _move_into_place(scratch: Path, folder: Path) -> None:
    """Rename the scratch folder; replace a folder of the same name, from before a restart."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
        os.replace(folder, old)
        os.replace(scratch, folder)
        shutil.rmtree(old)
    else:
        os.replace(scratch, folder)
    sync(folder.parent)


def rotate(run: Path, keep_last: int, keep: Collection[str] = ()) -> None:
    """Remove all checkpoints except the newest and those named in `keep`."""
    for old in list_checkpoints(run)[:-keep_last]:
        if old.name not in keep:
            hidden = old.with_name(f".{old.name}.old.{os.getpid()}")
            os.replace(old, hidden)  # a partly removed checkpoint is never listed
            shutil.rmtree(hidden)


def _split_optimizer_state(
    states: Mapping[int, Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Split an optimizer's state into numbers and tensors, both keyed by "parameter.name"."""
    numbers: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for parameter, state in states.items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}.{name}"] = value
            else:
                numbers[f"{parameter}.{name}"] = value
    return numbers, tensors


def list_checkpoints(run: Path) -> list[Path]:
    """The run's checkpoints, the oldest first."""
    numbered = [
        (m, f.parent)
        for f in (run / CHECKPOINTS).glob(f"[!.]*/{MANIFEST}")
        if (m := _read_manifest(f))
    ]
    return [folder for _, folder in sorted(numbered, key=lambda pair: pair[0]["order"])]


def _read_manifest(file: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        is_one = isinstance(manifest["order"], int) and isinstance(manifest["sha256"], dict)
        return manifest if is_one else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def verify(folder: Path) -> None:
    """Raises DataError if a file is missing, altered or a symbolic link."""
    manifest = _read_manifest(folder / MANIFEST)
    names = manifest["sha256"].keys() - {TRAINING} if manifest else set()
    if manifest is None or names != {WEIGHTS, OPTIMIZER, STATE}:
        raise DataError(f"The checkpoint {folder} is damaged: {MANIFEST} is missing or incomplete.")
    for name in sorted(manifest["sha256"]):
        file = folder / name
        if folder.is_symlink() or file.is_symlink() or not file.is_file():
            raise DataError(f"The checkpoint {folder} is damaged: {name} is missing or a link.")
        try:
            digest = file_digest(file)
        except OSError as error:
            raise DataError(f"Cannot read the checkpoint {folder}: {error}.") from None
        if digest != manifest["sha256"][name]:
            raise DataError(
                f"The checkpoint {folder} is damaged: the checksum of {name} does not match."
            )


def find_newest_valid(run: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that verifies, or None, and the faults of newer ones."""
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
    """The named checkpoint of a run, or the newest. Raises DataError if it does not exist."""
    existing = list_checkpoints(run)
    if not existing:
        raise DataError(f"{run} has no checkpoint.", hint="Was the run finished?")
    chosen = {folder.name: folder for folder in existing}.get(name) if name else existing[-1]
    if chosen is None:
        names = ", ".join(folder.name for folder in existing)
        raise DataError(
            f"{run} has no checkpoint '{name}'; it has {names}.",
            hint="A run keeps only the newest checkpoints. To keep more: --set keep_last=12",
        )
    return chosen


def find(path: Path, setting: str = "checkpoint_path") -> Path:
    """The checkpoint at a path, or the newest checkpoint of the run at a path.

    Raises DataError, which names the setting, for any other path.
    """
    if (path / WEIGHTS).is_file():
        return path
    if (path / RUN).is_file():
        return choose(path)
    if path.suffix == ".ckpt":
        raise DataError(
            f"{setting}: {path} is a file of PyTorch Lightning, which fki does not read.",
            hint=f"Give a run of fki: --set {setting}=RUN   or use the model as it is: "
            f"--set {setting}=",
        )
    raise DataError(
        f"{setting}: {path} is neither a run nor one of its checkpoints.",
        hint="For a plain model folder: --model FOLDER",
    )


def load(folder: Path, model: nn.Module) -> None:
    """Load a checkpoint's weights into a prepared model.

    Raises DataError if a file is altered, if names or shapes differ from the model's trainable
    parameters, or if a weight is NaN or infinite.
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
            hint="Use the model, method and freeze_level of its training.",
        )
    if bad := [n for n, t in tensors.items() if not bool(torch.isfinite(t).all())]:
        raise DataError(f"The checkpoint {folder} contains NaN or infinity in {bad[0]}.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(shard_like(tensors[name], parameter))


def load_state(folder: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Read the run's state, and the optimizer's state by parameter; does not verify digests.

    Raises DataError if either is malformed.
    """
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        optimizer: dict[int, dict[str, Any]] = {}
        for key, value in {**state.pop("optimizer"), **_read_tensors(folder / OPTIMIZER)}.items():
            parameter, _, name = key.partition(".")
            optimizer.setdefault(int(parameter), {})[name] = value
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"Cannot read the checkpoint {folder}: {error!r}.") from None
    return state, optimizer


def load_training(folder: Path) -> dict[str, Tensor]:
    """The further tensors of a checkpoint; does not verify digests.

    Raises DataError if they cannot be read.
    """
    return _read_tensors(folder / TRAINING) if (folder / TRAINING).is_file() else {}


def load_method_state(folder: Path) -> dict[str, Tensor]:
    """The state of the method in a checkpoint, by name; empty if it stores none."""
    state = load_training(folder).items()
    return {name.removeprefix("method."): t for name, t in state if name.startswith("method.")}


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(f"Cannot read {file}: {error}.") from None
