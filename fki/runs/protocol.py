"""The scoring protocol of a run; runs are compared only if their protocols are equal."""

from collections.abc import Mapping
from typing import Any

from fki.config.renamed_settings import ADDED
from fki.config.schema import Config, settings_affecting
from fki.metrics.answers import NORMALIZATION

FIXED = {
    "precision": "fp32",
    "superseded": "not asked",  # a fact that changes again, once it was learned
    "normalization": NORMALIZATION,  # version, of answers for exact match and F1
}
FIRST_NORMALIZATION = "1"  # of runs whose protocol does not state it
FIRST_NAMES = {"max_new_tokens": "output_length"}  # of version 0.1


def describe_protocol(config: Config) -> dict[str, Any]:
    """The protocol as run.json stores it: each setting that affects scoring, and what is fixed."""
    return {name: getattr(config, name) for name in settings_affecting("scoring")} | FIXED


def read_protocol(info: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol of a run.json of any version; its config states what the protocol leaves out.

    A setting that its version did not have is at its default. Raises KeyError where neither states
    another setting that affects scoring.
    """
    stored = {FIRST_NAMES.get(key, key): value for key, value in info["protocol"].items()}
    names = settings_affecting("scoring")
    later = {name: getattr(Config(), name) for name in names if name in ADDED}
    stated = {**later, **info["config"], **stored}
    return (
        {name: stated[name] for name in names}
        | {"normalization": FIRST_NORMALIZATION}
        | {key: value for key, value in stored.items() if key not in names}
    )


def continue_protocol(started: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol of a resumed run; its normalization is "1, then 2" where that has changed.

    Args:
        started: as the run's run.json stores it; empty for a new run.
        current: of this version.
    """
    before = started.get("normalization", FIRST_NORMALIZATION) if started else NORMALIZATION
    if before.endswith(NORMALIZATION):
        return {**current, "normalization": before}
    return {**current, "normalization": f"{before}, then {NORMALIZATION}"}
