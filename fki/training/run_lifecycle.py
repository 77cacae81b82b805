"""The run folder: what is written of a run before it starts and when it ends, and who holds it."""

import os
import platform
import shutil
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from fki import __version__
from fki.config.resolve import Resolved
from fki.config.schema import Config, as_dict, to_toml
from fki.core.atomic_io import write_lines, write_text
from fki.core.errors import FkiError, RunLocked
from fki.core.paths import user_path
from fki.data import token_cache
from fki.modeling import load
from fki.runs import checkpoint, resume
from fki.runs.run_dir import CONFIG, LOCK, PROBES, RUN, Run
from fki.training.session import Session

PACKAGES = ("torch", "transformers", "accelerate", "peft", "tokenizers", "safetensors")
MARGIN = 64 * 2**20  # bytes for logs and answers


def hold(run: Run) -> FileLock:
    """A lock that keeps every other process out of the folder until this one ends, however it ends.

    Raises Busy, saying who, where another process is in it.
    """
    lock = FileLock(run.folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = run.info.get("holder", {}) if (run.folder / RUN).exists() else {}
        who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        raise RunLocked(
            f"Another process is running in {run.folder}: {who}.",
            hint="Wait for it, stop it, or give another --output-dir.",
        ) from None
    except OSError as error:
        raise FkiError(f"{run.folder} cannot be written to: {error.strerror}.") from None
    return lock


def is_held(run: Run) -> bool:
    """Is another process in the run's folder right now?"""
    if not (run.folder / LOCK).exists():
        return False
    try:
        hold(run).release()
    except RunLocked:
        return True
    return False


def take(
    session: Session, resolved: Resolved, *, again: bool
) -> tuple[FileLock, Path, Path | None, list[str]]:
    """The folder that a run begins or goes on in, and what is known written into it.

    Returns a lock on it, the folder, the checkpoint to go on from, and what the user should be
    told of it. Raises what `Runner.begin` does.
    """
    config = resolved.config
    run = resume.unfinished(config) if again or config.output_dir else None
    if run is None and again:
        raise FkiError(
            "There is no unfinished run with these settings to go on with.",
            hint="Without --resume a new run is begun.",
        )
    if run is None:
        run, lock = _new(config)
        start(run, session, resolved)
        return lock, run.folder, None, []
    if resume.is_done(run):
        raise RunLocked(
            f"The run in {run.folder} is done.",
            hint=f"Run: fki compare {run.folder}   or give another --output-dir.",
        )
    lock = hold(run)
    if resume.is_done(run):
        lock.release()
        raise RunLocked(f"Another process has just finished the run in {run.folder}.")
    resume.check_own_files(run)
    resume.check_same(run, session.stream.digest, session.base_digest)
    saved, problems = checkpoint.newest_whole(run.folder)
    start(run, session, resolved)
    place = f"its checkpoint {saved.name}" if saved else "its beginning: it has no whole checkpoint"
    return lock, run.folder, saved, [*problems, f"The run in {run.folder} goes on from {place}."]


def _new(config: Config) -> tuple[Run, FileLock]:
    """A new run's folder, held. Raises Busy where another process was quicker."""
    try:
        run = Run.create(
            config.output_dir, f"{config.method}-{config.dataset_version}-s{config.seed}"
        )
    except FkiError:
        folder = user_path(config.output_dir)
        if config.output_dir and (folder / RUN).is_file():
            raise RunLocked(f"Another process has just begun the run in {folder}.") from None
        raise
    lock = hold(run)
    if (run.folder / RUN).is_file():
        lock.release()
        raise RunLocked(f"Another process has just been in {run.folder}.")
    return run, lock


def start(run: Run, session: Session, resolved: Resolved) -> None:
    """Write run.json, then config.toml and probes.jsonl. Raises FkiError for too small a disk."""
    check_space(run.folder, space_needed(session) + MARGIN, "the run needs")
    before = run.info if (run.folder / RUN).exists() else {}
    created = {"created": before["created"]} if "created" in before else {}
    holder = {"pid": os.getpid(), "host": platform.node()}
    described = describe(session, resolved) | created
    run.update(**described, holder=holder, status="running")
    write_text(run.folder / CONFIG, to_toml(resolved.config))
    probes = (
        {"probe_set": cell.probe_set, **asdict(probe)}
        for cell in session.questions.cells
        for probe in cell.probes
    )
    write_lines(run.folder / PROBES, probes)


def space_needed(session: Session) -> int:
    """Bytes that the checkpoints of a run take at most, one that is being written among them."""
    return space_kept(session) + checkpoint_size(session)


def space_kept(session: Session) -> int:
    """Bytes that the checkpoints of a run take at most once it is done."""
    return checkpoint_size(session) * (session.config.keep_last + session.config.keep_best)


def checkpoint_size(session: Session) -> int:
    """Bytes that one checkpoint takes at most."""
    _, trainable = load.count_parameters(session.model)
    config = session.config
    moments = 1 if config.optimizer == "adafactor" and config.method != "recadam" else 2
    return 4 * trainable * (1 + moments)


LESS = "Free some space, give another --output-dir, or keep fewer checkpoints: --set keep_last=1"


def check_space(folder: Path, needed: int, what: str, hint: str = LESS) -> None:
    """Raises FkiError where the disk of an existing folder has fewer bytes left than needed."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FkiError(
            f"The disk of {folder} has {free / 2**20:,.0f} MiB left, and {what} up to "
            f"{needed / 2**20:,.0f} MiB.",
            hint=hint,
        )


def finish(run: Run, status: str, **more: Any) -> None:
    """Mark how a run ended; a disk that refuses does not hide what happened before."""
    try:
        run.update(status=status, ended=_now(), **more)
    except FkiError:
        if status == "done":
            raise


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def describe(session: Session, resolved: Resolved) -> dict[str, Any]:
    """What run.json says of a session before it starts."""
    total, train = load.count_parameters(session.model)
    stream = session.stream
    return {
        "fki": __version__,
        "created": _now(),
        "config": as_dict(resolved.config),
        "origins": resolved.origins,
        "notes": list(resolved.notes),
        "dataset": {
            "name": stream.name,
            "version": stream.version,
            "digest": stream.digest,
            "periods": [p.name for phase in session.phases for p in phase.periods],
        },
        "model": {
            "name": session.config.model,
            "digest": session.base_digest,
            "tokenizer": token_cache.identity(session.encoder.tokenizer),
        },
        "parameters": {"added": session.added, "total": total, "trainable": train},
        "protocol": {
            "prompt": session.config.prompt,
            "num_beams": session.config.num_beams,
            "max_new_tokens": session.config.output_length,
            "precision": "fp32",
            "superseded": "not asked",  # a fact that changes again, once it was learned
        },
        "environment": environment(session),
    }


def environment(session: Session) -> dict[str, Any]:
    """Versions and hardware."""
    return {
        "python": platform.python_version(),
        "platform": sys.platform,
        "device": str(session.accelerator.device),
        "processes": session.accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "precision": session.accelerator.mixed_precision,
        "packages": {name: version(name) for name in PACKAGES},
    }
