"""Fold a run into a plain model folder, then load that folder by transformers alone and ask it.

An export that answers differently is kept under a name that says so, and is an error.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from fki import __version__
from fki.core.errors import DataError, FkiError, GateFailed
from fki.core.store import PROBES, write_json
from fki.core.types import Prediction, Probe
from fki.engine.evaluator import Evaluator
from fki.engine.opener import Opened
from fki.engine.session import make_accelerator, make_encoder

ASKED = 200  # probes that the check asks, spread over all probe sets
PROBE = TypeAdapter(Probe)
TOLERANCE = 1e-3  # nats by which an answer's log-likelihood may differ after folding in fp32


@dataclass(frozen=True, slots=True)
class Parity:
    """How alike the exported folder and the run answer."""

    folder: Path
    asked: int
    same_answers: int
    largest_difference: float  # of an answer's log-likelihood, nats

    @property
    def holds(self) -> bool:
        """Is it the same model?"""
        return self.same_answers == self.asked and self.largest_difference <= TOLERANCE


def export_hf(opened: Opened, output: Path) -> Parity:
    """Write the folded model and its tokenizer to `output`, and check it.

    Raises:
        FkiError: `output` is not new or empty.
        CannotFold: the method's model has no plain equivalent.
        GateFailed: the folder, loaded by transformers alone, answers differently.
    """
    if output.name in ("", ".."):
        raise FkiError(
            f"--output must name a folder of its own, not '{output}'.", hint="Try: --output out"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FkiError(
            f"--output must be a new or empty folder, and {output} is not. fki overwrites nothing.",
            hint=f"Try: --output {output.with_name(output.name + '-2')}",
        )
    probes = some_probes(opened)
    before = ask(opened, opened.model, probes)
    folded = opened.method.fold(opened.model)
    scratch = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        write_folder(opened, folded, scratch)
        parity = compare(output, before, ask_folder(opened, scratch, probes))
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


def _failed(parity: Parity, kept: Path) -> GateFailed:
    return GateFailed(
        f"The exported model answers {parity.asked - parity.same_answers} of {parity.asked} "
        f"probes differently from the run, and log-likelihoods differ by up to "
        f"{parity.largest_difference:.2g} nats (at most {TOLERANCE:g} is right).",
        hint=f"It is kept for inspection in {kept}; do not use it.",
    )


def unused(path: Path) -> Path:
    """The path, or with a number behind it where there is one already."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


def write_folder(opened: Opened, folded: PreTrainedModel, folder: Path) -> None:
    """What plain transformers loads: weights, config, generation config, tokenizer, origin."""
    folder.mkdir(parents=True)
    folded.config.use_cache = True
    folded.generation_config.max_new_tokens = opened.config.output_length
    folded.generation_config.num_beams = opened.config.num_beams
    folded.save_pretrained(folder)
    opened.base.tokenizer.save_pretrained(folder)
    info = opened.run.info if opened.run else {}
    write_json(
        folder / "fki_export.json",
        {
            "fki": __version__,
            "run": opened.name,
            "checkpoint": opened.checkpoint,
            "base_model": opened.config.model,
            "method": opened.config.method,
            "prompt": opened.config.prompt,
            "dataset": info.get("dataset", {}),
        },
    )


def some_probes(opened: Opened) -> list[Probe]:
    """A few of the questions that the run itself was asked, evenly spread over all of them.

    Raises DataError where there are none: an export that cannot be checked does not count.
    """
    assert opened.run is not None
    count = sum(1 for _ in opened.run.read_lines(PROBES))
    if not count:
        raise DataError(f"{opened.run.folder / PROBES} has no questions to check an export with.")
    rows = islice(opened.run.read_lines(PROBES), None, None, max(1, count // ASKED))
    return [_probe(row) for row in rows]


def _probe(row: dict[str, Any]) -> Probe:
    """A line of probes.jsonl as a probe. Raises DataError where it is none."""
    try:
        probe: Probe = PROBE.validate_python(row)
    except ValidationError:
        raise DataError(f"{PROBES} holds a line that is no probe: {row}.") from None
    if not probe.answers:
        raise DataError(f"{PROBES} holds a probe without an answer: {row}.")
    return probe


def ask(opened: Opened, model: nn.Module, probes: Sequence[Probe]) -> list[Prediction]:
    """The model's answers under the run's protocol."""
    return _predict(opened, model, opened.base.tokenizer, probes)


def ask_folder(opened: Opened, folder: Path, probes: Sequence[Probe]) -> list[Prediction]:
    """The answers of an exported folder, model and tokenizer loaded by transformers alone."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    return _predict(opened, model, AutoTokenizer.from_pretrained(folder), probes)


def _predict(
    opened: Opened, model: nn.Module, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe]
) -> list[Prediction]:
    accelerator = make_accelerator(opened.config)
    encoder = make_encoder(tokenizer, opened.config, accelerator)
    return Evaluator(encoder, opened.config, accelerator).predict(
        model.to(accelerator.device), probes
    )


def compare(folder: Path, before: Sequence[Prediction], after: Sequence[Prediction]) -> Parity:
    """How alike two lists of predictions to the same probes are."""
    pairs = list(zip(before, after, strict=True))
    return Parity(
        folder=folder,
        asked=len(pairs),
        same_answers=sum(a.text == b.text for a, b in pairs),
        largest_difference=max(abs(a.log_likelihood - b.log_likelihood) for a, b in pairs),
    )
