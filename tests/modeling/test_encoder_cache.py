"""A frozen encoder read from memory says what it would have said, and is run once a source."""

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
from fki.modeling.encoder_cache import CachedStates, EncoderCache, FrozenEncoder
from fki.testing import toy_model, toy_tokenizer
from fki.training import session
from fki.training.trainer import Trainer

SOURCES = [[5, 6, 7, 1], [15, 1], [25, 26, 27, 28, 29, 1], [35, 36, 1]]
CACHED = ["vanilla", "kadapter_2", "kadapter_3", "modular", "mixreview", "recadam"]
NOT_OFF = {"encoder_cache": "fp32", "freeze_level": 1}


@pytest.fixture
def make_states(tmp_path: Path) -> Callable[..., EncoderCache]:
    """A function of options: the states of a toy encoder."""

    def make(store: str = "fp32", limit: int = 2**20, folder: str = "states") -> EncoderCache:
        encoder = toy_model().requires_grad_(False).get_encoder()
        return EncoderCache(
            FrozenEncoder(encoder, (1,)),
            toy_tokenizer(),
            store=store,
            limit=limit,
            folder=tmp_path / folder,
        )

    return make


def read(states: EncoderCache, group: CachedStates | None, rows: list[list[list[int]]]) -> Any:
    """What the encoder says of packed rows while it is recalled."""
    batch = toy_tokenizer().collate_packed(
        [[TokenizedExample(s, [1]) for s in row] for row in rows]
    )
    with states.recalled(batch, [group] * len(rows)):
        return states.frozen.encoder(input_ids=batch.input_ids)


@pytest.mark.parametrize("is_known", [True, False], ids=["kept", "computed when asked"])
@pytest.mark.parametrize("rows", [[[0], [1], [2], [3]], [[2, 1], [0, 3], [2]]], ids=str)
def test_what_is_recalled_is_what_the_encoder_says_of_each_source(
    rows: list[list[int]], is_known: bool, make_states: Any
) -> None:
    states = make_states()
    group = states.group("some", SOURCES) if is_known else None
    out = read(states, group, [[SOURCES[i] for i in row] for row in rows])
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


def test_the_bits_of_a_group_do_not_depend_on_what_else_was_kept(make_states: Any) -> None:
    one, other = make_states(), make_states()
    other.group("before", SOURCES[:2])
    first, second = (s.group("some", SOURCES) for s in (one, other))
    assert torch.equal(first.table, second.table)


def test_each_source_of_a_group_is_computed_once(make_states: Any) -> None:
    states, seen = make_states(), []
    states.frozen.encoder.register_forward_hook(lambda m, a, k, o: seen.append(1), with_kwargs=True)
    for _ in range(3):
        group = states.group("some", [*SOURCES, *SOURCES])
        read(states, group, [[s] for s in SOURCES])
    assert len(group.begins) == len(SOURCES)
    # one batch computes them; `recalled` calls the module, which then answers from memory
    assert len(seen) == 1 + 3


def test_weights_that_have_changed_make_the_states_anew(make_states: Any) -> None:
    states = make_states()
    before = states.group("some", SOURCES).table.clone()
    with torch.no_grad():
        states.frozen.encoder.block[0].layer[0].SelfAttention.q.weight.mul_(2)
    after = states.group("some", SOURCES).table
    assert not torch.allclose(before, after)


def test_bf16_takes_half_the_space_and_is_as_near_as_bf16_is(make_states: Any) -> None:
    whole, half = make_states(), make_states("bf16")
    a, b = whole.group("some", SOURCES), half.group("some", SOURCES)
    assert half.size * 2 == whole.size
    assert b.table.dtype == torch.bfloat16
    assert torch.equal(b.table, a.table.bfloat16())


def test_older_groups_give_way_and_one_that_is_too_large_is_not_kept(make_states: Any) -> None:
    states = make_states(limit=2 * 15 * 2 * 16 * 4)  # two times 15 tokens of two states
    for name in ("a", "b", "c"):
        assert states.group(name, SOURCES) is not None
    assert list(states.groups) == ["b", "c"]
    assert states.size <= states.limit
    assert states.group("d", [[i, i + 1, 1] for i in range(2, 40)]) is None


def test_a_disk_without_room_is_left_alone(
    make_states: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    assert make_states().group("some", SOURCES) is None


def test_a_disk_that_fills_up_meanwhile_is_done_without(
    make_states: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    states = make_states()
    assert states.group("some", SOURCES) is None and states.groups == {}


def test_a_folder_that_cannot_be_made_means_to_do_without(make_states: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert make_states(folder="file/states").group("some", SOURCES) is None


def test_nothing_is_left_on_the_disk(make_states: Any, tmp_path: Path) -> None:
    states = make_states()
    states.group("some", SOURCES)
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
    kept = session.make_encoder_cache(model, made, encoder, config)
    states = kept if session.trains_from_cache(config) else None
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
def test_learning_from_kept_states_is_learning_with_the_encoder(
    method: str, store: str, pack: int, make_period: Callable[[int], Period]
) -> None:
    weights, losses = [], []
    for cache in (store, "off"):
        model, trainer, _ = lesson(method, freeze_level=1, encoder_cache=cache, pack_length=pack)
        without_dropout(model)
        losses.append([step.loss for step in trainer.learn(make_period(6))])
        weights.append({n: p.detach() for n, p in model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-5 if store == "fp32" else 3e-3)
    for name, p in weights[0].items():
        near = 1e-4 if store == "fp32" else 3e-2  # Adam's steps of 1e-2 on rounded gradients
        torch.testing.assert_close(p, weights[1][name], atol=near, rtol=1e-3)


def test_a_frozen_encoder_is_run_once_a_period(make_period: Callable[[int], Period]) -> None:
    model, trainer, _ = lesson("vanilla", freeze_level=1)
    assert trainer.courses.work.costs.kept  # which takes one pass of the model, once
    runs: list[int] = []
    model.encoder.block[0].register_forward_hook(lambda *_: runs.append(1))
    list(trainer.learn(make_period(6)))
    assert len(runs) == 1
    list(trainer.learn(make_period(6)))
    assert len(runs) == 2


def test_the_seconds_of_running_the_encoder_are_those_of_the_first_step(
    make_period: Callable[[int], Period], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trainer, _ = lesson("vanilla", freeze_level=1)
    plain = trainer._recall
    monkeypatch.setattr(trainer, "_recall", lambda epochs: plain(epochs) + 1000.0)
    first, *rest = trainer.learn(make_period(6))
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
def test_states_are_kept_where_nothing_in_the_encoder_trains(
    method: str, settings: dict[str, Any], is_kept: bool, is_read: bool
) -> None:
    _, trainer, kept = lesson(method, **settings)
    assert (kept is not None, trainer.states is not None) == (is_kept, is_read)


def test_lora_in_the_decoder_alone_leaves_the_encoder_frozen() -> None:
    config = Config(method="lora", freeze_level=2)
    cls = registry.method_class("lora")
    made = cls(config, cls.Options(target_modules=["EncDecAttention.q"]))
    model = made.prepare(toy_model())
    assert made.frozen(model) is not None


@pytest.mark.parametrize("method", ["vanilla", "kadapter_3", "modular"])
def test_answers_from_kept_states_are_the_models_own(
    method: str, make_period: Callable[[int], Period], accelerator: Accelerator
) -> None:
    model, trainer, kept = lesson(method, freeze_level=1)
    period = make_period(6)
    list(trainer.learn(period))
    probes = [
        Probe(e.id, "base", e.source, (e.target.split("> ")[1].split(" <")[0],))
        for e in period.examples
    ]
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
