"""What to do next follows from what a run forgot and learned."""

from dataclasses import replace

import pytest

from fki.comparison.types import Arm, Estimate, Group
from fki.report.next_steps import suggest


@pytest.fixture
def arm(group: Group) -> Arm:
    """vanilla, which lost 5 points and learned both wordings."""
    values = {
        "invariant.before": 95.0,
        "invariant": 90.0,
        "forgetting": 3.0,
        "updated.learned": 99.0,
        "paraphrase.learned": 92.0,
    }
    return replace(
        group.arms[0],
        settings={"replay": "none", "wordings": 1},
        estimates={key: Estimate(value) for key, value in values.items()},
        curves=dict.fromkeys(("invariant", "updated", "paraphrase"), (1.0,)),
        runs=("runs/a b",),
    )


def changed(arm: Arm, **values: float) -> Arm:
    estimates = {key.replace("_learned", ".learned"): Estimate(v) for key, v in values.items()}
    return replace(arm, estimates={**arm.estimates, **estimates})


def commands(arm: Arm) -> list[str]:
    return [step.command for step in suggest(arm)]


def test_without_a_finding_others_are_compared_and_the_model_is_exported(arm: Arm) -> None:
    assert commands(arm) == [
        "fki train --preset 'runs/a b/config.toml' --methods vanilla,recadam --seeds 3 "
        "--output-dir 'runs/a b-methods'",
        "fki compare runs",
        "fki export 'runs/a b' --to hf --output 'a b-hf'",
    ]


def test_forgetting_suggests_replay_unless_it_is_there(arm: Arm) -> None:
    first = suggest(changed(arm, forgetting=44.0))[0]
    assert "44.0 points of earlier periods" in first.reason
    assert "--set replay=prioritized" in first.command
    assert "31.0 points of invariant" in suggest(changed(arm, invariant=64.0))[0].reason
    for settings in ({"replay": "uniform"}, {"replay": "none", "reset": "base"}):
        assert len(suggest(replace(changed(arm, forgetting=44.0), settings=settings))) == 3


def test_a_wording_that_was_not_trained_suggests_more(arm: Arm) -> None:
    first = suggest(changed(arm, paraphrase_learned=40.0))[0]
    assert "40.0% right" in first.reason and "--set wordings=4" in first.command
    more = replace(
        changed(arm, paraphrase_learned=40.0), settings={"wordings": 4, "replay": "none"}
    )
    assert len(suggest(more)) == 3
