"""Presets, environment and flags, as layers with the line that each value stands on."""

from pathlib import Path
from typing import Any

import pytest

from fki.config import presets
from fki.config.presets import describe_preset, preset_names, read_layers, without_method
from fki.config.resolve import ResolvedConfig, resolve
from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.registry import options_of


def read(
    *names: str,
    environ: dict[str, str] | None = None,
    sets: tuple[str, ...] = (),
    **flags: Any,
) -> ResolvedConfig:
    return resolve(read_layers(names, environ or {}, sets, flags), options_of=options_of)


def refusal(*names: str, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*names, **more)
    return str(caught.value)


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_of_ours_is_valid_and_described(name: str) -> None:
    read(name)
    assert describe_preset(name).endswith(".")


@pytest.mark.parametrize("name", ["t5", "t5_vanilla", "t5_lora", "t5_recadam"])
@pytest.mark.parametrize("overlay", ["t5_base", "t5_large"])
def test_an_overlay_keeps_the_method_of_the_preset_below(name: str, overlay: str) -> None:
    below, laid = read(name).config, read(name, overlay).config
    kept = ("method", "options", "freeze_level")
    assert [getattr(laid, key) for key in kept] == [getattr(below, key) for key in kept]
    assert (laid.model, laid.learning_rate) == (overlay.replace("_", "-"), 2e-3)


@pytest.mark.parametrize("method", ["vanilla", "lora", "recadam"])
def test_a_method_beside_t5_means_its_preset(method: str) -> None:
    assert read("t5", method=method).config == read(f"t5_{method}").config


def test_a_preset_lies_over_what_it_extends() -> None:
    found = read("t5_lora")
    assert found.config.optimizer == "adamw"
    assert found.origins["optimizer"].startswith("t5.toml:")
    assert found.origins["lora.r"].startswith("t5_lora.toml:")
    assert found.origins["lora.dropout"] == "default"


def test_layers_win_in_their_order() -> None:
    environ = {"FKI_SEED": "2", "FKI_NGPU": "2", "FKI_NUM_BEAMS": "2", "PATH": "x"}
    sets = ("ngpu=3", "num_beams=3")
    found = read("t5_base", environ=environ, sets=sets, num_beams=4, eval_every=None)
    assert (found.config.seed, found.config.ngpu, found.config.num_beams) == (2, 3, 4)
    assert found.origins["seed"] == "FKI_SEED"
    assert found.origins["ngpu"] == "--set"
    assert found.origins["num_beams"] == "--num-beams"
    assert found.origins["eval_every"] == "default"


def test_the_last_preset_wins() -> None:
    assert read("t5_base", "t5_large").config.model == "t5-large"
    assert read("t5_large", "t5_base").config.model == "t5-base"


def test_the_version_is_told_by_its_flag() -> None:
    assert read(dataset_version="day").origins["dataset_version"] == "--version"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("learning_rate=1e-4", "learning_rate", 1e-4),
        (" check_validation = true ", "check_validation", True),
        ("mixed_precision=bf16", "mixed_precision", "bf16"),
        ("output_dir=2024", "output_dir", "2024"),
        ("output_dir='2024'", "output_dir", "2024"),
        ("output_dir=a=b", "output_dir", "a=b"),
        ("output_dir=", "output_dir", ""),
    ],
)
def test_a_set_is_read_as_toml_or_else_as_text(text: str, key: str, value: object) -> None:
    assert getattr(read(sets=(text,)).config, key) == value


def test_a_table_is_reached_by_a_dot_or_two_underscores() -> None:
    environ = {"FKI_RECADAM__GAMMA": "3"}
    found = read("t5_recadam", environ=environ, sets=("recadam.w=0.5",))
    options = found.config.options_for("recadam")
    assert (options["gamma"], options["w"], options["t0_fraction"]) == (3, 0.5, 0.2)
    assert found.origins["recadam.gamma"] == "FKI_RECADAM__GAMMA"


@pytest.mark.parametrize("text", ["seed", "=3", "a.=3"])
def test_a_set_needs_key_and_equals_sign(text: str) -> None:
    assert refusal(sets=(text,)) == f"--set must be KEY=VALUE, not '{text}'."


def test_unknown_variables_of_ours_are_refused_and_others_passed_over() -> None:
    text = refusal(environ={"FKI_SED": "1", "FKI_HOME": "/x", "OTHER": "1"})
    assert text == "FKI_SED: unknown key 'sed'. Did you mean 'seed'?"


def test_an_unknown_key_is_reported_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path / "mine.toml",
        'extends = "t5_recadam"\nnote = """\nlerning_rate = 1\n"""\n'
        "lerning_rate = 1\n\n[recadam]  # the pull\ngama = 1\nw.x = 2\n",
    )
    text = refusal(path)
    assert f"{path}:2: unknown key 'note'." in text
    assert f"{path}:5: unknown key 'lerning_rate'. Did you mean 'learning_rate'?" in text
    assert f"{path}:8: unknown key 'recadam.gama'. Did you mean 'gamma'?" in text
    assert f"{path}:9: recadam.w must be a number" in text


