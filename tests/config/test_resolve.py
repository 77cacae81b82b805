"""Settings: checked all at once, each with the place it came from."""

import re
import subprocess
import sys
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fki.config.presets import tomllib
from fki.config.resolve import Condition, Layer, ResolvedConfig, resolve
from fki.config.schema import SETTINGS, TABLES, Budget, Config, to_dict, to_toml
from fki.core.errors import ConfigError


class LoraOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    r: int = Field(4, ge=1)
    dropout: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    anneal: Literal["sigmoid", "linear"] = "sigmoid"


class RecAdamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    gamma: float = Field(5000.0, gt=0)


FAKES: dict[str, type[BaseModel]] = {"lora": LoraOptions, "recadam": RecAdamOptions}


def resolved(*layers: dict[str, Any]) -> ResolvedConfig:
    """Resolve layers, every key of which stands in a file that is named after its layer."""
    named = [
        Layer(values, {key: f"{number}.toml:1" for key in _dotted(values)})
        for number, values in enumerate(layers)
    ]
    return resolve(named, options_of=FAKES.__getitem__)


def _dotted(values: dict[str, Any]) -> list[str]:
    nested = [f"{k}.{n}" for k, v in values.items() if isinstance(v, dict) for n in v]
    return [*values, *nested]


def refusal(*layers: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        resolved(*layers)
    return str(caught.value)


def test_no_layers_give_the_defaults() -> None:
    assert resolved().config == Config()


def test_every_setting_has_a_sentence() -> None:
    for name in SETTINGS:
        assert (Config.model_fields[name].description or "").endswith("."), name


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().seed = 1


def test_higher_layers_win_and_tables_merge_key_by_key() -> None:
    found = resolved(
        {"seed": 1, "method": "lora", "lora": {"r": 2, "anneal": "linear"}},
        {"seed": 2, "lora": {"r": 8}},
    )
    assert found.config.seed == 2
    options = found.config.options_for("lora")
    assert options == {"r": 8, "anneal": "linear", "betas": [0.9, 0.999]}
    assert found.origins["lora.r"] == "1.toml:1"
    assert found.origins["lora.anneal"] == "0.toml:1"


def test_every_key_has_an_origin() -> None:
    found = resolved({"method": "lora", "lora": {"r": 2}})
    assert set(SETTINGS) - set(TABLES) < set(found.origins)
    assert {f"budget.{name}" for name in Budget.model_fields} < set(found.origins)
    assert found.origins["method"] == "0.toml:1"
    assert found.origins["seed"] == "default"
    assert found.origins["lora.r"] == "0.toml:1"
    assert found.origins["lora.anneal"] == "default"


def test_the_chosen_methods_defaults_are_in_the_config() -> None:
    assert resolved({"method": "recadam"}).config.options_for("recadam") == {"gamma": 5000.0}


def test_a_method_without_a_table_has_no_options() -> None:
    assert resolved().config.options_for("vanilla") == {}


def test_tables_of_other_methods_are_checked_too() -> None:
    text = refusal({"method": "lora", "recadam": {"gama": 1}})
    assert text == "0.toml:1: unknown key 'recadam.gama'. Did you mean 'gamma'?"


def test_all_problems_are_reported_at_once() -> None:
    text = refusal(
        {"lerning_rate": 1, "seed": -1, "dataset_version": "decade", "method": "recadm"},
        {"recadam": {"gamma": 0, "k": 1}, "checkpoint_path": "x", "recadm": {}},
    )
    assert text.startswith("8 settings are invalid:\n  ")
    for line in (
        "0.toml:1: unknown key 'lerning_rate'. Did you mean 'learning_rate'?",
        "0.toml:1: seed must be an integer of at least 0 and less than 4294967296, not -1.",
        "0.toml:1: dataset_version must be 'day', 'week', 'month', 'quarter', 'year', 'all' or "
        "edits:N (N edits a period; edits:N:SEED in random order), not 'decade'.",
        "1.toml:1: recadam.gamma must be a number greater than 0, not 0.",
        "1.toml:1: unknown key 'recadam.k'.",
        "1.toml:1: unknown key 'recadm'. Did you mean 'recadam'?",
        "1.toml:1: checkpoint_path requires check_validation = true. To train from model: "
        "--set checkpoint_path=",
    ):
        assert f"\n  {line}" in text
    assert re.search(r"0.toml:1: method must be one of .*, not 'recadm'. Did you .*'recadam'", text)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("learning_rate", -1, "learning_rate must be a number greater than 0, not -1."),
        ("learning_rate", "big", "learning_rate must be a number greater than 0, not 'big'."),
        ("learning_rate", float("inf"), "learning_rate must be a number greater than 0, not inf."),
        ("ngpu", 1.5, "ngpu must be an integer of at least 1, not 1.5."),
        ("ngpu", True, "ngpu must be an integer of at least 1, not true."),
        ("use_deepspeed", "yes", "use_deepspeed must be true or false, not 'yes'."),
        ("use_deepspeed", 1, "use_deepspeed must be true or false, not 1."),
        ("freeze_level", 3, "freeze_level must be 0, 1 or 2, not 3."),
        ("dataset", "", "dataset must be non-empty text, not ''."),
        ("output_dir", 5, "output_dir must be text, not 5."),
        (
            "seed",
            {"a": 1},
            "seed must be an integer of at least 0 and less than 4294967296, not a table.",
        ),
        (
            "prompt_format",
            "prefixes",
            "prompt_format must be 'sentinel', 'prefix', 'completion', 'question' or 'chat', not "
            "'prefixes'. Did you mean 'prefix'?",
        ),
        ("method", 3, "method must be non-empty text, not 3."),
        ("lora", 3, "lora must be a table, [lora], not 3."),
        ("options", {"lora": {}}, "unknown key 'options'."),
        ("budget", 3, "budget must be a table, [budget], not 3."),
        ("budget", {"token": 3}, "unknown key 'budget.token'. Did you mean 'tokens'?"),
        ("budget", {"steps": 1.5}, "budget.steps must be an integer of at least 0, not 1.5."),
        (
            "budget",
            {"tokens": True},
            "budget.tokens must be an integer of at least 0, not true.",
        ),
        ("budget", {"seconds": -1}, "budget.seconds must be a number of at least 0, not -1."),
        (
            "budget",
            {"flops": "1e12"},
            "budget.flops must be a number of at least 0, not '1e12'. In TOML: 1000000000000.0.",
        ),
    ],
)
def test_a_wrong_value_is_reported_with_the_requirement(key: str, value: object, text: str) -> None:
    assert refusal({key: value}) == f"0.toml:1: {text}"


