"""Scores of cases: probes that belong together count once.

A case that asks one question in several ways is right if one of them is answered: MQuAKE (Zhong et
al., 2023) counts its cases so, over three phrasings of each question. ROME (Meng et al., 2022,
`summarize.py`) takes the mean over the probes of an edit first, and then over edits; LAMA (Petroni
et al., 2019) does so with relations.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from fki.core.types import Prediction, Probe


def means_of_groups(values: Iterable[float | None], names: Iterable[str | int]) -> list[float]:
    """The mean of each group, in the order of first appearance.

    Args:
        values: None where a probe has no such score; it does not count.
        names: the group of each value; one without a name ("") does not count.
    """
    groups: dict[str | int, list[float]] = defaultdict(list)
    for value, name in zip(values, names, strict=False):
        if value is not None and name != "":
            groups[name].append(value)
    return [fmean(members) for members in groups.values()]


def score_cases(probes: Sequence[Probe], predictions: Sequence[Prediction]) -> list[Prediction]:
    """The predictions; the first of each case has the case's best exact match.

    The probes of a case are those with its name and the same answers. A probe set without a case of
    several probes stays as it is.
    """
    cases: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for number, probe in enumerate(probes):
        if probe.case:
            cases[probe.case, probe.answers].append(number)
    scored = [*predictions]
    if all(len(members) == 1 for members in cases.values()):
        return scored
    for first, *others in cases.values():
        best = max(predictions[i].em for i in (first, *others))
        scored[first] = replace(scored[first], case_em=best)
    return scored
