"""Each check of the contract fails for a method that breaks it, and names itself."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from fki.core import registry
from fki.core.types import Example, Period
from fki.methods.base import Method
from fki.modeling.encoder_cache import FrozenEncoder, detect_frozen_encoder
from fki.testing import CHECKS, Case, check_method, logits, toy_model, toy_tokenizer


class TrainsTheEncoder(Method):
    """Freezes nothing, whatever `freeze_level` says; so level 2 is accepted too."""

    def prepare(self, model: Any) -> nn.Module:
        return model.requires_grad_(True)


class ForgetsHalf(Method):
    """Its optimizer lacks every second parameter."""

    def optimizer(self, model: nn.Module, steps: int) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in model.parameters() if p.requires_grad][::2], lr=0.1)


class MovesTheFrozen(Method):
    """Its optimizer also holds what is frozen, and moves it."""

    def optimizer(self, model: nn.Module, steps: int) -> torch.optim.Optimizer:
        model.register_forward_pre_hook(lambda module, _: _nudge(module.shared.weight))
        return super().optimizer(model, steps)


class StartsFromNoise(Method):
    """Changes frozen weights at random, which no checkpoint holds."""

    def prepare(self, model: Any) -> nn.Module:
        prepared = super().prepare(model)
        model.encoder.final_layer_norm.weight.data += torch.rand(1)
        return prepared


class FoldsWrongly(Method):
    """Its folded model is another one."""

    def fold(self, model: Any) -> Any:
        model.encoder.final_layer_norm.weight.data *= 1.1
        return model


class SeesThePadding(Method):
    """Adds the mean over all positions of the encoder, those of padding included."""

    def prepare(self, model: Any) -> nn.Module:
        model.encoder.register_forward_hook(_add_mean_over(1))
        return super().prepare(model)


class SeesTheBatch(Method):
    """Adds the mean over the batch."""

    def prepare(self, model: Any) -> nn.Module:
        model.encoder.register_forward_hook(_add_mean_over(0))
        return super().prepare(model)


class ReadsWhatItDoesNotName(Method):
    """Its encoder adds what a block said, where it is told, and `frozen` does not ask for that."""

    def prepare(self, model: Any) -> nn.Module:
        model.encoder = AddsABlock(model.encoder)
        return super().prepare(model)

    def frozen_encoder(self, model: Any) -> FrozenEncoder | None:
        return detect_frozen_encoder(model.encoder.inner)


class AddsABlock(nn.Module):
    """An encoder that adds its first block's output."""

    main_input_name = "input_ids"

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, **kwargs: Any) -> Any:
        out = self.inner(**{**kwargs, "output_hidden_states": True})
        if out.hidden_states[1] is not None:
            out.last_hidden_state = out.last_hidden_state + out.hidden_states[1]
        return out


class SeesTheWholeTarget(Method):
    """Adds the mean over the decoder's positions, of which a cache leaves one."""

    def prepare(self, model: Any) -> nn.Module:
        model.decoder.register_forward_hook(_add_mean_over(1))
        return super().prepare(model)


class SkippedInGenerate(Method):
    """Runs its branch only where the encoder was not run beforehand, as CKL's adapters did."""

    def prepare(self, model: Any) -> nn.Module:
        plain = model.forward

        def forward(*args: Any, encoder_outputs: Any = None, **kwargs: Any) -> Any:
            if encoder_outputs is None:
                ids, mask = kwargs.pop("input_ids"), kwargs["attention_mask"]
                encoder_outputs = model.encoder(input_ids=ids, attention_mask=mask)
                encoder_outputs.last_hidden_state = -encoder_outputs.last_hidden_state
            return plain(*args, encoder_outputs=encoder_outputs, **kwargs)

        model.forward = forward
        return super().prepare(model)


class SeedsItself(Method):
    """Starts from noise of its own."""

    def prepare(self, model: Any) -> nn.Module:
        generator = torch.Generator()
        generator.seed()
        model.shared.weight.data += torch.rand(1, generator=generator)
        return super().prepare(model)


