"""A cached encoder returns what the encoder would compute, and runs once for each source."""

import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from fki.config.schema import Config
from fki.core import registry
from fki.core.types import Period, Probe
from fki.data.collator import TokenizedExample
from fki.evaluation.evaluator import Evaluator
from fki.modeling.encoder_cache import CachedStates, EncoderCache, FrozenEncoder, source_key
from fki.testing import toy_model, toy_tokenizer
from fki.training import session
from fki.training.trainer import Trainer

SOURCES = [[5, 6, 7, 1], [15, 1], [25, 26, 27, 28, 29, 1], [35, 36, 1]]
CACHED = ["vanilla", "kadapter_2", "kadapter_3", "modular", "mixreview", "recadam"]
NOT_OFF = {"encoder_cache": "fp32", "freeze_level": 1}


@pytest.fixture
def make_cache(tmp_path: Path) -> Callable[..., EncoderCache]:
    """Return a function that makes the cache of a toy encoder."""

    def make(dtype: str = "fp32", max_bytes: int = 2**20, folder: str = "states") -> EncoderCache:
        encoder = toy_model().requires_grad_(False).get_encoder()
        return EncoderCache(
            FrozenEncoder(encoder, (1,)),
            toy_tokenizer(),
            dtype=dtype,
            max_bytes=max_bytes,
            folder=tmp_path / folder,
        )

    return make


def read(cache: EncoderCache, group: CachedStates | None, rows: list[list[list[int]]]) -> Any:
    """The patched encoder's output for packed rows."""
    batch = toy_tokenizer().collate_packed(
        [[TokenizedExample(s, [1]) for s in row] for row in rows]
    )
    with cache.patch_encoder(batch, [group] * len(rows)):
        return cache.frozen.encoder(input_ids=batch.input_ids)


@pytest.mark.parametrize("is_cached", [True, False], ids=["cached", "computed when needed"])
@pytest.mark.parametrize("rows", [[[0], [1], [2], [3]], [[2, 1], [0, 3], [2]]], ids=str)
def test_the_patched_encoder_returns_the_states_of_each_source(
    rows: list[list[int]], is_cached: bool, make_cache: Any
) -> None:
    cache = make_cache()
    group = cache.fetch("some", SOURCES) if is_cached else None
    out = read(cache, group, [[SOURCES[i] for i in row] for row in rows])
    encoder = toy_model().eval().get_encoder()
    for r, row in enumerate(rows):
        start = 0
        for i in row:
            plain = encoder(torch.tensor([SOURCES[i]]), output_hidden_states=True)
            place = slice(start, start + len(SOURCES[i]))
            for found, expected in (
                (out.last_hidden_state, plain.last_hidden_state),
                (out.hidden_states[1], plain.hidden_states[1]),
            ):
                torch.testing.assert_close(found[r, place], expected[0], atol=1e-5, rtol=1e-5)
            start += len(SOURCES[i])
    assert out.hidden_states[0] is None  # nothing reads it


def test_the_bits_of_a_group_do_not_depend_on_other_groups(make_cache: Any) -> None:
    one, other = make_cache(), make_cache()
    other.fetch("before", SOURCES[:2])
    first, second = (s.fetch("some", SOURCES) for s in (one, other))
    assert torch.equal(first.table, second.table)


def test_each_source_of_a_group_is_computed_once(make_cache: Any) -> None:
    cache, seen = make_cache(), []
    cache.frozen.encoder.register_forward_hook(lambda m, a, k, o: seen.append(1), with_kwargs=True)
    for _ in range(3):
        group = cache.fetch("some", [*SOURCES, *SOURCES])
        read(cache, group, [[s] for s in SOURCES])
    assert len(group.offsets) == len(SOURCES)
    # one batch computes them; `patch_encoder` leaves the module callable, and its hook runs
    assert len(seen) == 1 + 3


