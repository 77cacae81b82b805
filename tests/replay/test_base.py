"""Replay is a choice beside the method."""

from datetime import date

import pytest

from fki.config.resolve import Layer, check_effects, resolve
from fki.config.schema import Config
from fki.core import registry
from fki.core.errors import ConfigError
from fki.core.types import Example, Period
from fki.replay.base import Epoch, Replay, make_replay
from fki.replay.prioritized import PrioritizedReplay
from fki.replay.uniform import UniformReplay


@pytest.mark.parametrize("method", [*registry.BUILTIN])
def test_auto_is_uniform_with_mixreview_and_none_with_the_others(method: str) -> None:
    expected = UniformReplay if method == "mixreview" else Replay
    assert type(make_replay(Config(method=method))) is expected


def test_no_replay_trains_the_examples_of_the_method() -> None:
    rows = (Example("a", "a?", "b"),)
    period = Period("p", date(2023, 1, 1), date(2023, 1, 1), (), ())
    epoch = Epoch(period, 0, rows, [Example("old", "c?", "d")], 0)
    assert make_replay(Config()).choose(epoch) is rows


@pytest.mark.parametrize("method", ["lora", "recadam", "kadapter_2", "vanilla"])
def test_any_method_takes_any_policy_with_its_options(method: str) -> None:
    values = {"method": method, "replay": "prioritized", "prioritized": {"ratio": 1.5}}
    found = resolve([Layer(values, dict.fromkeys(values, "--set"))], options_of=registry.options_of)
    policy = make_replay(found.config)
    assert isinstance(policy, PrioritizedReplay) and policy.options.ratio == 1.5
    assert check_effects(found) == []


def test_options_of_a_policy_that_is_not_selected_have_no_effect() -> None:
    values = {"prioritized": {"ratio": 1.5}}
    origins = {"prioritized.ratio": "--set"}
    found = resolve([Layer(values, origins)], options_of=registry.options_of)
    with pytest.raises(ConfigError, match="no effect: replay is none") as caught:
        check_effects(found)
    assert caught.value.hint == "Add --set replay=prioritized, or leave it out."


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replay": "other"}, "replay must be 'auto', 'none', 'uniform' or 'prioritized'"),
        ({"replay": "prioritized", "prioritized": {"ratio": -1}}, "prioritized.ratio"),
        ({"method": "mixreview", "replay": "prioritized"}, "vanilla with uniform replay"),
    ],
)
def test_wrong_settings_name_what_is_right(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve([Layer(values, {})], options_of=registry.options_of)