def test_fp16_is_refused_with_its_reason() -> None:
    text = refusal({"mixed_precision": "fp16"})
    assert (
        "mixed_precision must be 'bf16' or 'no', not 'fp16': feed-forward layers of T5 overflow"
        in text
    )


def test_a_budget_merges_key_by_key_and_without_one_there_is_no_limit() -> None:
    assert not any(Config().budget.model_dump().values())
    found = resolved({"budget": {"tokens": 5, "steps": 2}}, {"budget": {"steps": 3}})
    assert found.config.budget == Budget(tokens=5, steps=3)
    assert found.origins["budget.tokens"] == "0.toml:1"
    assert found.origins["budget.steps"] == "1.toml:1"
    assert found.origins["budget.flops"] == "default"
    assert refusal({"tokens": 5}).endswith("unknown key 'tokens'. Did you mean 'budget.tokens'?")


def test_an_unknown_key_that_is_an_option_gets_its_table() -> None:
    text = refusal({"method": "recadam", "gamma": 1})
    assert text.endswith("unknown key 'gamma'. Did you mean 'recadam.gamma'?")


def test_a_whole_number_is_good_for_a_number() -> None:
    assert resolved({"learning_rate": 1}).config.learning_rate == 1.0


def test_an_alias_is_read_as_the_method_with_a_note() -> None:
    found = resolved({"method": "vannila"})
    assert found.config.method == "vanilla"
    assert found.notes == ("0.toml:1: method 'vannila' is read as 'vanilla'.",)


def test_the_method_initial_is_the_untouched_model() -> None:
    found = resolved({"method": "initial", "freeze_level": 1, "check_validation": False})
    config = found.config
    assert (config.method, config.check_validation, config.freeze_level) == ("vanilla", True, 0)
    assert config.arm == "initial" and resolved({"check_validation": True}).config.arm == "initial"
    assert found.origins["check_validation"] == "0.toml:1"
    assert found.origins["freeze_level"] == "default"
    assert found.notes == (
        "0.toml:1: method 'initial' is the untouched model, which is only evaluated "
        "(check_validation = true).",
    )
    assert resolved({"method": "initial"}, {"method": "lora"}).config.arm == "lora"