def test_inline_and_dotted_tables_have_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.toml", 'method = "lora"\nlora = {r = 2}\nrecadam."gamma" = 1\n')
    origins = read(path).origins
    assert origins["lora.r"] == f"{path}:2"
    assert origins["recadam.gamma"] == f"{path}:3"


def test_extends_looks_beside_the_file_first(tmp_path: Path) -> None:
    written(tmp_path / "t5.toml", 'extends = "t5"\nseed = 5\n')
    path = written(tmp_path / "mine.toml", 'extends = ["t5", "t5_lora.toml"]\nngpu = 3\n')
    config = read(path).config
    assert (config.seed, config.ngpu, config.method, config.optimizer) == (5, 3, "lora", "adamw")


def test_a_cycle_is_reported_in_full(tmp_path: Path) -> None:
    a = written(tmp_path / "a.toml", 'extends = "b"\n')
    b = written(tmp_path / "b.toml", 'extends = "a"\n')
    assert refusal(a) == f"Presets extend each other in a cycle: {a} -> {b} -> {a}."
    alone = written(tmp_path / "c.toml", 'extends = "c.toml"\n')
    assert refusal(alone) == f"Presets extend each other in a cycle: {alone} -> {alone}."


def test_what_is_extended_must_exist(tmp_path: Path) -> None:
    path = written(tmp_path / "a.toml", '# mine\nextends = "t5_lara"\n')
    assert refusal(path) == f"{path}:2: Preset 't5_lara' not found. Did you mean 't5_lora'?"
    path = written(tmp_path / "b.toml", "extends = 3\n")
    assert refusal(path) == f"{path}:1: extends must be the name of a preset or a list of names."


def test_an_unknown_preset_gets_the_names() -> None:
    with pytest.raises(
        ConfigError, match=r"Preset 't5_recadm' not found. Did you .*'t5_recadam'"
    ) as error:
        read("t5_recadm")
    assert error.value.hint == f"Presets: {', '.join(preset_names())}"
    assert "no/such.toml not found" in refusal("no/such.toml")


def test_a_missing_config_file_gets_the_closest_name(tmp_path: Path) -> None:
    written(tmp_path / "t5_vanilla.json", "{}")
    with pytest.raises(ConfigError, match="Preset file") as error:
        read(str(tmp_path / "t5_vannila.json"))
    assert str(error.value).endswith("Did you mean 't5_vanilla.json'?")
    assert str(error.value.hint).endswith("--preset t5_vanilla")
    assert "nowhere/at_all.json not found." in refusal("nowhere/at_all.json")


def test_a_preset_may_extend_an_old_config(tmp_path: Path) -> None:
    old = written(tmp_path / "old.json", '{"method": "baseline", "num_train_epochs": 3}')
    path = written(tmp_path / "mine.toml", 'extends = "old.json"\nseed = 5\n')
    found = read(path)
    assert (found.config.seed, found.config.num_train_epochs) == (5, 3)
    assert found.origins["num_train_epochs"] == f"{old}:1"


@pytest.mark.parametrize(
    ("text", "where"),
    [("seed = 1\nngpu = \n", "2:8"), ("seed = 1\nseed = 2\n", "2:9"), ("seed = [1,\n", "2:1")],
)
def test_invalid_toml_is_reported_with_line_and_column(
    tmp_path: Path, text: str, where: str
) -> None:
    path = written(tmp_path / "a.toml", text)
    assert refusal(path).startswith(f"{path}:{where}: Invalid TOML: ")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"model = '\xff'\n")
    assert "Cannot read" in refusal(str(tmp_path / "a.toml"))


def test_presets_are_found_in_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fki" / "core").mkdir(parents=True)
    (tmp_path / "fki" / "presets").mkdir()
    written(tmp_path / "fki" / "presets" / "only.toml", "# One.\nseed = 3\n")
    monkeypatch.setattr(presets, "__file__", str(tmp_path / "fki" / "core" / "presets.py"))
    assert preset_names() == ["only"]
    assert read("only").config == Config(seed=3)


def test_a_value_that_is_nested_too_deeply_for_toml_is_text() -> None:
    assert "not '[[[[" in refusal("t5", sets=(f"train_batch_size={'[' * 2000}",))
    assert "not '[[[[" in refusal("t5", environ={"FKI_SEED": "[" * 2000})


@pytest.mark.parametrize("text", [f"seed = {'[' * 2000}", f"{'a.' * 2000}b = 1"])
def test_a_preset_that_is_nested_too_deeply_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(text)
    assert "deep.toml: values are nested too deeply" in refusal(str(file))


def test_a_key_that_is_nested_too_deeply_is_refused() -> None:
    assert "--set: 'a.a.a" in refusal("t5", sets=(f"{'a.' * 2000}b=1",))
    assert "FKI_A__A" in refusal("t5", environ={f"FKI_{'A__' * 2000}B": "1"})


def test_a_methods_preset_has_plain_fine_tuning_in_its_place() -> None:
    names = [
        "t5_lora",
        "t5_prioritized",
        "causal_kadapter_2",
        "t5_base",
        "t5",
        "smollm2",
        "own.toml",
    ]
    assert without_method(names) == [
        *("t5_vanilla", "t5_vanilla", "causal_vanilla", "t5_base", "t5", "smollm2", "own.toml")
    ]
