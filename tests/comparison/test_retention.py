"""What a run's answers tell of a checkpoint is what the comparison tells, and what it lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.comparison.compare import compare
from fki.comparison.retention import read_retention
from fki.runs.run_dir import Run
from fki.testing.toy_runs import PERIODS, write_run


def written(folder: Path) -> Run:
    """A run in which questions have texts and answers."""
    run = Run(write_run(folder))
    probes = [
        row
        | {"source": f"{row['id']}?", "answers": ["yes"], "relation": row["id"].split("|")[1][:3]}
        for row in run.read_lines("probes.jsonl")
    ]
    text = "".join(json.dumps(row) + "\n" for row in probes)
    (folder / "probes.jsonl").write_text(text, encoding="utf-8")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return written(tmp_path_factory.mktemp("runs") / "a")


def samples(run: Run) -> dict[str, dict[tuple[str, str], bool]]:
    """By row, probe set and id: is it right?"""
    found: dict[str, dict[tuple[str, str], bool]] = {}
    for row in run.read_lines("samples.jsonl"):
        found.setdefault(row["after"], {})[row["probe_set"], row["id"]] = row["em"] == 1
    return found


def test_at_the_end_it_has_the_scores_and_intervals_of_the_comparison(run: Run) -> None:
    [group] = compare([run.folder]).groups
    [arm] = group.arms
    kept = read_retention(run, PERIODS[-1]).probe_sets
    assert [one.probe_set for one in kept] == ["invariant", "initial", "updated", "new"]
    for one in kept:
        assert one.after == arm.estimate(one.probe_set)
        assert one.learned == arm.estimate(f"{one.probe_set}.learned")
        assert one.before == arm.estimate(f"{one.probe_set}.before")
        assert one.after.low is not None and one.after.low < (one.after.value or 0)


def test_of_an_earlier_checkpoint_it_has_what_that_had_been_taught(run: Run) -> None:
    [row] = [row for row in run.read("scores.json")["rows"] if row["after"] == PERIODS[0]]
    known = {s["probe_set"]: [] for s in row["scores"]}  # type: ignore[var-annotated]
    for score in row["scores"]:
        if score["period"] in ("base", PERIODS[0]):
            known[score["probe_set"]].append(score)
    for one in read_retention(run, PERIODS[0]).probe_sets:
        scores: list[Any] = known[one.probe_set]
        n = sum(s["n"] for s in scores)
        assert one.n == n
        assert one.after.value == pytest.approx(sum(s["n"] * s["em"] for s in scores) / n)


def test_forgotten_is_what_was_right_in_some_row_and_is_wrong_now(run: Run) -> None:
    by_row = samples(run)
    now = by_row[PERIODS[-1]]
    once = {key for row in by_row.values() for key, is_right in row.items() if is_right} & set(now)
    lost = {key for key in once if not now[key]}
    told = read_retention(run, PERIODS[-1])
    assert sum(one.once for one in told.losses) == len(once)
    assert sum(one.lost for one in told.losses) == len(lost)
    assert [one.lost for one in told.losses] == sorted((x.lost for x in told.losses), reverse=True)
    questions = {f"{id}?" for _, id in lost}
    assert len(told.examples) == 3 and {one.question for one in told.examples} <= questions
    assert {one.prediction for one in told.examples} == {"x"}


def test_of_a_checkpoint_that_was_not_scored_nothing_is_told(run: Run) -> None:
    empty = read_retention(run, "2024-Q1-step3")
    assert not (empty.probe_sets or empty.losses or empty.examples)
