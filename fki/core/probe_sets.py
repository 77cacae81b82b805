"""The standard probe sets: each name once, with its role, short name and meaning."""

from collections.abc import Iterable

from fki.core.types import ProbeRole

BASE, CLOZE = "base", "cloze"
FACTS = ("updated", "new")  # the probe sets of the facts that a period brings
ASKS: dict[str, ProbeRole] = {
    "invariant": "keep",
    "initial": "keep",
    "updated": "change",
    "new": "learn",
    "paraphrase": "learn",
    CLOZE: "learn",
}


def matrix_probe_sets(probe_sets: Iterable[str]) -> tuple[str, ...]:
    """The probe sets whose columns make the matrix R: facts, or cloze where there are no facts."""
    return FACTS if set(FACTS) & set(probe_sets) else (CLOZE,)
