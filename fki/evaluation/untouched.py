"""Answers of the untrained model, to which later answers about facts to keep are compared.

Locality is that an edit leaves other answers as they were, right or wrong: by their text, and as
EasyEdit (Zhang et al., 2024) by the likeliest tokens in place of the reference answer's own tokens.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fki.core.probe_sets import BASE
from fki.core.types import Prediction
from fki.evaluation.answer_scores import share_of_equal
from fki.metrics.answers import normalize_answer
from fki.runs.run_dir import SAMPLES, Run


class UntouchedAnswer(NamedTuple):
    """An answer of the untrained model."""

    text: str  # normalized
    likeliest: tuple[int, ...]


class UntouchedAnswers:
    """The answers by probe set and id."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], UntouchedAnswer] = {}

    def add(self, probe_set: str, predictions: Sequence[Prediction]) -> None:
        """Add answers of the untrained model."""
        for p in predictions:
            self._known[probe_set, p.id] = UntouchedAnswer(normalize_answer(p.text), p.likeliest)

    def read(self, run: Run) -> None:
        """Add the answers that a run has recorded before training. Raises DataError."""
        for row in run.read_lines(SAMPLES):
            if row["after"] != BASE:
                return
            if row.get("likeliest") is not None:
                self._add_recorded(row)

    def _add_recorded(self, row: dict[str, Any]) -> None:
        key = str(row["probe_set"]), str(row["id"])
        text = normalize_answer(str(row["text"]))
        self._known[key] = UntouchedAnswer(text, tuple(map(int, row["likeliest"])))

    def compare(self, probe_set: str, predictions: Sequence[Prediction]) -> list[Prediction]:
        """The predictions, with the shares that are unchanged; unknown ones stay as they are."""
        return [self._compare(self._known.get((probe_set, p.id)), p) for p in predictions]

    def _compare(self, before: UntouchedAnswer | None, now: Prediction) -> Prediction:
        if before is None or len(before.likeliest) != len(now.likeliest):
            return now
        return replace(
            now,
            same_answer=float(normalize_answer(now.text) == before.text),
            same_tokens=share_of_equal(before.likeliest, now.likeliest),
        )
