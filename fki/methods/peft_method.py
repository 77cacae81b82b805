"""Every method of the library peft that fki's contract admits: `--method peft:dora`, `peft:ia3`.

`peft:NAME` trains the modules that peft adds; the table `[peft]` holds options of peft's own
configuration class, which checks them. `freeze_level` decides which base parameters train as well:
none at level 2, the usual choice.

A model is refused when it is prepared if the added modules change its outputs, if its outputs
are random, or if they need more inputs than the model has. docs/peft.md lists the methods that
remain, and those whose modules fold into the base model.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, get_args, get_type_hints

import torch
from peft import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    AdaptionPromptConfig,
    PeftConfig,
    PeftModel,
    PeftType,
    PromptLearningConfig,
    get_peft_model,
)
from pydantic import FiniteFloat, StrictBool, StrictInt, StrictStr, create_model, model_validator
from torch import Tensor, nn
from transformers import PreTrainedModel

from fki.core.errors import CannotFold, ConfigError, did_you_mean
from fki.core.registry import PEFT_PREFIX
from fki.methods import base
from fki.methods.lora import check_ties
from fki.modeling.architecture import architecture_of

TOLERANCE = 1e-4  # of logits in fp32, relative to the largest; the order of summation may differ
PROBE_TOKENS = 8  # of the input on which a prepared model is compared with its base
# variants of LoRA that its configuration class selects by an option
VARIANTS: dict[str, dict[str, Any]] = {
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
}
# options that fki sets itself, or that describe a stored adapter
RESERVED = {field.name for field in dataclasses.fields(PeftConfig)} | {"layer_replication"}
PROMPT_CONFIGS = (PromptLearningConfig, AdaptionPromptConfig)
UNFIT = {  # why fki cannot train the modules of a method
    "adalora": "needs a call of its own in each training step",
    "xlora": "needs adapters that are trained already",
    "poly": "needs the number of a task with each input",
    "lily": "mixes the tokens of a batch, so an answer depends on its neighbors",
}


class PeftOptions(base.Options):
    """The table `[peft]`: options of the selected configuration class of peft."""

    kind: ClassVar[str] = ""

    @model_validator(mode="after")
    def _accepted_by_peft(self) -> "PeftOptions":
        try:
            make_config(self.kind, self.model_dump(exclude_none=True))
        except Exception as error:  # peft raises many types
            raise ValueError(f"peft refuses these options: {error}") from None
        return self


class Peft(base.Method):
    """A method of peft; a subclass for each kind states its options."""

    table: ClassVar[str] = "peft"
    Options: ClassVar[type[base.Options]] = PeftOptions
    options: PeftOptions

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """Add peft's modules, which train beside the unfrozen parameters of the base model.

        Raises ConfigError if peft cannot add them, or if the model then is not the base model.
        """
        kind = self.options.kind
        settings = make_config(kind, self.options.model_dump(exclude_none=True))
        settings.task_type = architecture_of(model).task_type
        if isinstance(targets := getattr(settings, "target_modules", None), list | set):
            check_ties(model, sorted(targets), self.config.model, "peft.target_modules")
        unfrozen = base.unfrozen_parameters(model, self.config.freeze_level)
        own = {id(p) for p in model.parameters()}
        expected = _probe(model)
        with torch.random.fork_rng(), _without_warnings():
            torch.manual_seed(self.config.seed)  # of frozen random parts, which are not stored
            wrapped = _add_modules(model, settings, kind)
            for parameter in unfrozen:
                parameter.requires_grad_(True)
            self._check(wrapped, own, expected)
        return wrapped

    def _check(self, model: nn.Module, own: set[int], expected: Tensor) -> None:
        """Raises ConfigError unless the model has the base model's outputs and more to train."""
        kind = self.options.kind
        if not any(p.requires_grad and id(p) not in own for p in model.parameters()):
            raise ConfigError(f"method = '{PEFT_PREFIX}{kind}' adds no parameter to train.")
        try:
            first, second = _probe(model), _probe(model)
        except Exception as error:  # the modules need inputs that only their own trainer has
            raise _refusal(kind, f"cannot run in fki: {type(error).__name__}: {error}") from error
        if not torch.equal(first, second):
            raise _refusal(kind, "has random outputs, so its scores could not be repeated")
        allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
        if first.shape != expected.shape or not torch.allclose(first, expected, atol=allowed):
            raise _refusal(kind, "does not start with the base model's outputs")
        if unused := _unused_parameters(model):
            raise _refusal(
                kind,
                f"leaves {unused[0]} without effect, so it cannot train at freeze_level = "
                f"{self.config.freeze_level}",
                hint="Add: --set freeze_level=2",
            )

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """Merge the added modules into the base model's weights, in fp32.

        Raises CannotFold if peft cannot.
        """
        assert isinstance(model, PeftModel)
        kind = self.options.kind
        try:
            with _without_warnings():
                merged = model.float().merge_and_unload()
        except Exception as error:  # peft raises many types
            raise CannotFold(
                f"peft cannot merge the modules of '{PEFT_PREFIX}{kind}' into the model: {error}",
                hint="To export the adapter: --to peft",
            ) from None
        assert isinstance(merged, PreTrainedModel)
        return merged


