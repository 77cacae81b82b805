"""A run's own questions, asked again: which they are, and what the run has on record for them."""

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
from fki.metrics.answers import exact_match, extract_answer
from fki.modeling.runtime import Runtime
from fki.runs.run_dir import PROBES, SAMPLES, Run

MAX_PROBES_PER_SET = 500  # questions of a probe set
PROBE_ADAPTER = TypeAdapter(Probe)


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What was answered to a question."""

    text: str
    is_right: bool
    margin: float | None = None  # logits: where the second likeliest token came nearest


@dataclass(frozen=True, slots=True)
class RecordedProbes:
    """Questions by probe set, and the answers on record, in the same order; None where there are
    none."""

    probes: Mapping[str, Sequence[Probe]]
    recorded: Mapping[str, Sequence[RecordedAnswer]] | None = None

    def answers(
        self, runtime: Runtime, encoder: ExampleTokenizer, *, length: int, beams: int
    ) -> dict[str, list[RecordedAnswer]]:
        """What a model says to each."""
        beams = beams if runtime.has_beams else 1
        found = {}
        for name, probes in self.probes.items():
            sources = encoder.tokenize_sources([p.source for p in probes])
            written = runtime.generate(sources, length=length, beams=beams)
            texts = [extract_answer(str(encoder.tokenizer.decode(rows[0]))) for rows in written]
            found[name] = [
                RecordedAnswer(text, bool(exact_match(text, probe.answers)))
                for text, probe in zip(texts, probes, strict=True)
            ]
        return found


def percent_correct(said: Sequence[RecordedAnswer]) -> float:
    """Exact match, %."""
    return 100 * fmean(one.is_right for one in said)


def read_recorded_probes(run: Run, after: str, most: int = MAX_PROBES_PER_SET) -> RecordedProbes:
    """What the run asked after a checkpoint of what it had been taught or was to keep; or where it
    asked nothing then, all of its questions.

    Args:
        most: of each probe set, evenly spread; 0 for all.
    Raises:
        DataError: the run's questions or answers cannot be read.
    """
    said = _read_answers(run, after)
    probes: dict[str, list[Probe]] = defaultdict(list)
    for row in run.read_lines(PROBES):
        if not said or (_probe_key(row) in said and _is_past(row, after)):
            probes[str(row.get("probe_set", ""))].append(parse_probe(row))
    chosen = {name: sample_evenly(some, most) for name, some in probes.items()}
    if not said:
        return RecordedProbes(chosen)
    return RecordedProbes(
        chosen, {name: [said[name, p.id] for p in some] for name, some in chosen.items()}
    )


def _read_answers(run: Run, after: str) -> dict[tuple[str, str], RecordedAnswer]:
    """By probe set and id, what the run answered after a checkpoint."""
    if not after or not (run.folder / SAMPLES).is_file():
        return {}
    rows = run.read_lines(SAMPLES, containing=json.dumps(after, ensure_ascii=False))
    try:
        return {_probe_key(row): _parse_answer(row) for row in rows if row["after"] == after}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{run.folder / SAMPLES} is not as fki writes it: {error!r}.") from None


def _parse_answer(row: Mapping[str, Any]) -> RecordedAnswer:
    margin = row.get("margin")
    return RecordedAnswer(
        str(row["text"]), row["em"] == 1, None if margin is None else float(margin)
    )


def _is_past(row: Mapping[str, Any], after: str) -> bool:
    """Is a question of a period up to a phase? A row asks what comes next, too."""
    period = str(row.get("period"))
    return period == BASE or period <= after.rpartition("..")[2]


def _probe_key(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("probe_set", "")), str(row.get("id", ""))


def sample_evenly(probes: Sequence[Probe], most: int) -> list[Probe]:
    """At most so many, evenly spread over all of them; 0: all."""
    if not most or len(probes) <= most:
        return list(probes)
    return [probes[i * len(probes) // most] for i in range(most)]


def sample_probes(run: Run, number: int) -> list[Probe]:
    """A few of the questions that the run itself was asked, evenly spread over all of them.

    Raises DataError where there are none: an export that cannot be checked does not count.
    """
    total = sum(1 for _ in run.read_lines(PROBES))
    if not total:
        raise DataError(f"{run.folder / PROBES} has no questions to check an export with.")
    rows: Iterator[dict[str, Any]] = islice(
        run.read_lines(PROBES), None, None, max(1, total // number)
    )
    return [parse_probe(row) for row in rows]


def parse_probe(row: dict[str, Any]) -> Probe:
    """A line of probes.jsonl as a probe. Raises DataError where it is none."""
    try:
        probe: Probe = PROBE_ADAPTER.validate_python(row)
    except ValidationError:
        raise DataError(f"{PROBES} holds a line that is no probe: {row}.") from None
    if not probe.answers:
        raise DataError(f"{PROBES} holds a probe without an answer: {row}.")
    return probe
