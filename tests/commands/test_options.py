"""The options that several commands share, and the runs that they request."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest

from fki.commands._console import Show
from fki.commands._options import RunRequest, checkpoint_name, with_run_options
from fki.core.errors import ConfigError

NO_FLAGS = {"method": None, "seed": None}


def test_a_request_with_methods_or_seeds_is_a_sweep() -> None:
    assert not RunRequest(["t5"], None, NO_FLAGS, None, None).is_sweep
    assert RunRequest(["t5"], None, NO_FLAGS, "lora", None).is_sweep
    assert RunRequest(["t5"], None, NO_FLAGS, None, "2").is_sweep


def test_a_request_has_the_layers_of_its_options() -> None:
    request = RunRequest(["t5"], ["seed=3"], {"method": "lora", "seed": None}, None, None)
    origins = {
        key: origin for layer in request.read_layers() for key, origin in layer.origins.items()
    }
    assert origins["method"] == "--method" and origins["seed"] == "--set"
    assert request.read_layers(seed=4)[-1].values == {"seed": 4}


@pytest.mark.parametrize(("name", "given"), [("method", "lora"), ("seed", 1)])
def test_one_value_and_several_exclude_each_other(name: str, given: Any) -> None:
    request = RunRequest(["t5"], None, NO_FLAGS | {name: given}, "lora", "2")
    with pytest.raises(ConfigError, match=f"--{name} and --{name}s"):
        request.plan_sweep()


def test_a_checkpoint_has_one_name() -> None:
    assert checkpoint_name("", True) == "best" and checkpoint_name("2024-Q1", False) == "2024-Q1"
    with pytest.raises(ConfigError, match="--best and --period 2024-Q1"):
        checkpoint_name("2024-Q1", True)


def test_a_command_has_the_options_of_a_run_before_its_own() -> None:
    received: list[Any] = []

    @with_run_options
    def command(request: RunRequest, show: Show, extra: bool = False) -> None:
        """Summary."""
        received.extend((request, show, extra))

    names = [*signature(command).parameters]
    assert names[0] == "preset" and names[-2:] == ["as_json", "extra"]
    assert command.__doc__ == "Summary."
    command(seed=3, as_json=True, extra=True)
    request, show, extra = received
    assert (request.presets, request.flags["seed"], show.as_json, extra) == (["t5"], 3, True, True)


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--lr", "learning_rate"),
        ("--epochs=3", "num_train_epochs"),
        ("--batch-size", "train_batch_size"),
        ("--max-probes-per-set", "max_probes_per_set"),
    ],
)
def test_an_option_that_is_a_setting_names_the_setting(
    fki: Callable[..., Any], option: str, setting: str
) -> None:
    shown = fki("train", option, "1")
    assert shown.code == 2 and f"Write: --set {setting}=VALUE" in shown.words
    assert option.partition("=")[0] in shown.words


def test_an_option_of_another_method_is_a_mistake_or_noted(fki: Callable[..., Any]) -> None:
    shown = fki("train", "--method", "vanilla", "--set", "lora.r=4")
    assert shown.code == 2
    assert "lora.r has no effect: the method is vanilla. Add --method lora" in shown.words


def test_the_command_of_a_request_requests_the_same_again() -> None:
    flags = NO_FLAGS | {"dataset": "a folder", "dataset_version": "month", "teach_base": False}
    request = RunRequest(["t5", "mine.toml"], ["seed=3"], flags, "lora,recadam", "0,4")
    words = request.to_command()
    assert words[:5] == ["train", "--preset", "t5", "--preset", "mine.toml"]
    assert words[7:9] == ["--set", "dataset=a folder"] and "teach_base=false" in words
    assert words[-4:] == ["--methods", "lora,recadam", "--seeds", "0,4"]
    assert RunRequest(["t5"], None, NO_FLAGS, None, None).to_command() == [
        "train",
        "--preset",
        "t5",
    ]
