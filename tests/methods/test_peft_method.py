"""Methods of the library peft: the table in docs/peft.md is what fki's contract admits."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from fki.config.resolve import Layer, resolve
from fki.core import registry
from fki.core.errors import CannotFold, ConfigError
from fki.methods.base import trainable_parameters
from fki.methods.peft_method import PeftOptions, option_names, peft_kinds
from fki.testing.case import Case, learn
from fki.testing.contract import CHECKS
from fki.testing.toy_models import logits

DOCS = Path(__file__).parents[2] / "docs" / "peft.md"
FIRST_LINE = "| method | T5 | Llama |\n|---|---|---|\n"
FAMILIES = ("t5", "llama")
SMALL: dict[str, dict[str, Any]] = {  # options for the toy model, 16 wide
    "miss": {"r": 4},
    "psoft": {"r": 4},
    "road": {"group_size": 4},
    "shira": {"r": 2},
    "vblora": {"vector_length": 4, "num_vectors": 8},
    "waveft": {"n_frequency": 8},
    "fourierft": {"n_frequency": 8},
    "c3a": {"block_size": 4},
}


def survey(kind: str, family: str) -> str:
    """What becomes of a kind: "-" if it is refused, else "folds" or "trains".

    Raises AssertionError if it is not refused and does not keep the contract.
    """
    try:
        case = Case(f"peft:{kind}", options=SMALL.get(kind, {}), family=family)
        ready = case.prepare(2)
    except (ConfigError, ValueError):  # of peft's options, such as a missing library
        return "-"
    before = logits(ready.model)
    torch.testing.assert_close(before, logits(case.copy_base()), atol=1e-4, rtol=1e-4)
    assert learn(ready), "no parameter receives a gradient"
    after = logits(ready.model)
    assert not torch.allclose(before, after), "training has no effect"
    again = case.prepare(2, seed=ready.method.config.seed)
    stored = {name: p.detach().clone() for name, p in trainable_parameters(ready.model).items()}
    assert again.model.load_state_dict(stored, strict=False).unexpected_keys == []
    torch.testing.assert_close(logits(again.model), after, atol=1e-4, rtol=1e-4)
    try:
        plain = ready.method.fold(ready.model)
    except CannotFold:
        return "trains"
    torch.testing.assert_close(logits(plain), after, atol=1e-3, rtol=1e-3)
    return "folds"


def test_the_documentation_lists_the_methods_that_keep_the_contract() -> None:
    found = {kind: [survey(kind, family) for family in FAMILIES] for kind in peft_kinds()}
    rows = "".join(
        f"| `peft:{kind}` | {' | '.join(cells)} |\n"
        for kind, cells in found.items()
        if {*cells} != {"-"}
    )
    text = DOCS.read_text(encoding="utf-8")
    before, head, rest = text.partition(FIRST_LINE)
    listed = "".join(re.findall(r"^\| `peft:.*\n", rest, re.MULTILINE))
    if os.environ.get("UPDATE_GOLDEN"):
        DOCS.write_text(before + head + rows + rest.removeprefix(listed), encoding="utf-8")
    else:
        assert rows == listed, "To accept: UPDATE_GOLDEN=1 with the same test"


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", ["dora", "ia3", "oft"])
def test_it_keeps_the_contract(kind: str, check: str) -> None:
    CHECKS[check](Case(f"peft:{kind}"))


@pytest.mark.parametrize("kind", ["lora", "dora", "miss"])
def test_its_options_are_those_of_peft(kind: str) -> None:
    model = Case(f"peft:{kind}", options={"r": 2, "target_modules": ["wi"]}).prepare(2).model
    assert isinstance(model, PeftModel)
    settings = model.peft_config["default"]
    assert settings.r == 2 and settings.target_modules == {"wi"}
    assert getattr(settings, "use_dora", False) is (kind == "dora")


def resolved(**values: Any) -> Any:
    layer = Layer(values, dict.fromkeys(values, "here"))
    return resolve([layer], options_of=registry.options_of).config


def test_only_stated_options_are_stored() -> None:
    assert resolved(method="peft:IA3").options == {"peft": {}}
    config = resolved(method="peft:dora", peft={"r": 3})
    assert (config.method, config.options) == ("peft:dora", {"peft": {"r": 3}})


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("peft:dorra", {}, "Did you mean 'dora'"),
        ("peft:", {}, "peft has no method ''"),
        ("peft:dora", {"rr": 3}, "unknown key 'peft.rr'. Did you mean 'r'?"),
        ("peft:dora", {"use_dora": False}, "unknown key 'peft.use_dora'"),
        ("peft:dora", {"task_type": "CAUSAL_LM"}, "unknown key 'peft.task_type'"),
        ("peft:lora", {"use_dora": "no"}, "peft.use_dora"),
        ("peft:lora", {"r": 2.5}, "peft.r"),
        ("peft:lora", {"r": 0}, "Options of the table [peft]: r, "),
        ("peft:prefix_tuning", {}, "adds tokens to the input"),
        ("peft:adalora", {}, "needs a call of its own"),
    ],
)
def test_a_wrong_choice_is_refused_in_words(
    method: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(method=method, peft=options)
        Case(method, options=options).prepare(2)
    assert words in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("unilora", {}, "does not start with the base model's outputs"),
        ("lora", {"target_modules": ["nothing"]}, "is refused by peft"),
        ("lora", {"target_modules": ["shared"]}, "peft.target_modules: 'shared'"),
        ("road", {}, "is refused by peft"),
    ],
)
def test_a_model_that_would_not_be_the_base_model_is_refused(
    kind: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        Case(f"peft:{kind}", options=options).prepare(2)


def test_base_weights_without_effect_are_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot train at freeze_level = 1") as caught:
        Case("peft:ln_tuning").prepare(1)
    assert "freeze_level=2" in str(caught.value.hint)


def test_options_that_fki_sets_are_no_options() -> None:
    assert {"r", "lora_alpha", "use_rslora"} <= set(option_names("dora"))
    assert not {"use_dora", "peft_type", "task_type", "inference_mode"} & set(option_names("dora"))
    assert PeftOptions.kind == ""