def test_deepspeed_alone_is_its_second_stage() -> None:
    found = resolved({"use_deepspeed": True, "optimizer": "adamw"})
    assert found.config.sharding == "zero2" and found.origins["sharding"] == "0.toml:1"
    assert found.notes == ("0.toml:1: use_deepspeed = true is sharding = 'zero2'.",)
    assert resolved({"optimizer": "adamw"}, {"sharding": "zero3"}, {"use_deepspeed": True}) == (
        ResolvedConfig(
            Config(optimizer="adamw", sharding="zero3", use_deepspeed=True),
            {
                **dict.fromkeys(found.origins, "default"),
                **{"optimizer": "0.toml:1", "sharding": "1.toml:1", "use_deepspeed": "2.toml:1"},
            },
        )
    )
    assert resolved({"use_deepspeed": True}, {"use_deepspeed": False}).config.sharding == "none"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sharding": "fsdp", "use_deepspeed": True}, "use_deepspeed = true does not fit"),
        ({"sharding": "zero1", "optimizer": "adafactor"}, "which sharding = 'zero1' splits"),
        ({"use_deepspeed": True, "optimizer": "adafactor"}, "which use_deepspeed = true splits"),
        ({"sharding": "zero2", "load_in": "8bit", "freeze_level": 2}, "quantized weights"),
        ({"sharding": "zero3", "method": "kd"}, "does not fit method = 'kd'"),
        ({"sharding": "zero3_offload", "coreset": "k_center"}, "coreset = 'k_center'"),
        ({"sharding": "zero3", "encoder_cache": "fp32"}, "encoder_cache needs the whole encoder"),
    ],
)
def test_what_does_not_fit_shards_is_refused_with_its_reason(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([Layer({"optimizer": "adamw"} | settings, {})], options_of=lambda _: LoraOptions)
    assert words in str(caught.value)


def test_a_default_that_does_not_fit_is_refused_too() -> None:
    assert "optimizer = 'adafactor' needs whole rows" in refusal({"sharding": "zero1"})


@pytest.mark.parametrize(
    "settings", [{"method": "kd"}, {"coreset": "loss_net"}, {"encoder_cache": "fp32"}]
)
def test_with_whole_weights_on_each_process_more_fits(settings: dict[str, Any]) -> None:
    both = {"optimizer": "adamw", "sharding": "zero2"} | settings
    found = resolve([Layer(both, {})], options_of=lambda _: LoraOptions)
    assert found.config.sharding == "zero2"


@pytest.mark.parametrize("key", ["checkpoint_path", "continue_from"])
def test_the_untouched_model_has_no_other_weights(key: str) -> None:
    found = resolved({key: "runs/x", "check_validation": True}, {"method": "initial"})
    assert getattr(found.config, key) == "" and f"{key} is ignored" in found.notes[1]
    layers = [Layer({key: "runs/x"}, {key: "--set"}), Layer({"method": "initial"}, {})]
    with pytest.raises(ConfigError, match=f"--set: {key} has no effect with method 'initial'"):
        resolve(layers, options_of=FAKES.__getitem__)
    assert resolved({key: "x", "check_validation": True}).config.arm == "vanilla"


def test_a_value_is_ignored_beside_a_certain_other_value() -> None:
    condition = Condition("seed", "check_validation", True, "seed is ignored.")
    layer = Layer({"seed": 3}, {"seed": "a:1"}, conditions=(condition,))
    evaluated = Layer({"check_validation": True}, {"check_validation": "b:1"})
    found = resolve([layer, evaluated], options_of=FAKES.__getitem__)
    assert (found.config.seed, found.origins["seed"]) == (0, "default")
    assert found.notes == ("seed is ignored.",)
    for layers in ([layer], [layer, evaluated, Layer({"seed": 3}, {"seed": "--seed"})]):
        found = resolve(layers, options_of=FAKES.__getitem__)
        assert found.config.seed == 3 and not found.notes


def test_a_checkpoint_is_only_for_evaluating() -> None:
    assert resolved({"checkpoint_path": "x", "check_validation": True}).config.check_validation
    with pytest.raises(ValidationError, match="checkpoint_path requires"):
        Config(checkpoint_path="x")


def test_a_written_config_resolves_to_an_equal_one() -> None:
    config = resolved(
        {"method": "lora", "seed": 7, "learning_rate": 1e-5, "dataset": 'a "b" \\ c'},
        {"lora": {"r": 2, "dropout": 0.5}, "recadam": {"gamma": 1}},
    ).config
    read = tomllib.loads(to_toml(config))
    assert read == to_dict(config)
    assert set(SETTINGS) < set(read)
    again = resolved(read)
    assert again.config == config
    assert "default" not in again.origins.values()


def test_core_does_not_import_torch() -> None:
    code = (
        "import fki.config.schema, fki.config.presets as p, fki.core.registry as r, sys;"
        "r.method_names(); r.table_of('lora'); p.read_layers(['t5_lora'], {}, [], {});"
        "sys.exit('torch' in sys.modules or any(m.startswith('fki.methods') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
