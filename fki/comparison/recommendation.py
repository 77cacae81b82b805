"""Which method to take: the arm with the best score after the stream, and how sure that is.

The score is the mean of exact match on kept and on learned facts, each probe set with the same
weight; for editing benchmarks, the edit score S. The best arm is selected from the same data that
it is tested with. Its p-values are therefore multiplied by the number of all pairs of arms
(Bonferroni), so that the probability of any false statement about any pair is at most 5 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fki.comparison.arm_difference import Values, subtract_arms
from fki.comparison.types import Arm, Difference, Estimate, Recommendation
from fki.core import registry
from fki.core.probe_sets import FACTS, kept_probe_set, matrix_probe_sets
from fki.metrics.bootstrap import mean_over_seeds
from fki.metrics.power import ALPHA

EDIT_SCORE = "edit_score"


def final_probe_sets(arms: Sequence[Arm]) -> tuple[str, ...]:
    """The probe sets that a final score is the mean of: kept facts, and those that were learned."""
    names = list(dict.fromkeys(name for arm in arms for name in arm.curves))
    shown = (kept_probe_set(names), *(matrix_probe_sets(names) if names else FACTS))
    return tuple(name for name in shown if name in names)


def recommend(
    arms: Sequence[Arm], values: Mapping[str, Mapping[str, Values]]
) -> Recommendation | None:
    """The best trained arm against each other one; None for fewer than two with a score.

    Bounds, such as joint training, and untouched models are not candidates.

    Args:
        values: the metrics of each arm [runs, 1 + draws], by key.
    """
    bounds = registry.bound_names()
    trained = [
        arm for arm in arms if arm.cost.periods and arm.cost.steps and arm.method not in bounds
    ]
    sets = final_probe_sets(trained)
    basis = (EDIT_SCORE,) if _have_all(trained, values, (EDIT_SCORE,)) else sets
    if len(trained) < 2 or not basis or not _have_all(trained, values, basis):
        return None
    scores = {
        arm.name: np.mean([values[arm.name][key] for key in basis], axis=0) for arm in trained
    }
    by_score = sorted(trained, key=lambda arm: -float(scores[arm.name][:, 0].mean()))
    best = by_score[0]
    pairs = len(trained) * (len(trained) - 1) // 2
    return Recommendation(
        arm=best.name,
        probe_sets=() if basis == (EDIT_SCORE,) else sets,
        scores={arm.name: _estimate(scores[arm.name]) for arm in by_score},
        rivals=tuple(_against(best, rival, scores, pairs) for rival in by_score[1:]),
    )


def _have_all(
    arms: Sequence[Arm], values: Mapping[str, Mapping[str, Values]], keys: Sequence[str]
) -> bool:
    """Is each of these metrics defined in every run of every arm?"""
    return all(
        key in values[arm.name] and bool(np.isfinite(values[arm.name][key][:, 0]).all())
        for arm in arms
        for key in keys
    )


def _estimate(score: Values) -> Estimate:
    result = mean_over_seeds(score)
    ends = result.interval()
    if ends is None:
        return Estimate(result.value)
    return Estimate(result.value, max(0.0, ends[0]), min(100.0, ends[1]))


def _against(best: Arm, rival: Arm, scores: Mapping[str, Values], pairs: int) -> Difference:
    """The best arm minus a rival, adjusted for all pairs of arms."""
    row = Difference("", best.name, rival.name, None)
    difference = subtract_arms(scores[best.name], scores[rival.name], best.seeds, rival.seeds)
    if difference is None:
        return row
    result = difference.result
    low, high = result.interval() or (None, None)
    p = result.p_value()
    adjusted = None if p is None else min(1.0, p * pairs)
    is_evident = adjusted is not None and adjusted < ALPHA
    return replace(
        row,
        value=result.value,
        low=low,
        high=high,
        p=p,
        p_holm=adjusted,
        test="paired bootstrap",
        verdict="better" if is_evident else "no evidence of a difference",
        seeds_needed=None if is_evident else difference.seeds_needed(pairs),
    )
