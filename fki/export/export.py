"""Write a run in a format, then have the format's own runtime load it, and ask it.

An export that answers differently is kept under a name that says so, and is an error.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from fki import __version__
from fki.core.atomic_io import file_digest, write_json
from fki.core.errors import CheckFailed, ConfigError, FkiError
from fki.core.formatting import format_number
from fki.data.collator import ExampleTokenizer
from fki.export.formats.base import Format
from fki.export.parity import Parity, ParityCheck
from fki.modeling.device import make_accelerator
from fki.modeling.load import count_parameters, locate_model
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import LoadedModel
from fki.runs.recorded_answers import MAX_PROBES_PER_SET, RecordedProbes
from fki.training.run_lifecycle import check_disk_space

FORMATS = {  # by the name that --to gives
    "hf": "fki.export.formats.hf:HF",
    "peft": "fki.export.formats.peft:PEFT",
    "onnx": "fki.export.formats.onnx:ONNX",
    "ctranslate2": "fki.export.formats.ctranslate2:FLOAT32",
    "ctranslate2_int8": "fki.export.formats.ctranslate2:INT8",
    "gguf": "fki.export.formats.gguf:GGUF",
}
EXPORT_INFO = "fki_export.json"  # where an exported folder comes from


MARGIN = 16 * 2**20  # bytes for tokenizer, card and note


@dataclass(frozen=True, slots=True)
class ExportedFolder:
    """An export that is written and checked, and still without its card."""

    folder: Path  # where it lies now
    opened: LoadedModel
    form: Format
    parity: Parity
    files: Mapping[str, str]  # SHA-256 by name


CardWriter = Callable[[ExportedFolder], None]  # writes a card into the folder


def format_of(name: str, **options: Any) -> Format:
    """The format, with the libraries that write and read it.

    Raises ConfigError for an option that it has not; one that is None is not asked for.
    """
    module, _, attribute = FORMATS[name].partition(":")
    found: Format = getattr(import_module(module), attribute)
    asked = {key: value for key, value in options.items() if value is not None}
    if not asked:
        return found
    if found.variant is None:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in asked)
        raise ConfigError(f"--to {name} has no {flags}.", hint="Try: --to hf")
    return found.variant(**asked)


def export(
    opened: LoadedModel,
    form: Format,
    output: Path,
    describe: CardWriter | None = None,
    *,
    most: int = MAX_PROBES_PER_SET,
    quiz: RecordedProbes | None = None,
) -> Parity:
    """Write `output`, with tokenizer, origin and card, and check it.

    Args:
        describe: writes the card, once the check has passed.
        most: of each probe set asked again; 0 for all.
        quiz: the questions that are asked again, where they are known already.
    Raises:
        FkiError: `output` is not new or empty, or its disk is too small.
        CannotFold, ConfigError: the method's model has no equivalent in the format.
        GateFailed: the folder, loaded by its own runtime, answers differently.
    """
    check_output_dir(output)
    assert opened.run is not None
    model = opened.model.float().to(make_accelerator(opened.config).device)
    _check_space(output, count_parameters(model)[0] * form.size)
    tokenizer = opened.base.tokenizer
    exam = ParityCheck(
        opened.run,
        opened.config,
        TorchRuntime(model, encoder_of(opened, tokenizer)),
        checkpoint=opened.checkpoint,
        most=most,
        quiz=quiz,
    )
    scratch = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        scratch.mkdir(parents=True)
        tokenizer.save_pretrained(scratch)
        form.write(opened, scratch)
        encoder = encoder_of(opened, AutoTokenizer.from_pretrained(scratch))
        parity = exam.sit(form.load(scratch, encoder), encoder, form)
        _write_export_info(opened, form, parity, scratch)
        if not parity.holds:
            kept = find_unused_path(output.with_name(f"{output.name}.failed-check"))
            os.replace(scratch, kept)
            raise _build_check_error(parity, kept)
        if describe is not None:
            describe(ExportedFolder(scratch, opened, form, parity, file_digests(scratch)))
        _make_readable(scratch)
        if output.exists():
            output.rmdir()
        os.replace(scratch, output)
    except OSError as error:
        raise FkiError(f"{output} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return parity


def _make_readable(folder: Path) -> None:
    """Let whoever may read one file of the folder read all: safetensors writes for its owner
    alone."""
    mode = (folder / EXPORT_INFO).stat().st_mode
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(mode)


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file, by name."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file_digest(file) for file in files}


def _check_space(output: Path, needed: float) -> None:
    """Raises FkiError where the disk of a folder that may not be there yet has too little left."""
    there = next(folder for folder in output.absolute().parents if folder.is_dir())
    hint = "Free some space, or give an --output on another disk."
    check_disk_space(there, int(needed) + MARGIN, "the export needs", hint)


def check_output_dir(output: Path) -> None:
    """Raises FkiError where it is not a folder of its own, new or empty."""
    if output.name in ("", ".."):
        raise FkiError(
            f"--output must name a folder of its own, not '{output}'.", hint="Try: --output out"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FkiError(
            f"--output must be a new or empty folder, and {output} is not. fki overwrites nothing.",
            hint=f"Try: --output {output.with_name(output.name + '-2')}",
        )


def encoder_of(opened: LoadedModel, tokenizer: PreTrainedTokenizerBase) -> ExampleTokenizer:
    """An encoder over a tokenizer, with the run's lengths."""
    return ExampleTokenizer(tokenizer, opened.config.input_length, opened.config.output_length)


def _build_check_error(parity: Parity, kept: Path) -> CheckFailed:
    beams = ""
    if parity.same_beams is not None:
        beams = f", the best of two or four beams to {parity.asked - parity.same_beams},"
    sets = "".join(
        f" Exact match on {one.probe_set} is {format_number(one.em)} %, the run's "
        f"{format_number(one.recorded)} % ({one.differing} of {one.n} probes differ)."
        for one in parity.apart
    )
    return CheckFailed(
        f"The exported model answers {parity.asked - parity.same_answers} of {parity.asked} "
        f"probes differently from the run{beams} and log-likelihoods differ by up to "
        f"{parity.largest_difference:.2g} nats (at most {parity.tolerance:g} is right).{sets}",
        hint=f"It is kept for inspection in {kept}; do not use it.",
    )


def find_unused_path(path: Path) -> Path:
    """The path, or with a number behind it where there is one already."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


def _write_export_info(opened: LoadedModel, form: Format, parity: Parity, folder: Path) -> None:
    """Where the folder comes from, what it was checked for, and its files."""
    info = opened.run.info if opened.run else {}
    write_json(
        folder / EXPORT_INFO,
        {
            "fki": __version__,
            "format": form.name,
            "run": opened.name,
            "checkpoint": opened.checkpoint,
            "label": opened.label,
            "base_model": display_name(opened.config.model),
            "method": opened.config.method,
            "prompt_format": opened.config.prompt_format,
            "input_length": opened.config.input_length,
            "output_length": opened.config.output_length,
            "num_beams": opened.config.num_beams,
            "dataset": info.get("dataset", {}),
            "check": asdict(parity) if parity.holds else "failed",
            "files": file_digests(folder),
        },
    )


def display_name(model: str) -> str:
    """A base model's name for strangers: of a folder on this machine its last part alone."""
    return Path(locate_model(model)).name if Path(locate_model(model)).is_dir() else model
