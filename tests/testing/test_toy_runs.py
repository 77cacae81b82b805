"""A toy run is a finished run: compare reads it, and its scores are those of its answers."""

from pathlib import Path

import pytest

from fki.comparison.compare import compare
from fki.runs.run_dir import SAMPLES, SCORES, Run
from fki.testing.toy_runs import PERIODS, PROBES, write_run


def test_a_toy_run_is_compared_without_a_warning_but_that_of_one_seed(tmp_path: Path) -> None:
    comparison = compare([write_run(tmp_path / "run", "lora", 3, learning_rate=0.5)])
    [group] = comparison.groups
    assert not comparison.left_out and len(group.warnings) == 1
    assert group.arms[0].seeds == (3,) and group.arms[0].settings["learning_rate"] == 0.5


def test_the_scores_are_the_means_of_the_answers(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "run"))
    samples = [*run.read_lines(SAMPLES)]
    for row in run.read(SCORES)["rows"]:
        for score in row["scores"]:
            if not score["lasts"]:
                continue
            answers = [
                sample["em"]
                for sample in samples
                if sample["after"] == row["after"]
                and sample["id"].startswith(f"{score['period']}|{score['probe_set']}|")
            ]
            assert len(answers) == score["n"] == PROBES[score["probe_set"]]
            assert score["em"] == pytest.approx(100 * sum(answers) / len(answers))


def test_the_same_seed_writes_the_same_run_and_shares_are_kept(tmp_path: Path) -> None:
    shares = {"new": (0.0, 1.0, 1.0, 1.0)}
    first, second = (write_run(tmp_path / name, shares=shares) for name in "ab")
    for name in (SAMPLES, SCORES):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    right = {"base": set(), PERIODS[0]: set()}  # type: dict[str, set[float]]
    for sample in Run(first).read_lines(SAMPLES):
        if sample["probe_set"] == "new" and sample["after"] in right:
            right[sample["after"]].add(sample["em"])
    assert right == {"base": {0.0}, PERIODS[0]: {1.0}}
