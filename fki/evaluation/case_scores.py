"""Counts a case that asks one question in several ways once: right if one of them is answered.

MQuAKE (Zhong et al., 2023) counts its cases so, over three phrasings of each question.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from fki.core.types import Prediction, Probe


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
