"""The sentences on the arm to take are no stronger than its differences."""

from dataclasses import replace

from fki.comparison.types import Difference, Estimate, Group, Option, TrainingChoice
from fki.report.recommendation import describe_recommendation, describe_seeds_needed


def with_rivals(group: Group, *rivals: Difference) -> Group:
    assert group.recommendation is not None
    return replace(group, recommendation=replace(group.recommendation, rivals=rivals))


def rivals_of(group: Group) -> tuple[Difference, ...]:
    assert group.recommendation is not None
    return group.recommendation.rivals


def test_no_arm_is_called_best_without_evidence(group: Group) -> None:
    assert describe_recommendation(group) == [
        "No arm is shown to be the best. recadam has the highest mean, answering 61.2% (95% "
        "interval 58.0 to 64.1) of invariant, updated and new on average.",
        'That is 0.3 points more than lora <b>"&$, the next best, but there is no evidence that it '
        'is better than lora <b>"&$.',
        "If the differences stay as they are, about 7 seeds would show them.",
    ]


def test_an_arm_that_is_better_than_each_other_is_to_be_taken(group: Group) -> None:
    better = [
        replace(r, verdict="better", p_holm=0.0123, seeds_needed=None) for r in rivals_of(group)
    ]
    first, second = describe_recommendation(with_rivals(group, *better))
    assert first.startswith("Take recadam: after the stream it answers 61.2%")
    assert second.endswith("it is better than each of the other 2 arms (adjusted p ≤ 0.012).")
    sure = [replace(r, p_holm=1e-6) for r in better]
    assert "(adjusted p <0.001)" in describe_recommendation(with_rivals(group, *sure))[1]
    assert "better than it (" in describe_recommendation(with_rivals(group, better[0]))[1]


def test_a_cheaper_arm_that_may_be_as_good_is_named(group: Group) -> None:
    cheap = replace(group.arms[1], cost=replace(group.arms[1].cost, flops=1e13))
    arms = (group.arms[0], cheap, group.arms[2])
    assert describe_recommendation(replace(group, arms=arms))[-1] == (
        'lora <b>"&$ costs 0.4 times its operations.'
    )


def test_seeds_that_are_too_many_or_unknown_are_said_so(group: Group) -> None:
    first, second = rivals_of(group)
    unclear = replace(second, verdict="no evidence of a difference", seeds_needed=51)
    some = describe_recommendation(with_rivals(group, first, unclear))[2]
    assert "about 7 seeds would show that to lora" in some and "more than 50" in some
    none = describe_recommendation(with_rivals(group, replace(first, seeds_needed=51)))[2]
    assert none == "Not even 50 seeds would show these differences; more probes may."
    one = describe_recommendation(with_rivals(group, replace(first, seeds_needed=None)))[2]
    assert "--seeds 3" in one
    assert [describe_seeds_needed(r) for r in (first, unclear, second)] == ["7", "> 50", ""]


def test_one_seed_is_no_order(group: Group) -> None:
    arms = (replace(group.arms[0], seeds=(0,)), *group.arms[1:])
    told = describe_recommendation(replace(group, arms=arms))
    assert told[-1] == "With one seed, another seed may give another order."


def test_joint_training_has_its_price(group: Group) -> None:
    joint = replace(group.arms[0], name="joint", cost=replace(group.arms[0].cost, flops=5e14))
    em = dict.fromkeys(("invariant", "new"), Estimate(97.0))
    choice = TrainingChoice(tuple(em), (Option("joint", "joint", em, None),), {})
    arms = (*group.arms, joint)
    told = describe_recommendation(replace(group, arms=arms, choice=choice))
    assert told[-1] == (
        "joint, which retrains on everything in each period, reaches 97.0% for 20 times the "
        "operations."
    )


def test_equal_means_have_no_best_arm(group: Group) -> None:
    assert group.recommendation is not None
    first, second = rivals_of(group)
    tied = replace(
        group.recommendation,
        scores={**group.recommendation.scores, first.baseline: Estimate(61.2)},
        rivals=(replace(first, value=0.0, seeds_needed=None), second),
    )
    assert describe_recommendation(replace(group, recommendation=tied)) == [
        'No arm is shown to be the best. recadam and lora <b>"&$ have the highest mean, answering '
        "61.2% of invariant, updated and new on average.",
        'There is no evidence that recadam is better than lora <b>"&$.',
        "Equal means show no difference with any number of seeds; take the cheaper arm.",
    ]


def test_editing_has_its_own_score(group: Group) -> None:
    assert group.recommendation is not None
    editing = replace(group, recommendation=replace(group.recommendation, probe_sets=()))
    assert "highest mean, with an edit score S of 61.2%" in describe_recommendation(editing)[0]


def test_a_group_without_a_recommendation_has_no_sentence(group: Group) -> None:
    assert describe_recommendation(replace(group, recommendation=None)) == []