@cache
def peft_class(kind: str) -> type[Peft]:
    """The method `peft:KIND`. Raises ConfigError for an unknown kind."""
    if kind not in peft_kinds():
        raise ConfigError(
            f"method '{PEFT_PREFIX}{kind}': peft has no method '{kind}'."
            f"{did_you_mean(kind, peft_kinds())}",
            hint=f"Methods of peft: {', '.join(peft_kinds())}",
        )
    if issubclass(_config_class(kind), PROMPT_CONFIGS):
        raise _refusal(kind, "adds tokens to the input, which questions and caches do not have")
    if reason := UNFIT.get(kind):
        raise _refusal(kind, reason)
    types = get_type_hints(_config_class(kind))
    fields: dict[str, Any] = {n: (_option_type(types[n]), None) for n in option_names(kind)}
    options = create_model(f"Peft{kind.title()}Options", __base__=PeftOptions, **fields)
    options.kind = kind
    return type(f"Peft{kind.title()}", (Peft,), {"Options": options, "__doc__": Peft.__doc__})


def peft_kinds() -> list[str]:
    """The names of all methods of the installed peft, sorted."""
    return sorted({*(kind.value.lower() for kind in PEFT_TYPE_TO_CONFIG_MAPPING), *VARIANTS})


def option_names(kind: str) -> list[str]:
    """The options of a kind that the table `[peft]` may state."""
    fields = dataclasses.fields(_config_class(kind))
    taken = {*RESERVED, *VARIANTS.get(kind, ())}
    return [field.name for field in fields if field.name not in taken and field.init]


def _option_type(hint: Any) -> Any:
    """The type of an option for validation: a plain one is checked here, any other one by peft."""
    parts = [part for part in get_args(hint) or (hint,) if part is not type(None)]
    strict = {bool: StrictBool, int: StrictInt, str: StrictStr}
    if len(parts) == 1 and parts[0] in (*strict, float):
        return strict.get(parts[0], FiniteFloat) | None
    return Any


def make_config(kind: str, options: Mapping[str, Any]) -> PeftConfig:
    """peft's configuration of a kind, with these options. Raises what its class raises."""
    return _config_class(kind)(**{**VARIANTS.get(kind, {}), **options})


def _config_class(kind: str) -> type[PeftConfig]:
    name = "LORA" if kind in VARIANTS else kind.upper()
    found: type[PeftConfig] = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(name)]
    return found


def _add_modules(model: PreTrainedModel, settings: PeftConfig, kind: str) -> nn.Module:
    """The model with peft's modules; where peft has no default, at the query and value maps."""
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        if "target_modules" not in str(error) or getattr(settings, "target_modules", None):
            raise _peft_error(kind, error) from error
    except Exception as error:  # peft raises many types
        raise _peft_error(kind, error) from error
    settings.target_modules = {*architecture_of(model).find_maps(model, ["q", "v"])}
    try:
        return get_peft_model(model, settings)
    except Exception as error:
        raise _peft_error(kind, error) from error


def _peft_error(kind: str, error: Exception) -> ConfigError:
    cause = str(error).rstrip(".")
    return _refusal(
        kind,
        f"is refused by peft: {cause if isinstance(error, ValueError) else repr(error)}",
        hint=f"Options of the table [peft]: {', '.join(option_names(kind))}",
    )


def _refusal(
    kind: str, reason: str, hint: str = "Of similar cost: --method peft:dora, peft:ia3 or peft:oft"
) -> ConfigError:
    return ConfigError(f"method = '{PEFT_PREFIX}{kind}' {reason}.", hint=hint)


def _unused_parameters(model: nn.Module) -> list[str]:
    """The trainable parameters that the outputs do not depend on, such as those of replaced
    norms."""
    with torch.enable_grad():
        _run(model).sum().backward()  # type: ignore[no-untyped-call]
    unused = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    model.zero_grad(set_to_none=True)
    return unused


@torch.no_grad()
def _probe(model: nn.Module) -> Tensor:
    """Logits on a short fixed input, in evaluation mode."""
    was_training = model.training
    logits = _run(model.eval())
    model.train(was_training)
    return logits


def _run(model: nn.Module) -> Tensor:
    architecture = architecture_of(model)
    return architecture.logits(model, architecture.trial_batch(model, PROBE_TOKENS, PROBE_TOKENS))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Within the context, no warnings of peft about its own code and what fki checks itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
