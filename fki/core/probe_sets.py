"""The standard probe sets: each once, with its name, role, short name and meaning."""

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

from fki.core.types import HELD_OUT_WORDINGS, ProbeRole

BASE, CLOZE = "base", "cloze"
LAMA = "lama"  # the beginning of the names of LAMA's parts
CONDITION = "condition"  # facts that tests presuppose
ALONE = "each period alone"  # the only column of a run whose weights are reset before each
FACTS = ("updated", "new")  # the probe sets of the facts that a period brings
EDITED = ("efficacy", "updated", "new")  # the edits themselves; the first that a run has counts
UNEDITED = ("neighborhood", "locality")  # facts that an edit must not change, likewise
PARAPHRASES = dict(zip(("paraphrase", "paraphrase_2"), HELD_OUT_WORDINGS, strict=True))
"""The probe sets of both in other words, each with the index of its wording."""


class StandardProbeSet(NamedTuple):
    """A probe set that `fki` builds from a dataset's rows."""

    name: str
    role: ProbeRole
    short: str  # a column's head
    meaning: str  # the facts that its probes test


PROBE_SETS = {
    probe_set.name: probe_set
    for probe_set in (
        StandardProbeSet("invariant", "keep", "inv", "facts that never change"),
        StandardProbeSet("initial", "keep", "init", "facts from before the stream"),
        StandardProbeSet("updated", "change", "upd", "facts that a period changes"),
        StandardProbeSet("new", "learn", "new", "facts that a period adds"),
        StandardProbeSet("paraphrase", "learn", "para", "learned facts in a wording never trained"),
        StandardProbeSet(
            "paraphrase_2", "learn", "para2", "learned facts in a second wording never trained"
        ),
        StandardProbeSet(CLOZE, "learn", "cloze", "masked spans of a period's documents"),
    )
}

OWN_SETS = {  # names of probe files beside those of the sets above; a further word may follow
    probe_set.name: probe_set
    for probe_set in (
        StandardProbeSet("efficacy", "change", "eff", "the edits themselves"),
        StandardProbeSet("portability", "learn", "port", "facts that follow from learned ones"),
        StandardProbeSet("multi_hop", "learn", "hop", "questions that combine several facts"),
        StandardProbeSet("locality", "keep", "loc", "facts that an edit must not change"),
        StandardProbeSet("neighborhood", "keep", "neigh", "facts about an edit's neighbors"),
        StandardProbeSet("unchanged", "keep", "unch", "facts that a Wikipedia did not change"),
        StandardProbeSet(CONDITION, "keep", "cond", "facts that a test presupposes"),
        StandardProbeSet(LAMA, "keep", "lama", "facts of LAMA, which models know"),
        StandardProbeSet("keep", "keep", "keep", "your own facts to keep"),
        StandardProbeSet("learn", "learn", "learn", "your own facts to learn"),
    )
}


def find_like(name: str) -> StandardProbeSet | None:
    """The set whose name begins this name of a probe file, and whose role it has; None if none.

    `new_easy` is like `new`, `multi_hop_2` like `multi_hop`.
    """
    known = PROBE_SETS | OWN_SETS
    fitting = [known[n] for n in known if name == n or name.startswith(f"{n}_")]
    return max(fitting, key=lambda probe_set: len(probe_set.name), default=None)


Moment = Literal["after", "learned", "before"]
MOMENTS: dict[Moment, str] = {  # at which a probe set's scores are compared
    "after": "after the stream",
    "learned": "right after the period was learned",
    "before": "before the stream",
}


def matrix_probe_sets(names: Iterable[str]) -> tuple[str, ...]:
    """The probe sets that make the matrix R: facts, or cloze where a run has no fact probes."""
    return FACTS if set(FACTS) & set(names) else (CLOZE,)


def kept_probe_set(names: Collection[str]) -> str:
    """The probe set on which FUAR counts forgetting: invariant facts where there are any."""
    return "invariant" if "invariant" in names else "initial"


def describe(name: str) -> str:
    """The meaning of a probe set, of the user's own ones too."""
    known = PROBE_SETS | OWN_SETS
    like = find_like(name)
    if name in known or (like and like.name == LAMA):
        return known[name if name in known else LAMA].meaning
    return "your own probes"
