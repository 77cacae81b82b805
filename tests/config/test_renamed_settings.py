"""Old names of settings: read wherever settings are stated, and equal to the present names."""

from pathlib import Path
from typing import Any

import pytest

from fki.config import presets
from fki.config.renamed_settings import RENAMED, with_new_names, with_old_names
from fki.config.resolve import Layer, ResolvedConfig, resolve
from fki.config.schema import SETTINGS
from fki.config.sweep import plan_sweep
from fki.core import registry
from fki.core.errors import ConfigError

OTHER_VALUES = {  # one valid value for each old name, unlike the default
    "prompt": "prefix",
    "objective": "salient_spans",
    "eval_window": 2,
    "eval_samples": 9,
    "save_every": 3,
    "kadapter.start": "random",
    "modular.start": "random",
}
METHODS = {"kadapter.start": "kadapter_2", "modular.start": "modular"}


def read(
    *names: str, env: dict[str, str] | None = None, sets: tuple[str, ...] = (), **flags: Any
) -> ResolvedConfig:
    layers = presets.read_layers(names, env or {}, sets, flags)
    return resolve(layers, options_of=registry.options_of)


def value_of(resolved: ResolvedConfig, key: str) -> Any:
    table, _, name = key.rpartition(".")
    values = resolved.config.options[table] if table else dict(resolved.config)
    return values[name]


def test_every_old_name_is_gone_and_every_new_name_is_a_setting() -> None:
    assert OTHER_VALUES.keys() == RENAMED.keys()
    assert not set(RENAMED) & set(SETTINGS)
    for new in RENAMED.values():
        table, _, name = new.rpartition(".")
        owner = registry.owner_of_table(table) if table else None
        assert name in (registry.options_of(owner).model_fields if owner else SETTINGS)


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_read_from_presets_sets_and_the_environment(
    tmp_path: Path, old: str
) -> None:
    value, method, new = OTHER_VALUES[old], METHODS.get(old, "vanilla"), RENAMED[old]
    file = tmp_path / "mine.toml"
    file.write_text(f"{old} = {value!r}\n", encoding="utf-8")
    variable = "FKI_" + old.upper().replace(".", "__")
    for resolved, origin in (
        (read(str(file), method=method), f"{file}:1"),
        (read(env={variable: str(value)}, method=method), variable),
        (read(sets=(f"{old}={value}",), method=method), "--set"),
    ):
        assert value_of(resolved, new) == value
        assert resolved.origins[new] == origin
        assert resolved.notes == (f"{origin}: '{old}' is now '{new}'.",)


def test_an_old_name_in_a_config_of_the_original_code_is_read(tmp_path: Path) -> None:
    file = tmp_path / "theirs.json"
    file.write_text('{"method": "vanilla", "eval_samples": 9}', encoding="utf-8")
    found = read(str(file))
    assert found.config.max_probes_per_set == 9
    assert any("max_probes_per_set" in note for note in found.notes)


@pytest.mark.parametrize("old", RENAMED)
def test_both_names_in_one_place_are_an_error(tmp_path: Path, old: str) -> None:
    value, new = OTHER_VALUES[old], RENAMED[old]
    file = tmp_path / "mine.toml"
    file.write_text(f"{old} = {value!r}\n{new} = {value!r}\n", encoding="utf-8")
    environment = {"FKI_" + name.upper().replace(".", "__"): str(value) for name in (old, new)}
    sets = (f"{old}={value}", f"{new}={value}")
    for state in (
        lambda: read(str(file)),
        lambda: read(env=environment),
        lambda: read(sets=sets),
    ):
        with pytest.raises(ConfigError, match=rf"'{old}' and '{new}'"):
            state()


def test_a_higher_layer_may_use_the_other_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("eval_samples = 9\n", encoding="utf-8")
    found = read(str(file), sets=("max_probes_per_set=5",))
    assert (found.config.max_probes_per_set, found.notes) == (5, ())
    file.write_text("max_probes_per_set = 9\n", encoding="utf-8")
    assert read(str(file), sets=("eval_samples=5",)).config.max_probes_per_set == 5


def test_renaming_there_and_back_changes_nothing() -> None:
    new = {"max_probes_per_set": 9, "seed": 1, "kadapter": {"branch_init": "base", "scale": 0.1}}
    old = {"eval_samples": 9, "seed": 1, "kadapter": {"start": "base", "scale": 0.1}}
    assert with_old_names(new) == old
    assert with_new_names(old) == with_new_names(new) == new
    assert with_new_names({"kadapter.start": "--set"}) == {"kadapter.branch_init": "--set"}
    assert with_new_names({"lora": {"start": 1}}) == {"lora": {"start": 1}}


FOLDERS = {  # as the version before the new names had them
    "runs/t5-quarter-eff1e2c6": (["t5"], (), {}),
    "runs/t5_recadam-t5_base-quarter-315576a0": (
        ["t5_recadam", "t5_base"],
        ("max_probes_per_set=9", "save_every_steps=3"),
        {"seed": 4},
    ),
    "runs/t5_kadapter_2-month-0992009d": (
        ["t5_kadapter_2"],
        ("prompt_format=prefix", "kadapter.branch_init=random", "eval_lookback=2"),
        {"dataset_version": "month"},
    ),
    "runs/t5_modular-quarter-fb3cded1": (
        ["t5_modular"],
        ("document_objective=salient_spans",),
        {},
    ),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_default_folder_of_a_sweep_is_that_of_the_version_before(folder: str) -> None:
    names, sets, given = FOLDERS[folder]

    def layers_of(**flags: Any) -> list[Layer]:
        return presets.read_layers(names, {}, sets, given | flags)

    assert plan_sweep(layers_of, None, "2", names).folder == Path(folder)
