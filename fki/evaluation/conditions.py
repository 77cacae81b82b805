"""Tests that count only if the untrained model answers their conditions: those of RippleEdits.

Cohen et al. (2024) ask whether an edit carries over to another fact only where the model knows the
facts that the inference needs. A test has one or several queries and passes if any of them is
answered, or all. As in the authors' code, a query is answered if an answer occurs in the text.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from fki.core.probe_sets import BASE, CONDITION
from fki.core.types import Prediction, Probe
from fki.runs.run_dir import SAMPLES, Run


class MetConditions:
    """The condition probes that the untrained model answers, by id."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def add(self, probe_set: str, predictions: Sequence[Prediction]) -> None:
        """Add answers of the untrained model; those of other probe sets have no effect."""
        if probe_set == CONDITION:
            self.ids |= {p.id for p in predictions if p.contains}

    def read(self, run: Run) -> None:
        """Add the answers that a run has recorded before training. Raises DataError."""
        for row in run.read_lines(SAMPLES):
            if row["after"] != BASE:
                return
            if row["probe_set"] == CONDITION and row.get("contains"):
                self.ids.add(str(row["id"]))

    def score_tests(
        self, probes: Sequence[Probe], predictions: Sequence[Prediction]
    ) -> list[Prediction]:
        """The predictions; the first query of each test that counts states whether it passes."""
        tests: dict[str, list[int]] = defaultdict(list)
        asked = [*probes]
        for number, probe in enumerate(asked):
            if probe.test:
                tests[probe.test].append(number)
        scored = [*predictions]
        for first, *others in tests.values():
            members = (first, *others)
            if all(id in self.ids for i in members for id in asked[i].conditions):
                answered = [predictions[i].contains > 0 for i in members]
                passes = all(answered) if asked[first].needs_all else any(answered)
                scored[first] = replace(scored[first], test_passed=float(passes))
        return scored
