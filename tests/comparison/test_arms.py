"""Runs are sorted into arms by their settings, and named by what differs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fki.comparison.arms import differing_settings, find_finished_runs
from fki.comparison.compare import compare
from fki.core.errors import DataError
from fki.testing.toy_runs import write_run


def made(folder: Path, methods: dict[str, Any], seeds: int = 3, **config: Any) -> Path:
    """A folder of runs."""
    for method, shares in methods.items():
        for seed in range(seeds):
            write_run(folder / f"{method}-s{seed}", method, seed, shares, **config)
    return folder


def test_arms_of_one_method_are_named_by_what_they_differ_in(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "lora", 0, lora={"r": 4})
    write_run(tmp_path / "b", "lora", 0, lora={"r": 8})
    [group] = compare([tmp_path]).groups
    assert [arm.name for arm in group.arms] == ["lora lora.r=4", "lora lora.r=8"]
    assert group.settings == {"lora.r": {"lora lora.r=4": 4, "lora lora.r=8": 8}}


def test_an_arm_with_another_replay_policy_is_named_by_it(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "vanilla", 0, replay="prioritized")
    write_run(tmp_path / "b", "vanilla", 0, replay="auto")
    write_run(tmp_path / "c", "lora", 0, replay="prioritized")
    write_run(tmp_path / "d", "mixreview", 0, replay="auto")
    [group] = compare([tmp_path]).groups
    names = [arm.name for arm in group.arms]
    assert names == ["vanilla", "prioritized", "mixreview", "lora+prioritized"]
    assert group.baseline == "vanilla"


def test_a_setting_that_an_older_run_lacks_counts_as_its_default(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "vanilla", 0)
    write_run(tmp_path / "b", "vanilla", 1, replay="auto", wordings=1)
    write_run(tmp_path / "c", "vanilla", 2, replay="none")
    [group] = compare([tmp_path]).groups
    assert [(arm.name, arm.seeds) for arm in group.arms] == [("vanilla", (0, 1, 2))]


def test_the_untouched_model_is_an_arm_of_its_own(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "vanilla", 0, check_validation=True)
    write_run(tmp_path / "b", "vanilla", 0)
    write_run(tmp_path / "c", "vanilla", 1, check_validation=True, checkpoint_path="runs/x")
    [group] = compare([tmp_path]).groups
    assert next(arm.name for arm in group.arms) == "initial"
    assert sum(arm.name.startswith("vanilla") for arm in group.arms) == 2


def test_a_single_period_has_no_length_in_the_title(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "vanilla", 0)
    file = tmp_path / "a" / "run.json"
    info = json.loads(file.read_text(encoding="utf-8"))
    info["dataset"] |= {"version": "all", "periods": ["all"]}
    file.write_text(json.dumps(info), encoding="utf-8")
    [group] = compare([tmp_path]).groups
    assert group.title.startswith("toy, 1 period, ")


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("method", ["vanilla", "lora"]),
        ("seed", ["seed=0 vanilla", "seed=1 vanilla", "seed=0 lora", "seed=1 lora"]),
        ("preset", ["t5_vanilla", "t5_lora"]),
        ("learning_rate", ["learning_rate=0.001 vanilla", "learning_rate=0.001 lora"]),
    ],
)
def test_arms_may_be_named_by_a_setting(tmp_path: Path, by: str, names: list[str]) -> None:
    folder = made(tmp_path, {"vanilla": None, "lora": None}, seeds=2)
    [group] = compare([folder], by=by).groups
    assert [arm.name for arm in group.arms] == names
    assert all(len(arm.seeds) == len(set(arm.seeds)) for arm in group.arms)


@pytest.mark.parametrize("by", ["", "method", "learning_rate", "preset"])
def test_a_run_that_is_there_twice_is_one_seed(tmp_path: Path, by: str) -> None:
    folder = made(tmp_path / "runs", {"vanilla": None}, seeds=2)
    shutil.copytree(folder / "vanilla-s0", folder / "copy")
    comparison = compare([folder], by=by)
    [group] = comparison.groups
    [arm] = group.arms
    assert arm.seeds == (0, 1) and len(arm.runs) == 2
    assert len(comparison.left_out) == 1


def test_by_a_setting_runs_that_differ_in_another_are_not_pooled(tmp_path: Path) -> None:
    for seed, r in enumerate((4, 8, 4)):
        write_run(tmp_path / f"s{seed}", "lora", seed, lora={"r": r})
    [group] = compare([tmp_path], by="learning_rate").groups
    seeds = {arm.name: arm.seeds for arm in group.arms}
    assert seeds == {"learning_rate=0.001 lora.r=4": (0, 2), "learning_rate=0.001 lora.r=8": (1,)}


def test_forced_runs_of_different_data_are_different_arms(tmp_path: Path) -> None:
    folder = made(tmp_path, {"vanilla": None}, seeds=2)
    info = json.loads((folder / "vanilla-s1" / "run.json").read_text(encoding="utf-8"))
    info["dataset"]["digest"] = "other"
    (folder / "vanilla-s1" / "run.json").write_text(json.dumps(info), encoding="utf-8")
    [group] = compare([folder], force=True).groups
    assert [arm.name for arm in group.arms] == ["vanilla data=toy (d)", "vanilla data=toy (other)"]
    assert [arm.seeds for arm in group.arms] == [(0,), (1,)]


def test_runs_whose_measured_precision_differs_are_different_arms(tmp_path: Path) -> None:
    for seed, precision in enumerate(("no", "bf16", "no")):
        folder = tmp_path / f"s{seed}"
        write_run(folder, "lora", seed, mixed_precision="auto")
        info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        info["environment"]["precision"] = precision
        (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    [group] = compare([tmp_path]).groups
    names = {arm.name: [*arm.seeds] for arm in group.arms}
    assert names == {"lora mixed_precision=no": [0, 2], "lora mixed_precision=bf16": [1]}


def test_runs_of_a_grid_are_found_in_the_folder_above_it(tmp_path: Path) -> None:
    made(tmp_path / "runs" / "t5-quarter-abc", {"vanilla": None}, seeds=2)
    write_run(tmp_path / "runs" / "alone", "lora")
    entries, _ = find_finished_runs([tmp_path / "runs"])
    assert sorted(e.run.folder.name for e in entries) == ["alone", "vanilla-s0", "vanilla-s1"]


def test_a_setting_differs_where_an_arm_has_another_value_or_none() -> None:
    settings = {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3, "z": 4}, "c": {"x": 1, "y": 2}}
    assert differing_settings(settings) == {"y": {"a": 2, "b": 3, "c": 2}, "z": {"b": 4}}


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        find_finished_runs([tmp_path / "nowhere"])


@pytest.mark.parametrize("peak", ['["a"]', '"12"', "1" + "0" * 400])
def test_a_run_whose_cost_is_no_number_is_left_out(peak: str, tmp_path: Path) -> None:
    write_run(tmp_path / "a", "lora", 0)
    write_run(tmp_path / "b", "lora", 1)
    file = tmp_path / "b" / "run.json"
    text = file.read_text(encoding="utf-8").rstrip().removesuffix("}")
    file.write_text(f'{text}, "peak_mib": {peak}}}', encoding="utf-8")
    runs, left_out = find_finished_runs([tmp_path])
    assert [run.folder.name for run in runs] == ["a"]
    assert left_out == {str(tmp_path / "b"): "its run.json is not in the format of fki."}
