"""The details of a comparison are those of the runs' last rows."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from fki.comparison import breakdown as module
from fki.comparison.breakdown import Breakdown, break_down, break_down_group
from fki.comparison.types import Arm, Comparison, Cost, Group

PROBES = {  # by probe set and id: the relation
    ("invariant", "a"): "capital",
    ("invariant", "b"): "capital",
    ("invariant", "c"): "language",
    ("new", "a"): "capital",
}


def write_run(folder: Path, right: Mapping[tuple[str, str], int], extra: str = "") -> str:
    """A run whose last row is right where it is said; the row before was never right."""
    folder.mkdir(parents=True)
    probes = [
        {"probe_set": s, "id": i, "source": f"{s} {i}?", "answers": [f"{i}!"], "relation": relation}
        for (s, i), relation in PROBES.items()
    ]
    samples = [
        {"after": after, "probe_set": s, "id": i, "text": f"{i}{'!' if em else '?'}", "em": em}
        for after, share in (("base", 0), ("2023-é", 1))
        for (s, i) in PROBES
        for em in [float(right.get((s, i), 0) * share)]
    ]
    for name, rows in (("probes.jsonl", probes), ("samples.jsonl", samples)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text(
            lines + (extra if name.startswith("s") else ""), encoding="utf-8"
        )
    return str(folder)


def arm(name: str, *runs: str) -> Arm:
    cost = Cost(1, 1.0, 1.0, 1.0, 0.0, None)
    return Arm(name, name, runs, tuple(range(len(runs))), {}, cost, {}, [], {})


def group(*arms: Arm) -> Group:
    return Group("g", ("base", "2023-é"), arms, (), "")


@pytest.fixture
def two(tmp_path: Path) -> Group:
    """`one` is right about two probes, of one of them in one seed only; `other` about another."""
    first = {("invariant", "a"): 1, ("invariant", "b"): 1, ("new", "a"): 1}
    return group(
        arm(
            "one",
            write_run(tmp_path / "one-s0", first),
            write_run(tmp_path / "one-s1", {("invariant", "a"): 1, ("new", "a"): 1}),
        ),
        arm("other", write_run(tmp_path / "other-s0", {("invariant", "c"): 1, ("new", "a"): 1})),
    )


def test_a_relations_score_is_the_mean_over_probes_and_seeds_of_the_last_row(two: Group) -> None:
    found = [
        (r.probe_set, r.relation, r.n, r.em, r.example) for r in break_down_group(two).relations
    ]
    assert found == [
        ("invariant", "capital", 2, {"one": 75.0, "other": 0.0}, "invariant a?"),
        ("invariant", "language", 1, {"one": 0.0, "other": 100.0}, "invariant c?"),
        ("new", "capital", 1, {"one": 100.0, "other": 100.0}, "new a?"),
    ]


def test_questions_on_which_arms_differ_come_with_what_the_first_seed_said(two: Group) -> None:
    found = break_down_group(two)
    assert (found.probe_count, found.differing_count) == (4, 3)
    assert [c.question for c in found.contrasts] == ["invariant a?", "invariant b?", "invariant c?"]
    one, other = found.contrasts[1].predictions.values()
    assert (one.text, one.is_right, one.share) == ("b!", True, 0.5)
    assert (other.text, other.is_right, other.share) == ("b?", False, 0.0)
    assert found.contrasts[1].answers == ("b!",)


def test_each_relation_has_its_turn_before_a_second_question_of_one(two: Group) -> None:
    chosen = break_down_group(two, shown=2).contrasts
    assert [(c.relation, c.question) for c in chosen] == [
        ("capital", "invariant a?"),
        ("language", "invariant c?"),
    ]
    assert break_down_group(two, shown=0).contrasts == ()


def test_the_same_runs_have_the_same_details(two: Group) -> None:
    assert break_down_group(two) == break_down_group(two)
    assert break_down(Comparison((two, two), {})) == (break_down_group(two), break_down_group(two))


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("samples.jsonl", None, "cannot be read"),
        ("samples.jsonl", "", "cannot be read"),
        ("samples.jsonl", "{half", "cannot be read"),
        ("samples.jsonl", "[1]\n", "cannot be read"),
        ("samples.jsonl", '{"after": "2023-é", "id": "a"}\n', "not in the format"),
        (
            "samples.jsonl",
            '{"after": "x", "probe_set": "s", "id": "a", "em": null}\n',
            "not in the format",
        ),
        ("probes.jsonl", "{}\n", "not in the format"),
        ("probes.jsonl", "\x00\n", "Cannot read"),
    ],
)
def test_a_broken_file_is_skipped_with_its_reason(
    two: Group, file: str, content: str | None, reason: str
) -> None:
    broken = Path(two.arms[0].runs[0])
    if content is None:
        (broken / file).unlink()
    else:
        (broken / file).write_text(content, encoding="utf-8")
    found = break_down_group(two)
    assert list(found.skipped) == [str(broken)] and reason in found.skipped[str(broken)]
    assert found.relations[0].em == {"one": 50.0, "other": 0.0}
    assert found.contrasts[0].predictions["one"].share == 1.0


def test_a_group_of_which_nothing_can_be_read_has_no_details(tmp_path: Path) -> None:
    found = break_down_group(group(arm("one", str(tmp_path / "nowhere"))))
    assert found == Breakdown(skipped=found.skipped) and len(found.skipped) == 1


def test_only_so_many_probes_are_held(two: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROBES", 2)
    found = break_down_group(two)
    assert found.probe_count == 2 and [r.n for r in found.relations] == [2]
