"""Write a run in a format, then have the format's own runtime load it, and ask it.

An export that answers differently is kept under a name that says so, and is an error.
"""

import os
import shutil
from importlib import import_module
from itertools import count
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from fki import __version__
from fki.core.errors import FkiError, GateFailed
from fki.core.store import write_json
from fki.data.collate import Encoder
from fki.engine.formats.base import Format, TorchRuntime
from fki.engine.opener import Opened
from fki.engine.parity import Exam, Parity
from fki.engine.session import make_accelerator

FORMATS = {  # by the name that --to gives
    "hf": "fki.engine.formats.hf:HF",
    "peft": "fki.engine.formats.peft:PEFT",
}
NOTE = "fki_export.json"  # where an exported folder comes from


def format_of(name: str) -> Format:
    """The format, with the libraries that write and read it."""
    module, _, attribute = FORMATS[name].partition(":")
    found: Format = getattr(import_module(module), attribute)
    return found


def export(opened: Opened, form: Format, output: Path) -> Parity:
    """Write `output`, with tokenizer and origin, and check it.

    Raises:
        FkiError: `output` is not new or empty.
        CannotFold, ConfigError: the method's model has no equivalent in the format.
        GateFailed: the folder, loaded by its own runtime, answers differently.
    """
    check_output(output)
    assert opened.run is not None
    model = opened.model.float().to(make_accelerator(opened.config).device)
    tokenizer = opened.base.tokenizer
    exam = Exam(opened.run, opened.config, TorchRuntime(model, encoder_of(opened, tokenizer)))
    scratch = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        scratch.mkdir(parents=True)
        tokenizer.save_pretrained(scratch)
        form.write(opened, scratch)
        _write_note(opened, form, scratch)
        encoder = encoder_of(opened, AutoTokenizer.from_pretrained(scratch))
        parity = exam.sit(form.load(scratch, encoder), encoder, form)
        if not parity.holds:
            kept = unused(output.with_name(f"{output.name}.failed-check"))
            os.replace(scratch, kept)
            raise _failed(parity, kept)
        if output.exists():
            output.rmdir()
        os.replace(scratch, output)
    except OSError as error:
        raise FkiError(f"{output} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return parity


def check_output(output: Path) -> None:
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


def encoder_of(opened: Opened, tokenizer: PreTrainedTokenizerBase) -> Encoder:
    """An encoder over a tokenizer, with the run's lengths."""
    return Encoder(tokenizer, opened.config.input_length, opened.config.output_length)


def _failed(parity: Parity, kept: Path) -> GateFailed:
    beams = ""
    if parity.same_beams is not None:
        beams = f", the best of two beams to {parity.asked - parity.same_beams},"
    return GateFailed(
        f"The exported model answers {parity.asked - parity.same_answers} of {parity.asked} "
        f"probes differently from the run{beams} and log-likelihoods differ by up to "
        f"{parity.largest_difference:.2g} nats (at most {parity.tolerance:g} is right).",
        hint=f"It is kept for inspection in {kept}; do not use it.",
    )


def unused(path: Path) -> Path:
    """The path, or with a number behind it where there is one already."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


def _write_note(opened: Opened, form: Format, folder: Path) -> None:
    info = opened.run.info if opened.run else {}
    write_json(
        folder / NOTE,
        {
            "fki": __version__,
            "format": form.name,
            "run": opened.name,
            "checkpoint": opened.checkpoint,
            "base_model": opened.config.model,
            "method": opened.config.method,
            "prompt": opened.config.prompt,
            "input_length": opened.config.input_length,
            "output_length": opened.config.output_length,
            "num_beams": opened.config.num_beams,
            "dataset": info.get("dataset", {}),
        },
    )
