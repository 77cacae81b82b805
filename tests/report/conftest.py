"""A comparison by hand: three arms, three periods, a metric that is undefined, a hostile name."""

from collections.abc import Mapping, Sequence

import pytest

from fki.comparison.types import (
    Arm,
    Comparison,
    Cost,
    Difference,
    Estimate,
    Group,
    Recommendation,
    Verdict,
)
from fki.metrics.registry import Metric

ROWS = ("base", "2023-01", "2023-02", "2023-03")
METRICS = (
    Metric("invariant", "Kept facts", "inv", "Exact match on what never changes", role="kept"),
    Metric("learning_gain", "Learning gain", "gain", "Rise of a period", role="learned"),
    Metric("forgetting", "Forgetting", "forgot", "Fall", higher_is_better=False, role="forgotten"),
    Metric("fuar", "FUAR", "FUAR", "Lost per gained", "", higher_is_better=False, digits=2),
)
VALUES: Mapping[str, Sequence[float | None]] = {
    "vanilla": (24.62, 87.64, 79.21, 1.716),
    'lora <b>"&$': (31.25, 80.17, 60.44, None),
    "recadam": (99.28, 60.05, 60.04, 0.034),
}
LORA = 'lora <b>"&$'
VERDICTS: Mapping[str, Sequence[Verdict]] = {
    'lora <b>"&$': ("no evidence of a difference", "worse", "better", "undefined"),
    "recadam": ("better", "worse", "better", "better"),
}


def made_estimate(value: float | None, note: str) -> Estimate:
    if value is None:
        return Estimate(None, note=note)
    return Estimate(value, value - 0.5, value + 0.7, 500)


def made_arm(name: str, values: Sequence[float | None]) -> Arm:
    method = name.split()[0]
    matrix = [[0.0, 1.0, None], [95.0, 2.0, 1.0], [50.0, 96.0, 3.0], [25.0, 48.0, 97.0]]
    pairs = zip(METRICS, values, strict=True)
    return Arm(
        name=name,
        method=method,
        runs=(f"runs/{method}-s0", f"runs/{method}-s1"),
        seeds=(0, 1),
        settings={"method": method, "learning_rate": 0.001},
        cost=Cost(1_456_384, 1308.0, 1_312_164.0, 159.0, 2.5e13, None),
        estimates={metric.key: made_estimate(v, "no gain in 1 of 2 seeds") for metric, v in pairs},
        matrix=matrix,
        curves={"invariant": [100.0, 80.0, 50.0, values[0]], "new": [None, 90.0, 60.0, 40.0]},
    )


def made_difference(arm: str, place: int) -> Difference:
    metric = METRICS[place].key
    value, base = VALUES[arm][place], VALUES["vanilla"][place]
    if value is None or base is None:
        return Difference(metric, arm, "vanilla", None)
    gap = value - base
    return Difference(
        metric,
        arm,
        "vanilla",
        gap,
        gap - 1.1,
        gap + 1.3,
        p=0.0004 if arm == "recadam" else 0.0312,
        p_holm=0.0008 if arm == "recadam" else 0.0624,
        effect=1.43 if metric == "invariant" else None,
        test="paired bootstrap",
        verdict=VERDICTS[arm][place],
    )


def made_recommendation() -> Recommendation:
    """recadam, of which vanilla is shown to be worse, and lora is not."""
    scores = {
        "recadam": Estimate(61.2, 58.0, 64.1),
        LORA: Estimate(60.9),
        "vanilla": Estimate(30.0),
    }
    none = "no evidence of a difference"
    rivals = (
        Difference("", "recadam", LORA, 0.3, -2.0, 2.5, 0.4, 1.0, verdict=none, seeds_needed=7),
        Difference("", "recadam", "vanilla", 31.2, 28.0, 35.0, 1e-4, 3e-4, verdict="better"),
    )
    return Recommendation("recadam", ("invariant", "updated", "new"), scores, rivals)


@pytest.fixture
def group() -> Group:
    """Three arms, of which the first is the baseline."""
    return Group(
        title="wiki, 3 months, t5-mini",
        rows=ROWS,
        arms=tuple(made_arm(name, values) for name, values in VALUES.items()),
        metrics=METRICS,
        baseline="vanilla",
        differences=tuple(
            made_difference(arm, place) for arm in VERDICTS for place in range(len(METRICS))
        ),
        recommendation=made_recommendation(),
        settings={"learning_rate": {"vanilla": 0.001, "recadam": 0.0003}},
        warnings=("Two seeds only, 50 % <fewer> than 4.",),
    )


@pytest.fixture
def comparison(group: Group) -> Comparison:
    """Of one group."""
    return Comparison(
        groups=(group,),
        left_out={"runs/broken_1": "it has no scores.json & is <odd>."},
        group_differences=("The groups differ in their data.",),
        environments=("python 3.11.7, torch 2.13.0, linux, cpu",),
    )
