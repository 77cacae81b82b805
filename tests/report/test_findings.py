"""The findings say what the statistics allow, in sentences."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fki.comparison.types import Difference, Estimate, Group
from fki.report import findings


def lines(group: Group) -> dict[str, str]:
    return {finding.topic: finding.text for finding in findings.describe_findings(group)}


def test_findings_say_who_is_ahead_and_how_others_stand_to_the_baseline(group: Group) -> None:
    told = lines(group)
    assert told["Keeping"] == (
        "recadam kept most of the facts from before the stream: 99.3% "
        "(95% interval 98.8 to 100.0). "
        "Against vanilla, recadam kept 74.7 points more (95% interval 73.6 to 76.0). "
        'There is no evidence of a difference from vanilla for lora <b>"&$.'
    )
    assert told["Learning"].startswith("vanilla learned most: 87.6%")
    assert "recadam learned 27.6 points less (95% interval 26.3 to 28.7)" in told["Learning"]


def test_nobody_is_said_to_be_ahead_whose_interval_overlaps(group: Group) -> None:
    assert "recadam has the best mean, 60.0%" in lines(group)["Forgetting"]
    assert 'overlaps with that of lora <b>"&$.' in lines(group)["Forgetting"]
    assert "forgot least" not in lines(group)["Forgetting"]


@pytest.mark.parametrize("values", [(50.01, 50.02, 50.0), (None, None, 3.0)])
def test_nobody_is_said_to_be_ahead_of_equals_or_of_none(
    group: Group, values: Sequence[float | None]
) -> None:
    arms = tuple(
        replace(arm, estimates={"invariant": Estimate(v, v, v) if v else Estimate(None)})
        for arm, v in zip(group.arms, values, strict=True)
    )
    assert lines(replace(group, arms=arms, differences=())) == {}


def test_bounds_do_not_compete_and_many_names_are_counted(group: Group) -> None:
    joint = replace(
        group.arms[2],
        name="joint",
        method="joint",
        estimates={**group.arms[2].estimates, "invariant": Estimate(100.0, 99.9, 100.0)},
    )
    better = replace(group.differences[0], arm="joint", verdict="better")
    with_bound = replace(group, arms=(*group.arms, joint), differences=(*group.differences, better))
    assert lines(with_bound) == lines(group)
    arms = tuple(replace(group.arms[0], name=f"arm {n}") for n in range(7))
    none = tuple(
        replace(group.differences[0], arm=arm.name, verdict=findings.NO_EVIDENCE) for arm in arms
    )
    told = lines(replace(group, arms=(*group.arms, *arms), differences=none))
    assert told["Keeping"].endswith("from vanilla for arm 0, arm 1, arm 2 and 4 others.")


def test_an_undefined_verdict_is_no_finding(group: Group) -> None:
    undefined = tuple(replace(d, verdict="undefined") for d in group.differences)
    told = lines(replace(group, differences=undefined))
    assert not any("Against" in text or "evidence" in text for text in told.values())


def test_a_difference_in_other_units_than_percent_is_told_in_them(group: Group) -> None:
    metric = replace(group.metrics[0], unit="s", digits=0)
    slower = Difference("invariant", "recadam", "vanilla", 12.0, verdict="worse")
    told = lines(replace(group, metrics=(metric,), differences=(slower,)))
    assert told["Keeping"].endswith("Against vanilla, recadam kept 12 s more.")