def test_a_replaced_group_keeps_its_states_and_computes_what_it_lacks(make_cache: Any) -> None:
    cache, computed = make_cache(), []
    plain = cache.compute
    cache.compute = lambda batch: computed.append(int((batch.input_ids > 0).sum())) or plain(batch)
    first = cache.replace("pool", SOURCES[:3])
    kept = first.table.clone()
    second = cache.replace("pool", [SOURCES[2], SOURCES[3], SOURCES[0]])
    assert computed == [4 + 2 + 6, 3]
    assert second.offsets.keys() == {source_key(SOURCES[i]) for i in (0, 2, 3)}
    for i in (0, 2):
        at, before, size = (
            second.offsets[source_key(SOURCES[i])],
            first.offsets[source_key(SOURCES[i])],
            len(SOURCES[i]),
        )
        assert torch.equal(second.table[at : at + size], kept[before : before + size])
    found = read(cache, second, [[SOURCES[3]]]).last_hidden_state
    alone = read(make_cache(), None, [[SOURCES[3]]]).last_hidden_state
    assert torch.allclose(found, alone, atol=1e-6)


def test_a_replaced_group_makes_no_room_for_others(make_cache: Any) -> None:
    cache = make_cache(max_bytes=9 * 2 * toy_model().config.d_model * 4)  # 9 tokens, 2 layers
    assert cache.replace("pool", [SOURCES[2]]) is not None  # 6 tokens
    assert cache.fetch("a", [SOURCES[0]]) is None  # 4 tokens
    assert cache.fetch("b", [SOURCES[3]]) is not None  # 3 tokens
    assert cache.replace("pool", [SOURCES[2], SOURCES[1]]) is not None  # 8 tokens: b goes
    assert [*cache.groups] == ["pool"]
    assert cache.replace("pool", SOURCES) is None


def test_changed_weights_recompute_the_group(make_cache: Any) -> None:
    cache = make_cache()
    before = cache.fetch("some", SOURCES).table.clone()
    with torch.no_grad():
        cache.frozen.encoder.block[0].layer[0].SelfAttention.q.weight.mul_(2)
    after = cache.fetch("some", SOURCES).table
    assert not torch.allclose(before, after)


def test_bf16_takes_half_the_space_and_rounds_to_bf16(make_cache: Any) -> None:
    whole, half = make_cache(), make_cache("bf16")
    a, b = whole.fetch("some", SOURCES), half.fetch("some", SOURCES)
    assert half.size_bytes * 2 == whole.size_bytes
    assert b.table.dtype == torch.bfloat16
    assert torch.equal(b.table, a.table.bfloat16())


def test_older_groups_are_dropped_and_one_that_is_too_large_is_not_cached(make_cache: Any) -> None:
    cache = make_cache(max_bytes=2 * 15 * 2 * 16 * 4)  # two times 15 tokens of two states
    for name in ("a", "b", "c"):
        assert cache.fetch(name, SOURCES) is not None
    assert list(cache.groups) == ["b", "c"]
    assert cache.size_bytes <= cache.max_bytes
    assert cache.fetch("d", [[i, i + 1, 1] for i in range(2, 40)]) is None


