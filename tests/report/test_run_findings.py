"""A run's sentences have the figures of its summary, and only those that exist."""

from dataclasses import replace

from fki.comparison.types import Estimate, Group
from fki.report.run_findings import BEST, RunScores, describe_run


def summarize(columns: int, **sets: tuple[float | None, float | None, float | None]) -> RunScores:
    rows = {
        name: {"em": dict(zip(("before", "learned", "after"), moments, strict=True))}
        for name, moments in sets.items()
    }
    summary = {"probe_sets": rows, "columns": [f"p{i}" for i in range(columns)]}
    return RunScores.of_summary(summary | {"forgetting": 75.04 if columns > 2 else None})


def test_a_stream_is_learned_and_kept() -> None:
    summary = summarize(
        12,
        invariant=(100.0, None, 6.6),
        initial=(99.0, None, 22.84),
        updated=(2.2, 98.1, 29.9),
        new=(17.8, 99.9, 40.7),
        paraphrase=(1.0, 2.0, 3.0),
    )
    assert describe_run(summary) == [
        (
            "Learned",
            "Right after each period, the model answers 98.1% of updated and 99.9% of new (2.2% "
            "and 17.8% before).",
        ),
        (
            "Forgotten",
            "At the end, it answers 29.9% of updated and 40.7% of new; earlier periods lost 75.0 "
            "points between their best row and the end. Of the facts from before the stream, it "
            "still answers 6.6% of invariant and 22.8% of initial (100.0% and 99.0% before).",
        ),
        BEST,
    ]


def test_one_period_has_no_later_end() -> None:
    [learned, best] = describe_run(summarize(1, new=(None, 99.9, 99.9)))
    assert learned.text == "Right after each period, the model answers 99.9% of new."
    assert best == BEST
    [_, kept, _] = describe_run(summarize(1, new=(0.0, 1.0, 1.0), initial=(50.0, None, 40.0)))
    assert kept.text == (
        "Of the facts from before the stream, it still answers 40.0% of initial (50.0% before)."
    )


def test_documents_are_learned_as_cloze() -> None:
    [learned, kept, _] = describe_run(summarize(2, cloze=(1.0, 2.0, 3.0)))
    assert "2.0% of cloze (1.0% before)" in learned.text
    assert kept.text == "At the end, it answers 3.0% of cloze."


def test_without_a_score_only_the_next_step_is_left() -> None:
    assert describe_run(summarize(1, paraphrase=(None, None, None))) == [BEST]


def test_a_page_has_the_intervals_of_the_arm(group: Group) -> None:
    arm = replace(
        group.arms[0],
        curves={"updated": [1.0], "invariant": [2.0]},
        estimates={
            "updated.before": Estimate(2.0, 1.0, 3.0),
            "updated.learned": Estimate(97.0, 95.5, 98.0),
            "updated": Estimate(20.0, 17.5, 22.0),
            "invariant": Estimate(90.0, 88.0, 92.25),
            "forgetting": Estimate(70.0, 68.0, 71.5),
        },
    )
    [learned, kept, _] = describe_run(RunScores.of_arm(arm))
    assert "97.0% (95.5 to 98.0) of updated (2.0% before)" in learned.text
    assert "20.0% (17.5 to 22.0) of updated; earlier periods lost 70.0 points (68.0 to 71.5)" in (
        kept.text
    )
    assert "still answers 90.0% (88.0 to 92.2) of invariant." in kept.text
    better = replace(arm, estimates={**arm.estimates, "forgetting": Estimate(-14.8, -30.8, 7.8)})
    [_, gained, _] = describe_run(RunScores.of_arm(better))
    assert "; earlier periods gained 14.8 points (-7.8 to 30.8) later." in gained.text
