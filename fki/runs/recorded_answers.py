"""A run's probes with their recorded answers, to check an exported model against the run."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fki.core.errors import DataError
from fki.core.probe_sets import BASE
from fki.core.types import Probe
from fki.data.collator import ExampleTokenizer
from fki.metrics.answers import exact_match
from fki.modeling.accepted_answers import AcceptedAnswers
from fki.modeling.runtime import Runtime
from fki.runs.run_dir import PROBES, SAMPLES, Run

MAX_PROBES_PER_SET = 500
PROBE_ADAPTER = TypeAdapter(Probe)


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """A model's answer to a probe."""

    text: str
    is_correct: bool
    margin: float | None = None  # logits: the smallest distance between the two likeliest tokens
    tokens: list[int] | None = None  # as written, up to EOS; None where only the text was recorded


@dataclass(frozen=True, slots=True)
class RecordedProbes:
    """Probes by probe set, and the run's answers in the same order (None: not recorded)."""

    probes: Mapping[str, Sequence[Probe]]
    recorded: Mapping[str, Sequence[RecordedAnswer]] | None = None

    def predict(
        self,
        runtime: Runtime,
        tokenizer: ExampleTokenizer,
        *,
        length: int,
        beams: int,
    ) -> dict[str, list[RecordedAnswer]]:
        """Predict the answers with a model; greedily if its runtime has no beam search."""
        beams = beams if runtime.has_beams else 1
        answers = {}
        accepted = AcceptedAnswers(tokenizer)
        for name, probes in self.probes.items():
            sources = tokenizer.tokenize_sources([probe.source for probe in probes])
            sequences = runtime.generate(sources, length=length, beams=beams)
            written = [tokenizer.cut_after_end(best[0]) for best in sequences]
            texts = [tokenizer.read_answer(tokens) for tokens in written]
            answers[name] = [
                RecordedAnswer(
                    text, bool(exact_match(text, accepted.accept(probe.answers))), tokens=tokens
                )
                for text, tokens, probe in zip(texts, written, probes, strict=True)
            ]
        return answers


def percent_correct(answers: Sequence[RecordedAnswer]) -> float:
    """Exact match in percent."""
    return 100 * fmean(answer.is_correct for answer in answers)


def read_recorded_probes(run: Run, after: str, most: int = MAX_PROBES_PER_SET) -> RecordedProbes:
    """The probes that the run evaluated after a checkpoint, about learned and kept facts.

    If the run did not evaluate that checkpoint, all its probes, without recorded answers.

    Args:
        most: of each probe set, evenly spread; 0 for all.
    Raises:
        DataError: the run's probes or answers cannot be read.
    """
    answers = _read_answers(run, after)
    probes: dict[str, list[Probe]] = defaultdict(list)
    for row in run.read_lines(PROBES):
        if not answers or (_probe_key(row) in answers and _is_past(row, after)):
            probes[str(row.get("probe_set", ""))].append(parse_probe(row))
    chosen = {name: sample_evenly(listed, most) for name, listed in probes.items()}
    if not answers:
        return RecordedProbes(chosen)
    recorded = {
        name: [_score_again(answers[name, probe.id], probe) for probe in listed]
        for name, listed in chosen.items()
    }
    return RecordedProbes(chosen, recorded)


def _score_again(answer: tuple[str, float | None], probe: Probe) -> RecordedAnswer:
    """A recorded text and margin, scored here: the run may have an older normalization."""
    text, margin = answer
    return RecordedAnswer(text, bool(exact_match(text, probe.answers)), margin)


def _read_answers(run: Run, after: str) -> dict[tuple[str, str], tuple[str, float | None]]:
    """The run's answers after a checkpoint and their margins, by probe set and id."""
    if not after or not (run.folder / SAMPLES).is_file():
        return {}
    rows = run.read_lines(SAMPLES, containing=json.dumps(after, ensure_ascii=False))
    try:
        return {_probe_key(row): _parse_answer(row) for row in rows if row["after"] == after}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{run.folder / SAMPLES} is malformed: {error!r}.") from None


def _parse_answer(row: Mapping[str, Any]) -> tuple[str, float | None]:
    margin = row.get("margin")
    return str(row["text"]), None if margin is None else float(margin)


def _is_past(row: Mapping[str, Any], after: str) -> bool:
    """Does a probe belong to a period up to this phase? Rows also evaluate the next phase."""
    period = str(row.get("period"))
    return period == BASE or period <= after.rpartition("..")[2]


def _probe_key(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("probe_set", "")), str(row.get("id", ""))


def sample_evenly(probes: Sequence[Probe], most: int) -> list[Probe]:
    """At most `most` probes, evenly spread; 0 for all."""
    if not most or len(probes) <= most:
        return list(probes)
    return [probes[i * len(probes) // most] for i in range(most)]


def sample_probes(run: Run, number: int) -> list[Probe]:
    """About `number` of the run's probes, evenly spread.

    Raises DataError if the run has no probes: an export needs a check.
    """
    total = sum(1 for _ in run.read_lines(PROBES))
    if not total:
        raise DataError(f"{run.folder / PROBES} has no probes to check an export with.")
    rows: Iterator[dict[str, Any]] = islice(
        run.read_lines(PROBES), None, None, max(1, total // number)
    )
    return [parse_probe(row) for row in rows]


def parse_probe(row: dict[str, Any]) -> Probe:
    """Parse a line of probes.jsonl. Raises DataError if it is not a probe with an answer."""
    try:
        probe: Probe = PROBE_ADAPTER.validate_python(row)
    except ValidationError:
        raise DataError(f"{PROBES} contains a line that is not a probe: {row}.") from None
    if not probe.answers:
        raise DataError(f"{PROBES} contains a probe without an answer: {row}.")
    return probe