class LeavesOut(Method):
    """Never trains on a period's last example."""

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        return period.examples[:-1]


class DrawsFreely(Method):
    """Repeats some examples, by a generator that is not its own."""

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        return [*period.examples, *random.choices(period.examples, k=5)]


class TakesAnyOption(Method):
    """Ignores a name that it does not know."""

    Options = type("Options", (BaseModel,), {})  # type: ignore[assignment]


def _nudge(weight: Tensor) -> None:
    with torch.no_grad():
        weight += 0.01


def _add_mean_over(dim: int) -> Callable[..., Any]:
    def hook(module: Any, args: Any, output: Any) -> Any:
        hidden = output.last_hidden_state
        output.last_hidden_state = hidden + hidden.mean(dim, keepdim=True)
        return output

    return hook


BROKEN = [
    (StartsFromNoise, "preparing_keeps_the_logits"),
    (TrainsTheEncoder, "freeze_level_decides_the_base"),
    (ForgetsHalf, "the_optimizer_has_each_trainable_parameter_once"),
    (ForgetsHalf, "only_trainable_parameters_change"),
    (MovesTheFrozen, "only_trainable_parameters_change"),
    (StartsFromNoise, "a_checkpoint_restores_the_logits"),
    (FoldsWrongly, "folding_keeps_the_logits"),
    (SeesThePadding, "padding_keeps_the_logits"),
    (SeesThePadding, "packing_keeps_the_logits"),
    (ReadsWhatItDoesNotName, "a_frozen_encoder_can_be_cached"),
    (SeesTheWholeTarget, "the_key_value_cache_keeps_the_logits"),
    (SeesTheBatch, "batching_keeps_the_answers"),
    (SkippedInGenerate, "generation_uses_the_trained_modules"),
    (SeedsItself, "one_seed_gives_one_result"),
    (LeavesOut, "mixing_is_pure_and_complete"),
    (DrawsFreely, "mixing_is_pure_and_complete"),
    (TakesAnyOption, "an_unknown_option_is_refused"),
]


@pytest.mark.parametrize(("method", "check"), BROKEN, ids=lambda x: getattr(x, "__name__", x))
def test_a_check_fails_for_a_method_that_breaks_it(
    method: type[Method], check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "method_class", lambda name: method)
    with pytest.raises(AssertionError, match=f"Method 'strange' fails {check}: "):
        CHECKS[check](Case("strange"))


def test_every_check_has_a_method_that_breaks_it() -> None:
    assert {check for _, check in BROKEN} == CHECKS.keys()


def test_the_whole_contract_stops_at_the_first_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "method_class", lambda name: LeavesOut)
    with pytest.raises(AssertionError, match=r"mixing_is_pure_and_complete: .* epoch 2 lacks"):
        check_method("strange")


def test_a_model_of_ones_own_is_not_changed() -> None:
    model = toy_model(untied=True)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    check_method("vanilla", model=model)
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())


def test_options_reach_the_method() -> None:
    ready = Case("lora", options={"r": 2}).prepare(2)
    assert {min(p.shape) for p in ready.model.parameters() if p.requires_grad} == {2}


def test_the_toys_are_tied_and_untied_as_they_say() -> None:
    tied, untied = toy_model(), toy_model(untied=True)
    assert tied.lm_head.weight is tied.shared.weight
    assert untied.lm_head.weight is not untied.shared.weight
    assert (tied.config.scale_decoder_outputs, untied.config.scale_decoder_outputs) == (True, False)
    assert tied.config.vocab_size == len(toy_tokenizer().tokenizer)


def test_the_untied_toy_is_what_transformers_reads_from_a_folder(tmp_path: Any) -> None:
    untied = toy_model(untied=True)
    untied.save_pretrained(tmp_path)
    loaded = type(untied).from_pretrained(tmp_path)
    assert loaded.lm_head.weight is not loaded.shared.weight
    assert torch.equal(logits(loaded), logits(untied))
