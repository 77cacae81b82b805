"""The settings: each has a sentence and an effect, and rules about runs follow from the effects."""

from typing import get_args

import pytest

from fki.config.schema import (
    SETTINGS,
    Config,
    Effect,
    effect_of,
    evaluation_settings,
    flatten,
    location_settings,
    settings_affecting,
)

# What the first version listed by hand, under the present names.
OUTSIDE_AN_ARM = {
    "output_dir",
    "output_log",
    "num_workers",
    "keep_last",
    "keep_best",
    *("sharding", "scoring_weights", "use_deepspeed"),
    "save_every_steps",
}
MAY_DIFFER_ON_RESUME = ("output_dir", "output_log")
PROTOCOL = {
    "prompt_format",
    "num_beams",
    "output_length",
    "input_length",
    "eval_every",
    "max_probes_per_set",
    *("start_token", "known_only", "shots"),  # of decoders
    *("probes", "ranked_sets", "ranked_among"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_exactly_one_effect(name: str) -> None:
    assert effect_of(name) in get_args(Effect)
    assert [name in settings_affecting(effect) for effect in get_args(Effect)].count(True) == 1


def test_the_effects_are_the_lists_of_the_first_version() -> None:
    assert set(settings_affecting("nothing")) == OUTSIDE_AN_ARM
    assert set(settings_affecting("scoring")) == PROTOCOL
    assert location_settings() == MAY_DIFFER_ON_RESUME
    assert set(location_settings()) < set(settings_affecting("nothing"))


def test_an_evaluation_reads_what_affects_scoring_and_selects_data() -> None:
    data = {"dataset", "dataset_version", "since", "max_periods"}
    batches = {"eval_batch_size", "eval_batch_tokens", "eval_lookback"}
    memory = {"sharding", "scoring_weights"}
    assert set(evaluation_settings()) == PROTOCOL | data | batches | memory


def test_the_defaults_are_those_of_the_fields() -> None:
    assert Config().model == "t5-mini"
    assert Config.model_fields["keep_last"].default == Config().keep_last == 2


def test_flat_settings_have_dotted_keys_and_lists() -> None:
    nested = {"seed": 1, "recadam": {"betas": (0.9, 0.99)}, "budget": {"steps": 3}}
    assert flatten(nested) == {"seed": 1, "recadam.betas": [0.9, 0.99], "budget.steps": 3}
