"""The choice among contradictory edits: hand-worked cases, and a brute-force twin."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fki.sources.benchmarks.consistent_edits import (
    AMBIGUOUS,
    CONTRADICTS,
    IS_A_PROMPT,
    SAME_EDIT,
    Edit,
    distinct_edits,
    select_edits,
    select_kept,
    select_rewordings,
)

TEXTS = st.sampled_from(["a", "A", " a", "b", "c", "d\u00a0e", "D e"])
EDITS = st.lists(
    st.builds(
        Edit,
        prompt=TEXTS,
        target=st.sampled_from(["x", "X", "y", "z"]),
        old=st.just(()),
        fact=st.one_of(st.just(()), st.tuples(st.sampled_from(["s", "t"]), TEXTS)),
        rewordings=st.lists(TEXTS, max_size=3, unique=True).map(tuple),
        kept=st.lists(st.tuples(TEXTS, st.sampled_from(["u", "v"])), max_size=3).map(tuple),
    ),
    max_size=7,
)


def same(one: str, other: str) -> bool:
    return (
        one.replace("\u00a0", " ").strip().lower() == other.replace("\u00a0", " ").strip().lower()
    )


def contradict(one: Edit, other: Edit) -> bool:
    """The rule for one pair."""
    one_fact = bool(one.fact and other.fact) and all(map(same, one.fact, other.fact))
    return (same(one.prompt, other.prompt) or one_fact) and not same(one.target, other.target)


def selected_by_pairs(edits: list[Edit]) -> list[Edit]:
    kept: list[Edit] = []
    for edit in edits:
        if not any(contradict(edit, earlier) for earlier in kept):
            kept.append(edit)
    return kept


@given(EDITS)
def test_the_selection_is_that_of_all_pairs(edits: list[Edit]) -> None:
    dropped: Counter[str] = Counter()
    kept = select_edits(edits, dropped)
    assert kept == selected_by_pairs(edits)
    assert dropped.total() == len(edits) - len(kept)
    assert not any(contradict(one, other) for one in kept for other in kept)


@given(EDITS)
def test_each_probe_is_judged_against_each_edit(edits: list[Edit]) -> None:
    kept, dropped = selected_by_pairs(edits), Counter[str]()
    asked = [*select_rewordings(kept, dropped)]
    assert asked == [
        ("paraphrase", edit, question)
        for edit in kept
        for question in edit.rewordings
        if not any(same(question, other.prompt) for other in kept)
        and not any(
            same(question, reworded) and not same(edit.target, other.target)
            for other in kept
            for reworded in other.rewordings
        )
    ]
    stays = [*select_kept(kept, ["C"], "changed", dropped)]
    assert stays == [
        (edit, question, (answer,))
        for edit in kept
        for question, answer in edit.kept
        if not same(question, "C")
        and not any(
            same(question, text) for other in kept for text in (other.prompt, *other.rewordings)
        )
    ]
    own = sum(same(q, e.prompt) for e in kept for q in e.rewordings)
    total = sum(len(e.rewordings) + len(e.kept) for e in kept)
    assert len(asked) + len(stays) + dropped.total() + own == total


A = Edit("Aland is in", "Zeta", ("Alpha",), "Aland", "P30", fact=("Aland", "P30"))


def test_the_first_edit_of_a_prompt_or_fact_stands() -> None:
    dropped: Counter[str] = Counter()
    edits = [
        A,
        replace(A, target="Theta"),
        replace(A, prompt="Aland lies in", target="Theta"),
        replace(A, prompt="aland  is in", target="ZETA"),
        replace(A, prompt="Aland borders", target="Theta", fact=("Aland", "P47")),
    ]
    kept = select_edits(edits, dropped)
    assert kept == [edits[0], edits[3], edits[4]] and dropped == {CONTRADICTS: 2}
    assert [*distinct_edits(kept, dropped)] == [edits[0], edits[4]] and dropped[SAME_EDIT] == 1


def test_a_rewording_with_two_targets_or_a_trained_one_is_no_probe() -> None:
    dropped: Counter[str] = Counter()
    edits = [
        replace(A, rewordings=("Where is it?", "Bland is in", "Aland, in", A.prompt)),
        Edit("Bland is in", "Theta", (), rewordings=("Where is it?",)),
    ]
    assert [q for _, _, q in select_rewordings(edits, dropped)] == ["Aland, in"]
    assert dropped == {AMBIGUOUS: 2, IS_A_PROMPT: 1}
