"""K-Adapter is its formula, inside the encoder, for every depth, mask and beam."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import T5ForConditionalGeneration

from fki.config.schema import Config
from fki.core.errors import CannotFold, ConfigError
from fki.methods.base import trainable_parameters
from fki.methods.kadapter import KAdapter, KAdapter2, KAdapter3, KAdapterOptions
from fki.modeling.load import count_parameters
from fki.modeling.modeling_fki import Adapter
from fki.testing import Case, generate, logits, toy_batch, toy_model

Published = Callable[[str], T5ForConditionalGeneration]
TOTALS = {"t5-small": 60_506_624, "t5-base": 222_903_552, "t5-large": 737_668_096}
DECODERS = {"t5-small": 25_175_808, "t5-base": 113_275_008, "t5-large": 402_728_448}
ADDED = {  # the published tables
    (KAdapter2, "stacked"): (6_294_272, 14_160_000, 25_171_456),
    (KAdapter3, "stacked"): (9_441_024, 21_239_424, 37_756_416),
    (KAdapter2, "parallel"): (12_588_544, 28_320_000, 50_342_912),
    (KAdapter3, "parallel"): (18_882_816, 42_480_000, 75_514_368),
}
NAMES = ["kadapter_2", "kadapter_3"]


def prepared(cls: type[KAdapter], model: Any, *, level: int = 1, **options: Any) -> Any:
    method = cls(Config(method="kadapter_2", freeze_level=level), KAdapterOptions(**options))
    return method.prepare(model)


def random_start(name: str, **options: Any) -> Any:
    """A toy with a branch that does something before it is taught."""
    return Case(name, options={"branch_init": "random", **options}).prepare(1).model


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("size", TOTALS)
@pytest.mark.parametrize(("cls", "mode"), ADDED)
def test_the_published_sizes_have_the_parameters_of_the_table(
    cls: type[KAdapter], mode: str, size: str, level: int, published: Published
) -> None:
    added = ADDED[cls, mode][list(TOTALS).index(size)]
    beside = {0: TOTALS[size], 1: DECODERS[size], 2: 0}[level]
    model = prepared(cls, published(size), level=level, mode=mode)
    assert count_parameters(model) == (TOTALS[size] + added, beside + added)


def test_k_is_the_number_of_blocks_in_one_module() -> None:
    # in the originals it was the number of modules that differ by chance alone
    for cls, k in ((KAdapter2, 2), (KAdapter3, 3)):
        [adapter] = prepared(cls, toy_model()).encoder.adapters
        assert len(adapter.blocks) == k


def test_in_parallel_k_is_the_number_of_modules_and_their_mean_leaves_the_encoder_whole() -> None:
    # three of the originals' modules kept 0.99 of the encoder's output
    model = prepared(KAdapter3, toy_model(), mode="parallel")
    assert [len(adapter.blocks) for adapter in model.encoder.adapters] == [2, 2, 2]
    assert torch.equal(logits(model), logits(toy_model()))  # the norms are 0


@pytest.mark.parametrize(
    ("cls", "depth", "taps"),
    [
        (KAdapter2, 24, [1, 11]),
        (KAdapter2, 12, [1, 11]),
        (KAdapter2, 6, [1, 5]),  # the originals' 11 is an IndexError here
        (KAdapter2, 2, [1, 1]),
        (KAdapter2, 1, [1, 1]),
        (KAdapter3, 24, [1, 12, 23]),
        (KAdapter3, 6, [1, 3, 5]),
        (KAdapter3, 2, [1, 1, 1]),
    ],
)
def test_the_taps_follow_the_models_depth(cls: type[KAdapter], depth: int, taps: list[int]) -> None:
    method = cls(Config(method="kadapter_2"), KAdapterOptions())
    assert method.taps(cls.k, depth) == taps


def test_stated_taps_are_taken() -> None:
    [adapter] = prepared(KAdapter2, toy_model(), layers=[0, 2]).encoder.adapters
    assert adapter.taps == (0, 2)


@pytest.mark.parametrize("layers", [[1, 3], [-1, 1], [1], [0, 1, 2]])
def test_taps_outside_of_the_model_are_refused(layers: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"must be 2 numbers from 0 to 2, .* not \[") as caught:
        prepared(KAdapter2, toy_model(), layers=layers)
    assert caught.value.hint


@pytest.mark.parametrize("name", NAMES)
def test_the_output_is_the_formula(name: str) -> None:
    model = random_start(name, scale=0.7)
    encoder, [adapter] = model.encoder, model.encoder.adapters
    ids = torch.tensor([[11, 12, 13, 14, 1]])
    with torch.no_grad():
        inner = encoder.inner(ids, output_hidden_states=True)
        x, bias = torch.zeros_like(inner.last_hidden_state), None
        for tap, block in zip(adapter.taps, adapter.blocks, strict=True):
            attended, bias, _ = block.layer[0](inner.hidden_states[tap] + x, position_bias=bias)
            x = block.layer[1](attended)
        rms = x.pow(2).mean(-1, keepdim=True).add(adapter.norm.variance_epsilon).rsqrt()
        wanted = inner.last_hidden_state + 0.7 * adapter.norm.weight * x * rms
        found = encoder(ids).last_hidden_state
    assert torch.allclose(found, wanted, atol=1e-6)
    assert (found - inner.last_hidden_state).abs().max() > 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("untied", [False, True])
def test_with_scale_0_it_is_bitwise_the_base(name: str, untied: bool) -> None:
    model = Case(name, untied, {"scale": 0.0, "branch_init": "random"}).prepare(1).model
    assert torch.equal(logits(model), logits(toy_model(untied=untied)))


@pytest.mark.parametrize("mode", ["stacked", "parallel"])
@pytest.mark.parametrize("name", NAMES)
def test_generate_calls_each_adapter_once_per_sequence(
    name: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # never in CKL; at every step, and a crash with beams, in CFInjectBench
    model = random_start(name, mode=mode)
    calls, forward = [], Adapter.forward
    monkeypatch.setattr(
        Adapter, "forward", lambda self, *a: calls.append(a[0][0].shape[0]) or forward(self, *a)
    )
    generate(model, num_beams=2)
    assert calls == [3] * len(model.encoder.adapters)


def test_the_answers_differ_from_the_bases_in_generate() -> None:
    wide = {"return_dict_in_generate": True, "output_logits": True}
    found = generate(random_start("kadapter_2", scale=5.0), **wide).logits[0]
    base = generate(toy_model(), **wide).logits[0]
    assert (found - base).abs().max() > 1e-3


def test_the_blocks_share_the_first_ones_position_bias() -> None:
    # in the originals every block after the first had none
    model = random_start("kadapter_3")
    [adapter] = model.encoder.adapters
    owners = [b.layer[0].SelfAttention.has_relative_attention_bias for b in adapter.blocks]
    assert owners == [True, False, False]
    seen: list[Any] = []
    for block in adapter.blocks:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[2]))
    logits(model)
    assert seen[0] is None
    assert seen[1].any() and torch.equal(seen[1], seen[2])


def test_padding_is_masked_for_the_blocks() -> None:
    # the originals passed no mask: what was padded beside an input changed its output
    model, (ids, mask) = random_start("kadapter_2", scale=1.0), toy_batch()[:2]
    with torch.no_grad():
        padded = model.encoder(ids, attention_mask=mask).last_hidden_state
        for i, length in enumerate(mask.sum(1).tolist()):
            alone = model.encoder(ids[i : i + 1, :length]).last_hidden_state[0]
            assert torch.allclose(padded[i, :length], alone, atol=1e-5)


def test_new_blocks_start_with_t5s_own_initialisation(published: Published) -> None:
    # the originals' had the linear layers' own, 1.7 times as wide
    torch.manual_seed(0)
    base = T5ForConditionalGeneration(toy_model().config.__class__(**wide_config()))
    [adapter] = prepared(KAdapter2, base, branch_init="random").encoder.adapters
    attention = adapter.blocks[0].layer[0].SelfAttention
    assert attention.q.weight.std().item() == pytest.approx((256 * 64) ** -0.5, rel=0.05)
    assert attention.k.weight.std().item() == pytest.approx(256**-0.5, rel=0.05)
    assert attention.relative_attention_bias.weight.std().item() == pytest.approx(1 / 16, rel=0.3)
    assert adapter.blocks[1].layer[1].DenseReluDense.wo.weight.std().item() == pytest.approx(
        512**-0.5, rel=0.05
    )


def wide_config() -> dict[str, Any]:
    return {"vocab_size": 50, "d_model": 256, "d_kv": 64, "d_ff": 512, "num_layers": 2}


@pytest.mark.parametrize("name", NAMES)
def test_only_the_encoder_has_adapters_and_level_2_trains_them_alone(name: str) -> None:
    names = trainable_parameters(Case(name).prepare(2).model)
    assert names and all(n.startswith("encoder.adapters.") for n in names)


@pytest.mark.parametrize("name", NAMES)
def test_it_cannot_be_folded_and_says_so(name: str) -> None:
    ready = Case(name).prepare(1)
    with pytest.raises(CannotFold, match=r"a plain model has none"):
        ready.method.fold(ready.model)
