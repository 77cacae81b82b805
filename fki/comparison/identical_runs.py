"""Finds runs of an arm that are the same run: no random number had an effect, whatever the seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fki.comparison.arms import FinishedRun
from fki.core.formatting import format_list
from fki.runs.outcomes import EM, Answers, Outcomes


def drop_identical_runs(
    name: str, runs: Sequence[FinishedRun], outcomes: Mapping[Path, Outcomes]
) -> tuple[list[FinishedRun], dict[str, str], list[str]]:
    """The runs of an arm, each result once.

    Two runs are the same run if every answer has the same exact match and, to the last bit, the
    same log-likelihood. Runs without likelihoods are never the same.

    Returns:
        The runs that remain, the reason for each that is left out, and a sentence for the reader.
    """
    kept: list[FinishedRun] = []
    copies: dict[int, list[int]] = {}  # by the seed that stays
    left_out = {}
    for run in runs:
        twin = next((one for one in kept if _are_identical(outcomes, one, run)), None)
        if twin is None:
            kept.append(run)
            continue
        left_out[str(run.folder)] = f"Its answers are identical to those of {twin.folder}."
        copies.setdefault(twin.seed, [twin.seed]).append(run.seed)
    sentences = [
        f"Seeds {format_list([str(seed) for seed in seeds])} of {name} are the same run, because "
        "nothing in it is random. They count as one seed."
        for seeds in copies.values()
    ]
    return kept, left_out, sentences


def _are_identical(outcomes: Mapping[Path, Outcomes], one: FinishedRun, other: FinishedRun) -> bool:
    a, b = outcomes[one.folder], outcomes[other.folder]
    return (a.digest, a.rows) == (b.digest, b.rows) and all(
        _are_equal(a.answers(field), b.answers(field)) for field in (EM, "log_likelihood")
    )


def _are_equal(one: Answers, other: Answers) -> bool:
    """NaN, where a run has no likelihoods, equals nothing."""
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)
        for a, b in zip(one, other, strict=True)
    )
