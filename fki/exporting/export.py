"""Exports a run: writes a format, loads it by the format's own runtime, and checks its answers.

A folder that fails the check is kept under a name that ends in `.failed-check`; it is an error.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

from transformers import AutoTokenizer

from fki import __version__
from fki.config.model_family import GGUF_PREFIX
from fki.core.atomic_io import file_digest, remove_stale_scratch, scratch_path, write_json
from fki.core.errors import CheckFailed, FkiError
from fki.core.formatting import format_command, format_number
from fki.exporting.formats.base import Format
from fki.exporting.parity import Parity, ParityCheck
from fki.modeling.device import select_device
from fki.modeling.gguf_model import is_gguf
from fki.modeling.load import count_parameters, locate_model
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import LoadedModel
from fki.runs.recorded_answers import (
    MAX_PROBES_PER_SET,
    RecordedProbes,
    read_recorded_probes,
)
from fki.training.run_lifecycle import check_disk_space

EXPORT_INFO = "fki_export.json"  # the origin of an exported folder
MARGIN = 16 * 2**20  # bytes for tokenizer, card and origin


@dataclass(frozen=True, slots=True)
class ExportedFolder:
    """An export that is written and checked, before its card is written."""

    folder: Path  # its present place
    loaded: LoadedModel
    format: Format
    parity: Parity
    files: Mapping[str, str]  # SHA-256 by name


CardWriter = Callable[[ExportedFolder], None]


def export(
    loaded: LoadedModel,
    export_format: Format,
    output: Path,
    write_card: CardWriter | None = None,
    *,
    max_probes: int = MAX_PROBES_PER_SET,
    recorded_probes: RecordedProbes | None = None,
    request: str = "",
) -> Parity:
    """Write a run's model to `output`, with its tokenizer, origin and card, and check it.

    Args:
        write_card: writes the card, after the check has passed.
        max_probes: probes of each probe set that the check repeats; 0 for all.
        recorded_probes: the probes to repeat, where the caller has read them already.
        request: a digest of the request, by which a repeated one is recognized.
    Raises:
        FkiError: `output` is not new or empty, or its disk is too small.
        CannotFold, ConfigError: the format cannot hold the method's model.
        CheckFailed: the folder, loaded by its own runtime, gives other answers.
    """
    check_output_dir(output)
    assert loaded.run is not None
    export_format = export_format.for_tokenizer(loaded.example_tokenizer())
    if export_format.check is not None:
        export_format.check(loaded)
    if not loaded.method.trains:
        loaded.method.fold(loaded.model)  # raises before the model answers any probe
    model = loaded.model.float().to(select_device())
    # LLM.int8 rounds the inputs of its maps too; the formats have no shots
    if loaded.config.load_in == "8bit" or loaded.config.shots:
        known = recorded_probes or read_recorded_probes(loaded.run, loaded.checkpoint, max_probes)
        recorded_probes = replace(known, recorded=None)
    _check_space(output, count_parameters(model)[0] * export_format.bytes_per_parameter)
    check = ParityCheck(
        loaded.run,
        loaded.config,
        TorchRuntime(model, loaded.example_tokenizer()),
        checkpoint=loaded.checkpoint,
        max_probes=max_probes,
        recorded_probes=recorded_probes,
    )
    remove_stale_scratch(output)
    scratch = scratch_path(output)
    try:
        scratch.mkdir(parents=True)
        loaded.base.tokenizer.save_pretrained(scratch)
        export_format.write(loaded, scratch)
        tokenizer = loaded.example_tokenizer(AutoTokenizer.from_pretrained(scratch))
        parity = check.run(export_format.load(scratch, tokenizer), tokenizer, export_format)
        _write_export_info(loaded, export_format, parity, scratch, request)
        if not parity.holds:
            failed = find_unused_path(output.with_name(f"{output.name}.failed-check"))
            os.replace(scratch, failed)
            raise _build_check_error(parity, failed)
        if write_card is not None:
            files = file_digests(scratch)
            write_card(ExportedFolder(scratch, loaded, export_format, parity, files))
        _make_readable(scratch)
        if output.exists():
            output.rmdir()
        os.replace(scratch, output)
    except OSError as error:
        raise FkiError(f"Cannot write {output}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return parity


def _make_readable(folder: Path) -> None:
    """Give each file the mode of `EXPORT_INFO`: safetensors writes files for their owner alone."""
    mode = (folder / EXPORT_INFO).stat().st_mode
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(mode)


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file, by its relative name."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file_digest(file) for file in files}


def _check_space(output: Path, needed: float) -> None:
    """Raises FkiError where the disk of `output` has too little space; `output` need not exist."""
    existing = next(folder for folder in output.absolute().parents if folder.is_dir())
    hint = "Free some space, or give an --output on another disk."
    check_disk_space(existing, int(needed) + MARGIN, "the export needs", hint)


def check_output_dir(output: Path) -> None:
    """Raises FkiError unless `output` names a folder that is new or empty."""
    if output.name in ("", ".."):
        raise FkiError(
            f"--output must name a new folder, not '{output}'.", hint="Try: --output out"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FkiError(
            f"--output must be a new or empty folder; {output} is not. fki overwrites nothing.",
            hint=f"Try: {format_command('--output', output.with_name(output.name + '-2'))}",
        )


def _build_check_error(parity: Parity, folder: Path) -> CheckFailed:
    beams = ""
    if parity.same_beams is not None:
        beams = f", {parity.asked - parity.same_beams} with two or four beams"
    sets = "".join(
        f" Exact match on {probe_set.probe_set}: {format_number(probe_set.em)} %, the run's: "
        f"{format_number(probe_set.recorded)} % ({probe_set.differing} of {probe_set.n} probes "
        "differ)."
        for probe_set in parity.failed_sets
    )
    return CheckFailed(
        f"The exported model does not answer like the run: {parity.asked - parity.same_answers} of "
        f"{parity.asked} probes differ{beams}; log-likelihoods differ by up to "
        f"{parity.largest_difference:.2g} nats (tolerance {parity.tolerance:g}).{sets}",
        hint=f"The folder is kept for inspection in {folder}. Do not use it.",
    )


def find_unused_path(path: Path) -> Path:
    """The path itself, or the first of `path-2`, `path-3` ... that does not exist."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


def _write_export_info(
    loaded: LoadedModel, export_format: Format, parity: Parity, folder: Path, request: str
) -> None:
    """The origin of the folder, the result of its check, and the digests of its files."""
    info = loaded.run.info if loaded.run else {}
    config = loaded.config
    write_json(
        folder / EXPORT_INFO,
        {
            "fki": __version__,
            "format": export_format.name,
            "run": loaded.name,
            "checkpoint": loaded.checkpoint,
            "label": loaded.label,
            "averaged": list(loaded.averaged),
            "request": request,
            "base_model": display_name(config.model),
            "method": config.method,
            "prompt_format": config.prompt_format,
            "start_token": config.start_token,
            "input_length": config.input_length,
            "output_length": config.output_length,
            "num_beams": config.num_beams,
            "dataset": info.get("dataset", {}),
            "check": asdict(parity) if parity.holds else "failed",
            "files": file_digests(folder),
        },
    )


def display_name(model: str) -> str:
    """A base model's name for other readers: of a local folder or file the last part alone."""
    if is_gguf(model):
        return Path(model.removeprefix(GGUF_PREFIX)).name
    return Path(locate_model(model)).name if Path(locate_model(model)).is_dir() else model
