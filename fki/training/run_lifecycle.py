"""Start and end of a run in its folder: the lock, the files written first, and the final status."""

import os
import platform
import shutil
import sys
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from fki import __version__
from fki.config.resolve import ResolvedConfig
from fki.config.schema import Config, folder_name, to_dict, to_toml
from fki.core.atomic_io import write_lines, write_text
from fki.core.errors import FkiError, RunDone, RunLocked
from fki.core.formatting import format_command
from fki.core.paths import expand_path
from fki.core.types import Probe
from fki.data import token_cache
from fki.modeling import load
from fki.runs import checkpoint, output_log, resume
from fki.runs.protocol import continue_protocol, describe_protocol
from fki.runs.run_dir import CONFIG, LOCK, PROBES, Run, has_run, remove_leftovers
from fki.training.session import Session

PACKAGES = ("torch", "transformers", "accelerate", "peft", "tokenizers", "safetensors")
ANSWER_BYTES, PROBE_BYTES, STEP_BYTES = 500, 400, 300  # of a line in a log, rounded up
OTHER_BYTES = 2 * 2**20  # of the other files: settings, scores, the page


def lock_run(run: Run) -> FileLock:
    """Lock the folder against other processes until this process ends, however it ends.

    Raises RunLocked, with host and process id, if another process holds the lock.
    """
    lock = FileLock(run.folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = run.info.get("holder", {}) if has_run(run.folder) else {}
        process = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        raise RunLocked(
            f"Another process is running in {run.folder}: {process}.",
            hint="Wait for it, stop it, or give another --output-dir.",
        ) from None
    except OSError as error:
        raise FkiError(f"{run.folder} cannot be written to: {error.strerror}.") from None
    return lock


def is_locked(run: Run) -> bool:
    """Does another process hold the run's lock right now?"""
    if not (run.folder / LOCK).exists():
        return False
    try:
        lock_run(run).release()
    except RunLocked:
        return True
    return False


def create_or_reopen(
    session: Session, resolved: ResolvedConfig, *, allow_resume: bool
) -> tuple[FileLock, Path, Path | None, list[str]]:
    """Create a run folder, or reopen that of an unfinished run; write the first files.

    Returns:
        The lock, the folder, the checkpoint to resume from (None: start from the beginning), and
        messages for the user.
    Raises:
        RunDone: the run is done already.
        FkiError: as documented for `Runner.start`.
    """
    config = resolved.config
    run = resume.find_run(config) if allow_resume or config.output_dir else None
    if run is not None:
        _check_not_done(run)
    output_log.check(config.output_log)
    if run is None:
        run, lock = _create_locked(config)
        remove_leftovers(run)
        write_run_files(run, session, resolved)
        began = f"Nothing to resume: a new run begins in {run.folder}."
        return lock, run.folder, None, [began] if allow_resume else []
    lock = lock_run(run)
    try:
        _check_not_done(run)
    except RunDone:
        lock.release()
        raise
    resume.check_no_links(run)
    resume.check_unchanged(run, session.stream, session.base_digest)
    remove_leftovers(run)
    saved, problems = checkpoint.find_newest_valid(run.folder)
    write_run_files(run, session, resolved)
    place = f"checkpoint {saved.name}" if saved else "the beginning: no valid checkpoint found"
    return lock, run.folder, saved, [*problems, f"Resuming {run.folder} from {place}."]


def _check_not_done(run: Run) -> None:
    """Raises RunDone, with the run's folder, if the run is done."""
    if resume.is_done(run):
        done = RunDone(
            f"The run in {run.folder} is done.",
            hint=f"Run: {format_command('fki', 'compare', run.folder)}   "
            "or give another --output-dir.",
        )
        done.folder = str(run.folder)
        raise done


def _create_locked(config: Config) -> tuple[Run, FileLock]:
    """Create and lock a new run folder. Raises RunLocked if another process was faster."""
    try:
        run = Run.create(
            config.output_dir, f"{folder_name(config.arm)}-{config.dataset_version}-s{config.seed}"
        )
    except FkiError:
        folder = expand_path(config.output_dir)
        if config.output_dir and has_run(folder):
            raise RunLocked(f"Another process has just started a run in {folder}.") from None
        raise
    lock = lock_run(run)
    if has_run(run.folder):
        lock.release()
        raise RunLocked(f"Another process has just used {run.folder}.")
    return run, lock


def write_run_files(run: Run, session: Session, resolved: ResolvedConfig) -> None:
    """Write run.json, config.toml and probes.jsonl.

    Raises FkiError if the disk is too small for the run.
    """
    check_disk_space(run.folder, peak_run_bytes(session), "the run needs")
    before = run.info if has_run(run.folder) else {}
    created = {"created": before["created"]} if "created" in before else {}
    holder = {"pid": os.getpid(), "host": platform.node()}
    description = describe_run(session, resolved) | created
    protocol = continue_protocol(before.get("protocol", {}), description["protocol"])
    description["protocol"] = protocol
    run.update(**description, holder=holder, status="running")
    write_text(run.folder / CONFIG, to_toml(resolved.config))
    probes = (
        probe_row(cell.probe_set, probe) for cell in session.schedule.cells for probe in cell.probes
    )
    write_lines(run.folder / PROBES, probes)


def probe_row(probe_set: str, probe: Probe) -> dict[str, Any]:
    """A probe as probes.jsonl stores it: without candidates, which are many and alike."""
    row = {"probe_set": probe_set, **asdict(replace(probe, candidates=()))}
    del row["candidates"]
    return row


def peak_run_bytes(session: Session) -> int:
    """Bytes of a run's folder at most: logs and checkpoints, with one that is being written."""
    if session.config.check_validation:
        return log_bytes(session)
    return log_bytes(session) + kept_checkpoint_bytes(session) + checkpoint_bytes(session)


def log_bytes(session: Session) -> int:
    """Bytes of the logs, probes, answers and pages of a whole run, roughly."""
    is_evaluation = session.config.check_validation
    probes = sum(len(cell.probes) for cell in session.schedule.cells)
    answers = probes if is_evaluation else session.schedule.count_answers()
    steps = sum(session.expected_steps.values())
    lines = answers * ANSWER_BYTES + probes * PROBE_BYTES + steps * STEP_BYTES
    return lines + OTHER_BYTES


def kept_checkpoint_bytes(session: Session) -> int:
    """Bytes of a finished run's checkpoints at most."""
    return checkpoint_bytes(session) * (session.config.keep_last + session.config.keep_best)


def checkpoint_bytes(session: Session) -> int:
    """Bytes of the tensors of one checkpoint: trainable weights and the optimizer's state."""
    _, trainable = load.count_parameters(session.model)
    return 4 * trainable + session.method.optimizer_bytes(session.model).saved


DISK_HINT = (
    "Free some space, give another --output-dir, or keep fewer checkpoints: --set keep_last=1"
)


def check_disk_space(folder: Path, needed: int, purpose: str, hint: str = DISK_HINT) -> None:
    """Raises FkiError if the disk of an existing folder has less free space than needed.

    Args:
        needed: bytes.
        purpose: subject and verb of the message, such as "the run needs".
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FkiError(
            f"The disk of {folder} has {free / 2**20:,.0f} MiB free; {purpose} up to "
            f"{needed / 2**20:,.0f} MiB.",
            hint=hint,
        )


def mark_finished(run: Run, status: str, **more: Any) -> None:
    """Write the final status; unless the run is done, a full disk does not hide its error."""
    try:
        run.update(status=status, ended=_now(), **more)
    except FkiError:
        if status == "done":
            raise


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def describe_run(session: Session, resolved: ResolvedConfig) -> dict[str, Any]:
    """The contents of run.json before the first step."""
    total, train = load.count_parameters(session.model)
    stream = session.stream
    protocol = describe_protocol(session.config)
    return {
        "fki": __version__,
        "created": _now(),
        "config": to_dict(resolved.config),
        "origins": resolved.origins,
        "notes": list(resolved.notes),
        "dataset": {
            "name": stream.name,
            "version": stream.version,
            "digest": stream.digest,
            "periods": [p.name for phase in session.phases for p in phase.periods],
            **({"probes": dict(stream.further)} if stream.further else {}),
        },
        "model": {
            "name": session.config.model,
            "digest": session.base_digest,
            "tokenizer": token_cache.tokenizer_identity(session.tokenizer.tokenizer),
        },
        "parameters": {"added": session.added_parameters, "total": total, "trainable": train},
        "protocol": protocol,
        "environment": describe_environment(session),
    }


def describe_environment(session: Session) -> dict[str, Any]:
    """Versions and hardware."""
    trial = session.precision.trial
    measured: dict[str, Any] = {"precision_trial": asdict(trial)} if trial else {}
    if session.stream_limit.seconds:
        measured["stream_share"] = session.stream_limit.share
        measured["period_seconds"] = session.stream_limit.seconds
    return {
        "python": platform.python_version(),
        "platform": sys.platform,
        "device": str(session.accelerator.device),
        "processes": session.accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "precision": session.precision.name,
        **measured,
        "packages": {name: version(name) for name in PACKAGES},
    }
