"""The run folder: what is written of a run before it starts and when it ends, and who holds it."""

import os
import platform
import shutil
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import torch
from filelock import FileLock, Timeout

from fki import __version__
from fki.core.config import as_dict, to_toml
from fki.core.errors import FkiError
from fki.core.resolve import Resolved
from fki.core.store import CONFIG, LOCK, PROBES, Run, write_lines, write_text
from fki.engine import models
from fki.engine.session import Session

PACKAGES = ("torch", "transformers", "accelerate", "peft", "tokenizers", "safetensors")
MARGIN = 64 * 2**20  # bytes for logs and answers


def hold(run: Run) -> FileLock:
    """A lock that keeps every other process out of the folder until this one ends, however it ends.

    Raises FkiError, saying who, where another process is in it.
    """
    lock = FileLock(run.folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = run.info.get("holder", {}) if (run.folder / "run.json").exists() else {}
        who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        raise FkiError(
            f"Another process is running in {run.folder}: {who}.",
            hint="Wait for it, stop it, or give another --output-dir.",
        ) from None
    except OSError as error:
        raise FkiError(f"{run.folder} cannot be written to: {error.strerror}.") from None
    return lock


def start(run: Run, session: Session, resolved: Resolved) -> None:
    """Write run.json, then config.toml and probes.jsonl. Raises FkiError for too small a disk."""
    _check_space(run, session)
    before = run.info if (run.folder / "run.json").exists() else {}
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
    _, trainable = models.count_parameters(session.model)
    config = session.config
    moments = 1 if config.optimizer == "adafactor" and config.method != "recadam" else 2
    return 4 * trainable * (1 + moments) * (config.keep_last + config.keep_best + 1)


def _check_space(run: Run, session: Session) -> None:
    needed, free = space_needed(session) + MARGIN, shutil.disk_usage(run.folder).free
    if free < needed:
        raise FkiError(
            f"The disk of {run.folder} has {free / 2**20:,.0f} MiB left, and the run needs up to "
            f"{needed / 2**20:,.0f} MiB.",
            hint="Free some space, give another --output-dir, or keep fewer checkpoints: "
            "--set keep_last=1",
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
    total, train = models.count_parameters(session.model)
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
        "model": {"name": session.config.model, "digest": session.base_digest},
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
