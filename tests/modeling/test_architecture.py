"""The architecture of a model, chosen in one place, and what it says about settings."""

import pytest

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.modeling.architecture import CAUSAL, SEQ2SEQ, architecture_of, check_fits_model
from fki.modeling.flops import FlopEstimator
from fki.testing import DECODERS, Case, toy_decoder, toy_model


def test_a_model_has_the_architecture_of_its_config() -> None:
    assert architecture_of(toy_model()) is SEQ2SEQ
    assert architecture_of(toy_decoder("gpt2")) is CAUSAL
    assert architecture_of(Case("lora", family="gpt2").prepare(2).model) is CAUSAL
    assert architecture_of(Case("lora").prepare(2).model) is SEQ2SEQ


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"method": "lora"}, "causal_lora"),
        ({"method": "modular"}, "--preset causal"),
        ({"prompt_format": "question"}, "document_objective = 'span_corruption' does not fit"),
    ],
)
def test_a_setting_for_another_architecture_names_the_preset(
    settings: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigError, match="does not fit 't5-mini', a decoder") as error:
        check_fits_model(Config.model_validate(settings), toy_decoder("llama"))
    assert named in f"{error.value} {error.value.hint}"


def test_shots_are_for_decoders() -> None:
    with pytest.raises(ConfigError, match="shots = 2 is for decoders"):
        check_fits_model(Config(shots=2), toy_model())
    settings = {"prompt_format": "completion", "document_objective": "next_token", "shots": 2}
    check_fits_model(Config.model_validate(settings), toy_decoder("llama"))


def test_a_decoder_s_setting_does_not_fit_a_t5() -> None:
    config = Config(prompt_format="chat")
    with pytest.raises(ConfigError, match="must be 'sentinel' or 'prefix'") as error:
        check_fits_model(config, toy_model())
    assert "--preset t5" in str(error.value.hint)


@pytest.mark.parametrize("family", DECODERS)
def test_full_training_costs_six_for_each_weight_and_token(family: str) -> None:
    model = toy_decoder(family)
    head = model.get_output_embeddings().weight.numel()
    names = ("wte", "wpe", "embed_tokens", "lm_head")
    blocks = sum(
        p.numel()
        for n, p in model.named_parameters()
        if p.ndim == 2 and not any(name in n for name in names)
    )
    costs = FlopEstimator(model, None).costs
    assert costs.source == 6 * blocks
    assert costs.target == 6 * head


def test_frozen_lower_blocks_cost_two() -> None:
    model = Case("vanilla", family="llama").prepare(1).model
    blocks = [
        sum(p.numel() for p in block.parameters() if p.ndim == 2) for block in model.model.layers
    ]
    costs = FlopEstimator(model, None).costs
    # the norm before its first maps trains, so each map of the second block needs both gradients
    assert costs.source == 2 * blocks[0] + 6 * blocks[1]


def test_a_coreset_by_an_encoder_s_states_is_refused() -> None:
    config = Config(prompt_format="completion", document_objective="next_token", coreset="loss_net")
    with pytest.raises(ConfigError, match="'loss_net' reads an encoder's states") as error:
        check_fits_model(config, toy_decoder("llama"))
    assert "coreset=k_center" in str(error.value.hint)
    check_fits_model(Config(coreset="loss_net"), toy_model())
