"""The scoring protocol of a run: the same for runs of the first version and of this one."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.comparison.arms import find_finished_runs
from fki.comparison.compare import compare
from fki.config.renamed_settings import with_old_names
from fki.config.schema import Config, settings_affecting
from fki.runs.protocol import describe_protocol, read_protocol
from fki.runs.run_dir import Run
from fki.testing.toy_runs import write_run


def make_old(folder: Path) -> Path:
    """The run as the first version wrote it: old names, and a protocol of five keys."""
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for key in ("config", "origins"):
        info[key] = with_old_names(info[key])
    config = info["config"]
    info["protocol"] = {
        "prompt": config["prompt"],
        "num_beams": config["num_beams"],
        "max_new_tokens": config["output_length"],
        "precision": "fp32",
        "superseded": "not asked",
    }
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def make_new(folder: Path, seed: int, **settings: Any) -> Path:
    config = Config(seed=seed, **settings)
    write_run(folder, "vanilla", seed, **config.model_dump(exclude={"options", "seed", "method"}))
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    info["protocol"] = describe_protocol(config)
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def test_the_protocol_is_every_setting_that_affects_scoring_and_what_is_fixed() -> None:
    protocol = describe_protocol(Config(num_beams=3))
    assert protocol.keys() == {*settings_affecting("scoring"), "precision", "superseded"}
    assert protocol["num_beams"] == 3 and protocol["precision"] == "fp32"


def test_a_run_of_the_first_version_is_of_the_same_arm_and_protocol(tmp_path: Path) -> None:
    make_old(make_new(tmp_path / "old", 0))
    make_new(tmp_path / "new", 1)
    [old, new] = find_finished_runs([tmp_path])[0]
    assert read_protocol(old.info) == read_protocol(new.info)
    assert old.settings == new.settings and old.fairness() == new.fairness()
    [group] = compare([tmp_path]).groups
    assert [arm.seeds for arm in group.arms] == [(0, 1)]
    assert "max_probes_per_set" in Run(tmp_path / "old").info["config"]


@pytest.mark.parametrize("name", settings_affecting("scoring"))
def test_a_setting_of_the_protocol_keeps_runs_apart_in_either_version(
    tmp_path: Path, name: str
) -> None:
    other: Any = "prefix" if name == "prompt_format" else 7
    make_old(make_new(tmp_path / "a", 0))
    make_old(make_new(tmp_path / "b", 0, **{name: other}))
    make_new(tmp_path / "c", 0, **{name: other})
    a, b, c = find_finished_runs([tmp_path])[0]
    assert a.fairness() != b.fairness() == c.fairness()
