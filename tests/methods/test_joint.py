"""Joint training is vanilla training of the base model on all that is still true."""

from datetime import date
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.types import Example, Period
from fki.methods.base import Method, trainable_parameters
from fki.methods.joint import Joint
from fki.testing import toy_model, toy_tokenizer
from fki.training.trainer import Trainer

SETTINGS: dict[str, Any] = {
    "num_train_epochs": 2,
    "train_batch_size": 2,
    "optimizer": "adamw",
    "learning_rate": 1e-2,
}


def examples(name: str, rows: dict[str, str]) -> tuple[Example, ...]:
    return tuple(Example(f"{name}|{x}", f"{x} is ___.", f"{y}") for x, y in rows.items())


def period(name: str, rows: dict[str, str]) -> Period:
    day = date.fromisoformat(f"{name}-01")
    return Period(name, day, day, (), examples(name, rows))


BASE = examples("base", {"Oz": "green", "Ys": "wet", "Rome": "old"})
PERIODS = [
    period("2024-01", {"Ys": "sunk", "Gondor": "white"}),
    period("2024-02", {"Gondor": "free", "Shire": "round"}),
]


def make_trainer(method: str, accelerator: Accelerator) -> tuple[Trainer, Any]:
    config = Config.model_validate({"method": method, **SETTINGS})
    chosen = Joint(config) if method == "joint" else Method(config)
    model = chosen.prepare(toy_model())
    return Trainer(model, chosen, config, toy_tokenizer(), accelerator, BASE), model


def test_a_period_equals_vanilla_on_a_fresh_base_model_with_all_current_examples(
    accelerator: Accelerator,
) -> None:
    joint, trained = make_trainer("joint", accelerator)
    for now in PERIODS:
        list(joint.train_period(now))
    still_true = [e for e in BASE if "Ys" not in e.source]
    still_true += [e for e in PERIODS[0].examples if "Gondor" not in e.source]
    everything = PERIODS[1].__class__(
        "2024-02", date(2024, 2, 1), date(2024, 2, 1), (), (*still_true, *PERIODS[1].examples)
    )
    plain, twin = make_trainer("vanilla", accelerator)
    list(plain.train_period(everything))
    assert len(still_true) == 3
    for name, weight in trained.state_dict().items():
        assert torch.equal(weight, twin.state_dict()[name]), name


def test_each_period_starts_from_the_base_models_weights(accelerator: Accelerator) -> None:
    trainer, model = make_trainer("joint", accelerator)
    base = {name: p.detach().clone() for name, p in model.named_parameters()}
    list(trainer.train_period(PERIODS[0]))
    assert not torch.equal(model.shared.weight, base["shared.weight"])
    trainer.method.begin_period(model, PERIODS[1])
    assert all(torch.equal(p, base[name]) for name, p in model.named_parameters())


def test_the_same_period_is_added_once_whatever_the_epochs() -> None:
    method = Joint(Config())
    method.prepare(toy_model())
    first = list(method.mix(PERIODS[0], BASE, 0, 0))
    assert list(method.mix(PERIODS[0], BASE, 1, 0)) == first and len(first) == 4


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"continue_from": "runs/a"}, "continue_from"),
        ({"reset_optimizer_per_period": False}, "reset_optimizer_per_period"),
    ],
)
def test_settings_that_contradict_a_fresh_start_are_refused(
    settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        Joint(Config.model_validate(settings)).prepare(toy_model())


def test_the_copy_of_the_base_model_is_the_size_of_its_trainable_weights() -> None:
    method = Joint(Config(freeze_level=1))
    model = method.prepare(toy_model())
    parameters = trainable_parameters(model).values()
    assert method.copied_bytes(model) == 4 * sum(p.numel() for p in parameters)