def test_a_disk_without_space_disables_the_cache(
    make_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    assert make_cache().fetch("some", SOURCES) is None


def test_a_disk_that_fills_up_disables_the_cache(
    make_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    cache = make_cache()
    assert cache.fetch("some", SOURCES) is None and cache.groups == {}


def test_an_unusable_folder_disables_the_cache(make_cache: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert make_cache(folder="file/states").fetch("some", SOURCES) is None


def test_the_cache_leaves_no_file_on_the_disk(make_cache: Any, tmp_path: Path) -> None:
    cache = make_cache()
    cache.fetch("some", SOURCES)
    assert [*(tmp_path / "states").iterdir()] == []


def lesson(method: str, **settings: Any) -> tuple[Any, Trainer, EncoderCache | None]:
    """A method's model, its trainer with the session's choice of states, and these."""
    values = {"num_train_epochs": 3, "optimizer": "adamw", "learning_rate": 1e-2, **settings}
    config = Config.model_validate({"method": method, **values})
    cls = registry.method_class(method)
    made = cls(config, cls.Options())
    torch.manual_seed(0)
    model = made.prepare(toy_model())
    encoder = toy_tokenizer()
    frozen, mode = made.frozen_encoder(model), config.encoder_cache
    kept = session.make_encoder_cache(frozen, encoder, mode, config.encoder_cache_mib)
    states = kept if session.trains_from_cache(mode, config.num_train_epochs) else None
    return model, Trainer(model, made, config, encoder, Accelerator(cpu=True), (), states), kept


def without_dropout(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0


@pytest.mark.parametrize("pack", [0, 128])
@pytest.mark.parametrize("store", ["fp32", "bf16"])
@pytest.mark.parametrize("method", CACHED)
def test_training_from_the_cache_equals_training_with_the_encoder(
    method: str, store: str, pack: int, make_period: Callable[[int], Period]
) -> None:
    weights, losses = [], []
    for cache in (store, "off"):
        model, trainer, _ = lesson(method, freeze_level=1, encoder_cache=cache, pack_length=pack)
        without_dropout(model)
        losses.append([step.loss for step in trainer.train_period(make_period(6))])
        weights.append({n: p.detach() for n, p in model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-5 if store == "fp32" else 3e-3)
    for name, p in weights[0].items():
        near = 1e-4 if store == "fp32" else 3e-2  # Adam's steps of 1e-2 on rounded gradients
        torch.testing.assert_close(p, weights[1][name], atol=near, rtol=1e-3)


def test_a_frozen_encoder_runs_once_a_period(make_period: Callable[[int], Period]) -> None:
    model, trainer, _ = lesson("vanilla", freeze_level=1)
    assert (
        trainer.planner.flop_estimator.costs.uncached_source
    )  # which takes one pass of the model, once
    runs: list[int] = []
    model.encoder.block[0].register_forward_hook(lambda *_: runs.append(1))
    list(trainer.train_period(make_period(6)))
    assert len(runs) == 1
    list(trainer.train_period(make_period(6)))
    assert len(runs) == 2


def test_the_first_step_includes_the_seconds_of_filling_the_cache(
    make_period: Callable[[int], Period], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trainer, _ = lesson("vanilla", freeze_level=1)
    plain = trainer._fill_encoder_cache
    monkeypatch.setattr(trainer, "_fill_encoder_cache", lambda epochs: plain(epochs) + 1000.0)
    first, *rest = trainer.train_period(make_period(6))
    assert first.seconds > 1000 and all(step.seconds < 1000 for step in rest)


@pytest.mark.parametrize(
    ("method", "settings", "is_kept", "is_read"),
    [
        ("vanilla", {"freeze_level": 1}, True, True),
        ("vanilla", {"freeze_level": 0}, False, False),
        ("vanilla", {"freeze_level": 1, "num_train_epochs": 1}, True, False),
        ("vanilla", {"freeze_level": 1, "num_train_epochs": 1, **NOT_OFF}, True, True),
        ("vanilla", {"freeze_level": 1, "encoder_cache": "off"}, False, False),
        ("lora", {"freeze_level": 2}, False, False),
        ("kadapter_2", {"freeze_level": 0}, False, False),
        ("kadapter_2", {"freeze_level": 2}, True, True),
        ("modular", {"freeze_level": 1}, True, True),
    ],
    ids=str,
)
def test_states_are_cached_if_nothing_in_the_encoder_trains(
    method: str, settings: dict[str, Any], is_kept: bool, is_read: bool
) -> None:
    _, trainer, kept = lesson(method, **settings)
    assert (kept is not None, trainer.encoder_cache is not None) == (is_kept, is_read)


def test_lora_in_the_decoder_only_leaves_the_encoder_frozen() -> None:
    config = Config(method="lora", freeze_level=2)
    cls = registry.method_class("lora")
    made = cls(config, cls.Options(target_modules=["EncDecAttention.q"]))
    model = made.prepare(toy_model())
    assert made.frozen_encoder(model) is not None


@pytest.mark.parametrize("method", ["vanilla", "kadapter_3", "modular"])
def test_answers_from_the_cache_are_the_models_own(
    method: str, make_period: Callable[[int], Period], accelerator: Accelerator
) -> None:
    model, trainer, kept = lesson(method, freeze_level=1)
    period = make_period(6)
    list(trainer.train_period(period))
    probes = [Probe(e.id, "base", e.source, (e.target,)) for e in period.examples]
    config, runs = Config(output_length=12), list[int]()
    plain = Evaluator(toy_tokenizer(), config, accelerator).predict(model, probes)
    inner = getattr(model.encoder, "inner", model.encoder)
    inner.block[0].register_forward_hook(lambda *_: runs.append(1))
    evaluator = Evaluator(toy_tokenizer(), config, accelerator, kept)
    for _ in range(2):
        found = evaluator.predict(model, probes, ["a"] * 4 + ["b"] * 2)
        assert [p.text for p in found] == [p.text for p in plain]
        for a, b in zip(found, plain, strict=True):
            assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-4)
    assert len(runs) == 2  # each group once
