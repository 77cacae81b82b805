"""Seeds that changed nothing are one run, not a replication."""

import json
import shutil
from pathlib import Path

from fki.comparison.compare import compare
from fki.runs.run_dir import SAMPLES
from fki.testing.toy_runs import write_run


def write_twin(folder: Path, twin: Path, seed: int) -> None:
    """The same answers under another seed."""
    shutil.copytree(folder, twin)
    info = json.loads((twin / "run.json").read_text(encoding="utf-8"))
    info["config"]["seed"] = seed
    (twin / "run.json").write_text(json.dumps(info), encoding="utf-8")


def test_seeds_with_identical_answers_count_as_one(tmp_path: Path) -> None:
    first = write_run(tmp_path / "v0", "vanilla", 0)
    write_twin(first, tmp_path / "v1", 1)
    write_run(tmp_path / "v2", "vanilla", 2)
    comparison = compare([tmp_path])
    [group] = comparison.groups
    [arm] = group.arms
    assert arm.seeds == (0, 2) and len(arm.runs) == 2
    assert [Path(folder).name for folder in comparison.left_out] == ["v1"]
    assert any("Seeds 0 and 1 of vanilla are the same run" in text for text in group.warnings)


def test_equal_scores_of_different_models_are_two_seeds(tmp_path: Path) -> None:
    first = write_run(tmp_path / "v0", "vanilla", 0)
    write_twin(first, tmp_path / "v1", 1)
    lines = (tmp_path / "v1" / SAMPLES).read_text(encoding="utf-8").splitlines()
    sample = json.loads(lines[0])
    sample["log_likelihood"] -= 0.5
    lines[0] = json.dumps(sample)
    (tmp_path / "v1" / SAMPLES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    comparison = compare([tmp_path])
    [arm] = comparison.groups[0].arms
    assert arm.seeds == (0, 1) and not comparison.left_out
