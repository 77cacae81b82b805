"""The results of one run in sentences: what it learned, what it forgot, and what is still open."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fki.core.formatting import format_list, format_number
from fki.core.probe_sets import PROBE_SETS, Moment, matrix_probe_sets

BEST = (
    "Best method",
    "One run cannot show which method is best; fki compare shows it for runs of several methods.",
)
KEPT = [name for name, probe_set in PROBE_SETS.items() if probe_set.role == "keep"]


class RunFinding(NamedTuple):
    """The answer to one question about a run."""

    topic: str
    text: str


def describe_run(summary: Mapping[str, Any]) -> list[RunFinding]:
    """What a trained run learned and forgot, in exact match, and how to find the best method.

    Args:
        summary: of scores.json.
    """
    sets = {name: row["em"] for name, row in summary["probe_sets"].items()}
    learned = [n for n in matrix_probe_sets(sets) if _has(sets, n, "learned")]
    kept = [n for n in KEPT if _has(sets, n, "after")]
    found = []
    if learned:
        text = f"Right after each period, the model answers {_shares(sets, learned, 'learned')}"
        found.append(RunFinding("Learned", f"{text}{_before(sets, learned)}."))
    at_end = []
    if len(summary.get("columns", ())) > 1 and learned:
        at_end.append(_shares(sets, learned, "after"))
    if kept:
        at_end.append(f"{_shares(sets, kept, 'after')}{_before(sets, kept)}")
    if at_end:
        found.append(RunFinding("Kept", f"At the end, it answers {', and '.join(at_end)}."))
    return [*found, RunFinding(*BEST)]


def _has(sets: Mapping[str, Any], name: str, moment: Moment) -> bool:
    return name in sets and sets[name][moment] is not None


def _shares(sets: Mapping[str, Any], names: Sequence[str], moment: Moment) -> str:
    """`98.1% of updated and 99.9% of new`."""
    known = [name for name in names if _has(sets, name, moment)]
    return format_list([f"{format_number(sets[name][moment])}% of {name}" for name in known])


def _before(sets: Mapping[str, Any], names: Sequence[str]) -> str:
    """` (2.2% and 17.8% before)`."""
    values = [sets[name]["before"] for name in names if _has(sets, name, "before")]
    shown = format_list([f"{format_number(value)}%" for value in values])
    return f" ({shown} before)" if values else ""
