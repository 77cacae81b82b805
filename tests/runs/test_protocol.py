"""The scoring protocol of a run: the same for runs of the first version and of this one."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.comparison.arms import find_finished_runs
from fki.comparison.compare import compare
from fki.config.renamed_settings import with_old_names
from fki.config.schema import Config, settings_affecting
from fki.runs.protocol import continue_protocol, describe_protocol, read_protocol
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
    fixed = {"precision", "superseded", "normalization"}
    assert protocol.keys() == {*settings_affecting("scoring"), *fixed}
    assert protocol["num_beams"] == 3 and protocol["precision"] == "fp32"


def test_a_run_of_the_first_version_has_the_same_settings_and_another_normalization(
    tmp_path: Path,
) -> None:
    make_old(make_new(tmp_path / "old", 0))
    make_new(tmp_path / "new", 1)
    [old, new] = sorted(find_finished_runs([tmp_path])[0], key=lambda run: run.seed)
    assert read_protocol(old.info) == {**read_protocol(new.info), "normalization": "1"}
    assert old.settings == new.settings
    comparison = compare([tmp_path])
    assert sorted(arm.seeds for group in comparison.groups for arm in group.arms) == [(0,), (1,)]
    assert any("normalization: " in text for text in comparison.group_differences)
    assert "max_probes_per_set" in Run(tmp_path / "old").info["config"]


@pytest.mark.parametrize("name", settings_affecting("scoring"))
def test_a_setting_of_the_protocol_keeps_runs_apart_in_either_version(
    tmp_path: Path, name: str
) -> None:
    others: dict[str, Any] = {"prompt_format": "prefix", "start_token": "none", "known_only": True}
    others |= dict.fromkeys(("probes", "ranked_sets", "ranked_among"), "other")
    other: Any = others.get(name, 7)
    make_old(make_new(tmp_path / "a", 0))
    make_old(make_new(tmp_path / "b", 0, **{name: other}))
    make_new(tmp_path / "c", 0, **{name: other})
    a, b, c = find_finished_runs([tmp_path])[0]
    assert a.fairness() != b.fairness() == {**c.fairness(), "normalization": "1"}


def test_a_resumed_run_states_both_normalizations_of_its_answers() -> None:
    current = describe_protocol(Config())
    first = {key: value for key, value in current.items() if key != "normalization"}
    assert continue_protocol({}, current) == current
    assert continue_protocol(current, current) == current
    mixed = continue_protocol(first, current)
    assert mixed == {**current, "normalization": "1, then 2"}
    assert continue_protocol(mixed, current) == mixed
