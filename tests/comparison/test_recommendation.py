"""The recommended arm has the best mean; its differences are those of the runs themselves."""

from pathlib import Path

import numpy as np
import pytest

from fki.comparison.compare import compare
from fki.comparison.types import Group
from fki.runs.run_dir import SAMPLES, Run
from fki.testing.toy_runs import write_run

BEST = {name: (0.5, 0.9, 0.95, 0.97) for name in ("invariant", "initial", "updated", "new")}
SETS = ("invariant", "updated", "new")


def compared(
    folder: Path, methods: dict[str, dict[str, tuple[float, ...]] | None], seeds: int
) -> Group:
    for method, shares in methods.items():
        for seed in range(seeds):
            write_run(folder / f"{method}-s{seed}", method, seed, shares)
    [group] = compare([folder]).groups
    return group


def mean_em(run: str) -> float:
    rows = [r for r in Run(Path(run)).read_lines(SAMPLES) if r["after"] == "2024-Q3"]
    ems = [np.mean([r["em"] for r in rows if r["probe_set"] == name]) for name in SETS]
    return 100 * float(np.mean(ems))


def test_the_best_mean_over_kept_and_learned_facts_is_recommended(tmp_path: Path) -> None:
    group = compared(tmp_path, {"vanilla": None, "lora": None, "recadam": BEST}, 4)
    found = group.recommendation
    assert found is not None and found.arm == "recadam" and found.probe_sets == SETS
    for arm in group.arms:
        expected = np.mean([mean_em(run) for run in arm.runs])
        assert found.scores[arm.name].value == pytest.approx(expected)
    values = [score.value for score in found.scores.values()]
    assert values == sorted(values, key=lambda v: -(v or 0.0))
    for rival in found.rivals:
        expected = (found.scores["recadam"].value or 0) - (found.scores[rival.baseline].value or 0)
        assert rival.value == pytest.approx(expected) and rival.verdict == "better"
        assert rival.p is not None and rival.p_holm == pytest.approx(min(1.0, 3 * rival.p))
        assert rival.seeds_needed is None


def test_twins_are_not_told_apart_and_the_seeds_that_would_are_counted(tmp_path: Path) -> None:
    group = compared(tmp_path, {"vanilla": None, "lora": None}, 3)
    found = group.recommendation
    assert found is not None
    [rival] = found.rivals
    assert rival.verdict == "no evidence of a difference"
    assert rival.seeds_needed is not None and rival.seeds_needed > 3


def test_a_false_recommendation_is_rare(tmp_path: Path) -> None:
    """Eight equal arms: the best of them is seldom called better than all others."""
    names = ["vanilla", "lora", "recadam", "mixreview", "kadapter_2", "kadapter_3", "modular", "kd"]
    group = compared(tmp_path, dict.fromkeys(names), 3)
    found = group.recommendation
    assert found is not None and len(found.rivals) == 7
    assert not all(rival.verdict == "better" for rival in found.rivals)
    assert all(r.p_holm == pytest.approx(min(1.0, 28 * (r.p or 0.0))) for r in found.rivals)


def test_bounds_and_single_arms_are_not_recommended(tmp_path: Path) -> None:
    group = compared(tmp_path, {"vanilla": None, "joint": BEST}, 2)
    assert len(group.arms) == 2 and group.recommendation is None


def test_differences_without_evidence_have_the_seeds_that_they_need(tmp_path: Path) -> None:
    group = compared(tmp_path, {"vanilla": None, "lora": None}, 3)
    needed = [d.seeds_needed for d in group.differences if d.verdict.startswith("no evidence")]
    assert needed and all(n is None or n > 3 for n in needed) and any(needed)
    evident = [d.seeds_needed for d in group.differences if d.verdict in ("better", "worse")]
    assert not any(evident)
