"""The results of one run in sentences: what it learned, what it forgot, and what is still open.

The intervals of a page come from the comparison of the run with itself; a summary has none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from fki.comparison.types import Arm, Estimate
from fki.core.formatting import format_list, format_number
from fki.core.probe_sets import MOMENTS, PROBE_SETS, Moment, matrix_probe_sets
from fki.metrics.registry import metric_key

BEST = (
    "Best method",
    "One run cannot show which method is best; fki compare shows it for runs of several methods.",
)
KEPT = [name for name, probe_set in PROBE_SETS.items() if probe_set.role == "keep"]

SetScores: TypeAlias = Mapping[str, Mapping[Moment, Estimate]]  # exact match by probe set


class RunFinding(NamedTuple):
    """The answer to one question about a run."""

    topic: str
    text: str


class RunScores(NamedTuple):
    """What the sentences are about."""

    sets: SetScores
    periods: int
    forgetting: Estimate  # of earlier periods

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any]) -> "RunScores":
        """The scores in scores.json, without intervals."""
        sets = {
            name: {moment: Estimate(row["em"][moment]) for moment in MOMENTS}
            for name, row in summary["probe_sets"].items()
        }
        forgetting = Estimate(summary.get("forgetting"))
        return cls(sets, len(summary.get("columns", ())), forgetting)

    @classmethod
    def of_arm(cls, arm: Arm) -> "RunScores":
        """The scores of an arm, with intervals."""
        sets = {
            name: {moment: arm.estimate(metric_key(name, moment)) for moment in MOMENTS}
            for name in arm.curves
        }
        return cls(sets, max(0, len(arm.matrix) - 1), arm.estimate("forgetting"))

    def has(self, name: str, moment: Moment) -> bool:
        """Was this probe set evaluated at this moment?"""
        return name in self.sets and self.sets[name][moment].value is not None


def describe_run(scores: RunScores) -> list[RunFinding]:
    """What a trained run learned and forgot, in exact match, and how to find the best method."""
    learned = [n for n in matrix_probe_sets(scores.sets) if scores.has(n, "learned")]
    kept = [n for n in KEPT if scores.has(n, "after")]
    found = []
    if learned:
        text = f"Right after each period, the model answers {_shares(scores, learned, 'learned')}"
        found.append(RunFinding("Learned", f"{text}{_before(scores, learned)}."))
    forgotten = []
    if scores.periods > 1 and learned:
        shares = _shares(scores, learned, "after")
        forgotten.append(f"At the end, it answers {shares}{_forgetting(scores)}.")
    if kept:
        shares = f"{_shares(scores, kept, 'after')}{_before(scores, kept)}"
        forgotten.append(f"Of the facts from before the stream, it still answers {shares}.")
    if forgotten:
        found.append(RunFinding("Forgotten", " ".join(forgotten)))
    return [*found, RunFinding(*BEST)]


def _shares(scores: RunScores, names: Sequence[str], moment: Moment) -> str:
    """`98.1% of updated and 99.9% (99.5 to 100.0) of new`."""
    known = [name for name in names if scores.has(name, moment)]
    return format_list([f"{_percent(scores.sets[name][moment])} of {name}" for name in known])


def _percent(estimate: Estimate) -> str:
    ends = ""
    if estimate.low is not None and estimate.high is not None:
        ends = f" ({format_number(estimate.low)} to {format_number(estimate.high)})"
    return f"{format_number(estimate.value)}%{ends}"


def _before(scores: RunScores, names: Sequence[str]) -> str:
    """` (2.2% and 17.8% before)`."""
    values = [scores.sets[n]["before"].value for n in names if scores.has(n, "before")]
    shown = format_list([f"{format_number(value)}%" for value in values])
    return f" ({shown} before)" if values else ""


def _forgetting(scores: RunScores) -> str:
    """How much earlier periods lost; nothing for a single period."""
    value = scores.forgetting
    if scores.periods < 2 or value.value is None:
        return ""
    if value.value < 0:
        low, high = (None if end is None else -end for end in (value.high, value.low))
        return f"; earlier periods gained {_points(Estimate(-value.value, low, high))} later"
    return f"; earlier periods lost {_points(value)} between their best row and the end"


def _points(estimate: Estimate) -> str:
    return _percent(estimate).replace("%", " points", 1)
