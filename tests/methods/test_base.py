"""What trains at which freeze level, with which optimizer."""

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest
from pydantic import Field
from transformers import T5ForConditionalGeneration

from fki.config.schema import Config
from fki.core import registry
from fki.core.errors import CannotFold, ConfigError
from fki.methods import base
from fki.methods.adafactor import Adafactor
from fki.methods.base import Method, parameter_groups, trainable_parameters
from fki.modeling.load import count_parameters
from fki.testing import check_method, toy_model, toy_period, toy_review

Published = Callable[[str], T5ForConditionalGeneration]
TOTALS = {  # total, embedding, encoder, decoder
    "t5-small": (60_506_624, 16_449_536, 18_881_280, 25_175_808),
    "t5-base": (222_903_552, 24_674_304, 84_954_240, 113_275_008),
    "t5-large": (737_668_096, 32_899_072, 302_040_576, 402_728_448),
}


def prepared(level: int, *, untied: bool = False, **settings: Any) -> tuple[Method, Any]:
    method = Method(Config.model_validate({"freeze_level": level, **settings}))
    return method, method.prepare(toy_model(untied=untied))


@pytest.mark.parametrize("size", TOTALS)
def test_the_published_sizes_have_the_parameters_of_the_table(
    size: str, published: Published
) -> None:
    model = published(size)
    total, embedding, encoder, decoder = TOTALS[size]
    assert count_parameters(model)[0] == total
    assert model.shared.weight.numel() == embedding
    assert count_parameters(model.encoder)[0] == encoder + embedding
    assert count_parameters(model.decoder)[0] == decoder + embedding


@pytest.mark.parametrize("size", TOTALS)
def test_level_1_trains_exactly_the_decoder_of_a_published_size(
    size: str, published: Published
) -> None:
    model = Method(Config(freeze_level=1)).prepare(published(size))
    assert count_parameters(model)[1] == TOTALS[size][3]


def test_level_0_trains_everything() -> None:
    _, model = prepared(0)
    assert all(p.requires_grad for p in model.parameters())


def test_level_1_freezes_a_head_that_is_tied_to_the_embeddings() -> None:
    # written down here, not a side effect
    _, model = prepared(1)
    assert not model.lm_head.weight.requires_grad
    assert not model.decoder.embed_tokens.weight.requires_grad
    assert all(p.requires_grad for p in model.decoder.block.parameters())


def test_level_1_trains_a_head_of_its_own() -> None:
    _, model = prepared(1, untied=True)
    assert model.lm_head.weight.requires_grad
    assert not model.shared.weight.requires_grad


def test_level_1_trains_again_what_was_frozen_before() -> None:
    model = toy_model().requires_grad_(False)
    assert all(p.requires_grad for p in Method(Config()).prepare(model).parameters())


@pytest.mark.parametrize("name", ["vanilla", "recadam"])
def test_level_2_leaves_nothing_to_train_and_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match=f"freeze_level = 2 .* '{name}'") as caught:
        Method(Config(freeze_level=2, method=name)).prepare(toy_model())
    assert caught.value.hint


def test_what_has_one_dimension_does_not_decay() -> None:
    # in T5 these are `layer_norm.weight`: the originals looked for `LayerNorm.weight`
    method, model = prepared(0, weight_decay=0.1, optimizer="adamw")
    for group in method.optimizer(model, 1).param_groups:
        assert {p.ndim >= 2 for p in group["params"]} == {group["weight_decay"] == 0.1}
    norms = [p for n, p in model.named_parameters() if "layer_norm" in n]
    flat = next(g for g in parameter_groups(model, 0.1) if g["weight_decay"] == 0.0)
    assert {id(p) for p in norms} == {id(p) for p in flat["params"]}


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_only_what_trains_is_in_the_optimizer(optimizer: str) -> None:
    method, model = prepared(1, optimizer=optimizer)
    held = {id(p) for g in method.optimizer(model, 1).param_groups for p in g["params"]}
    assert held == {id(p) for p in trainable_parameters(model).values()}


def test_adafactors_learning_rate_is_absolute() -> None:
    method, model = prepared(0, optimizer="adafactor", learning_rate=2e-3)
    optimizer = method.optimizer(model, 1)
    assert isinstance(optimizer, Adafactor)  # torch's own is another algorithm
    assert {group["lr"] for group in optimizer.param_groups} == {2e-3}


def test_vanilla_mixes_nothing_in_and_folds_to_itself() -> None:
    method, model = prepared(0)
    assert tuple(method.mix(toy_period(), toy_review(), 0, 0)) == toy_period().examples
    assert method.fold(model) is model
    assert method.notes(10) == {}


def test_the_example_of_the_docstring_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    names = vars(base) | {"Field": Field, "CannotFold": CannotFold}
    lines = (Method.__doc__ or "").split("\n")
    code = dedent("\n".join(line for line in lines if not line.strip() or line.startswith(" " * 8)))
    exec(code.partition("table: name of")[0], names)
    monkeypatch.setattr(registry, "method_class", lambda name: names["Bottleneck"])
    monkeypatch.setattr(registry, "options_of", lambda name: names["BottleneckOptions"])
    check_method("bottleneck")
