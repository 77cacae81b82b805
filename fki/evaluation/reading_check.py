"""Measures whether a model uses passages: the fact that answers a question is put before it.

The share of correct answers with the right passage is the upper limit of what retrieval can reach.
A model that answers no better with it than without cannot read passages: retrieval then says
nothing about its facts.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from accelerate import Accelerator

from fki.config.schema import Config
from fki.core.types import Probe
from fki.data.collator import ExampleTokenizer
from fki.data.prompts import complete
from fki.evaluation.evaluator import Evaluator
from fki.evaluation.schedule import ProbeSchedule
from fki.methods.retrieval import Retrieval

MAX_PROBES = 64
MARGIN = 20.0  # points of exact match; a smaller gain is no reading
SAMPLE_SEED = 0  # the same probes for every run


@dataclass(frozen=True, slots=True)
class ReadingCheck:
    """Exact match (%) on a sample of probes, without and with the right passage before them."""

    n: int
    without: float
    with_passage: float
    can_read: bool  # does the model use passages?

    def describe(self, model: str) -> str:
        """The result as a note for the user."""
        figures = (
            f"Reading check: of {self.n} questions, {model} answers {self.without:.1f} % alone and "
            f"{self.with_passage:.1f} % with the right fact before the question."
        )
        if self.can_read:
            return f"{figures} Retrieval reaches at most about the latter."
        return (
            f"{figures} It does not use passages (a gain below {MARGIN:g} points), so this run "
            "reports on the model's reading, not on retrieval. Use a model that is trained to read "
            "contexts: --model NAME"
        )


def check_reading(
    model: Any,
    method: Retrieval,
    schedule: ProbeSchedule,
    tokenizer: ExampleTokenizer,
    config: Config,
    accelerator: Accelerator,
) -> ReadingCheck | None:
    """Evaluate a sample of the probes that the stream answers; None if there are none."""
    probes = _sample_probes(schedule)
    if not probes:
        return None
    right = {probe.source: [complete(probe.source, probe.answers[0])] for probe in probes}

    def with_passages(questions: Sequence[str]) -> list[list[int]]:
        return method.put_before([right[q] for q in questions], questions, tokenizer)

    without, with_passage = (
        100 * fmean(p.em for p in evaluator.predict(model, probes))
        for evaluator in (
            Evaluator(tokenizer, config, accelerator),
            Evaluator(tokenizer, config, accelerator, tokenize_questions=with_passages),
        )
    )
    can_read = with_passage - without >= MARGIN
    return ReadingCheck(len(probes), without, with_passage, can_read)


def _sample_probes(schedule: ProbeSchedule) -> list[Probe]:
    """Probes of different questions, from the first cells of R that have enough."""
    distinct: dict[str, Probe] = {}
    for cell in schedule.cells:
        if cell.probe_set in schedule.matrix_sets and len(distinct) < MAX_PROBES:
            distinct |= {probe.source: probe for probe in cell.probes}
    size = min(MAX_PROBES, len(distinct))
    return random.Random(SAMPLE_SEED).sample([*distinct.values()], size)
