"""Prioritized replay in training: it hears every example's loss, and its epochs fit their plan."""

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch.nn import functional

from fki.core.types import Example, Period
from fki.data.collator import TokenizedExample
from fki.replay.prioritized import PrioritizedReplay
from fki.training.lr_schedule import LinearWarmupDecay

MakePeriod = Callable[..., Period]
STILL = {"replay": "prioritized", "learning_rate": 1e-30}  # the weights stay as they are


def nats(lesson: Any, example: TokenizedExample) -> torch.Tensor:
    """The nats of each target token, by the model's plain forward pass on this example alone."""
    ids = torch.tensor([example.source])
    labels = torch.tensor([example.target])
    with torch.no_grad():
        logits = lesson.model.eval()(input_ids=ids, labels=labels).logits
    return functional.cross_entropy(logits[0], labels[0], reduction="none")


def needs(lesson: Any) -> list[float]:
    replay = lesson.trainer.replay
    assert isinstance(replay, PrioritizedReplay)
    return replay.pool.needs()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pack_length": 0},
        {"train_batch_size": 3, "gradient_accumulation_steps": 2},
        {"micro_batch_tokens": 16},
    ],
    ids=str,
)
def test_the_need_is_that_of_a_plain_forward_pass(
    settings: dict[str, Any], make_lesson: Any, make_period: MakePeriod
) -> None:
    lesson, period = make_lesson(**STILL, **settings), make_period(11)
    list(lesson.trainer.train_period(period))
    encoded = lesson.encoder.encode(period.examples)
    expected = [float(nats(lesson, example).max()) for example in encoded]
    assert needs(lesson) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"micro_batch_tokens": 16}], ids=str)
def test_needs_are_measured_with_the_weights_of_that_time(
    settings: dict[str, Any], make_lesson: Any, make_period: MakePeriod
) -> None:
    """Before the last of three epochs, for all old questions, without dropout."""
    options = {"prioritized": {"ratio": 1.75, "refresh": 1, "growth": 1.0}}  # 11 places: all
    common = {"replay": "prioritized", "num_train_epochs": 3, "train_batch_size": 16}
    lesson = make_lesson(options=options, **common, **settings)
    trainer, period, later = lesson.trainer, make_period(7), make_period(4, "2024-02")
    rows = tuple(replace(e, source=f"Later {e.source}") for e in later.examples)
    later = replace(later, examples=rows)
    list(trainer.train_period(period))
    steps = trainer.train_period(later)
    used = [next(steps).flops, next(steps).flops]
    encoded = lesson.encoder.encode(period.examples)
    expected = [float(nats(lesson, example).max()) for example in encoded]
    assert needs(lesson)[:7] != pytest.approx(expected, rel=1e-2)  # not yet
    for module in lesson.model.train().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    used.append(next(steps).flops)
    assert needs(lesson)[:7] == pytest.approx(expected, rel=1e-4)
    assert lesson.model.training
    measuring = trainer.planner.flop_estimator.new_meter().count_forward(encoded)
    assert measuring > 0 and used[2] == pytest.approx(used[1] + measuring)
    assert [*steps] == []
    assert trainer.plan(later, count_usage=True).usage.flops == pytest.approx(sum(used))


def test_the_need_of_a_piece_is_the_mean_of_its_tokens(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    text = " ".join(f"word{i} of a long document" for i in range(60))
    document = Example("d", text, "", is_text=True)
    period = make_period(2)
    period = replace(period, examples=(*period.examples, document))
    lesson = make_lesson(**STILL)
    list(lesson.trainer.train_period(period))
    pieces = lesson.encoder.split_into_pieces([document])
    assert len(pieces) > 2 and [p.piece for p in pieces] == [*range(len(pieces))]
    encoded = lesson.trainer.planner.tokenize(period, 0, pieces)
    expected = [float(nats(lesson, example).mean()) for example in encoded]
    assert needs(lesson)[2:] == pytest.approx(expected, rel=1e-3)


def test_pieces_are_the_chunks_of_the_whole_document(make_lesson: Any) -> None:
    encoder = make_lesson().encoder
    text = " ".join(f"word{i} of a long document" for i in range(60))
    document = Example("d", text, "", is_text=True)
    whole = encoder.encode([document], 5)
    pieces = encoder.split_into_pieces([document])
    apart = encoder.encode(pieces, 5)
    assert [(e.source, e.target) for e in apart] == [(e.source, e.target) for e in whole]
    assert [e.number for e in apart] == [*range(len(pieces))]
    assert encoder.count_examples(pieces) == encoder.count_examples([document]) == len(whole)


def test_steps_and_schedule_are_those_of_the_plan(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    settings = {"train_batch_size": 4, "num_train_epochs": 3, "use_lr_scheduling": True}
    lesson = make_lesson(replay="prioritized", options={"prioritized": {"ratio": 1.0}}, **settings)
    list(lesson.trainer.train_period(make_period(6)))
    later = make_period(8, "2024-02")
    rows = tuple(replace(e, source=f"Later {e.source}") for e in later.examples)
    steps = list(lesson.trainer.train_period(replace(later, examples=rows)))
    # 16 places, 14 questions: 4 batches in each epoch
    assert [s.epoch for s in steps] == [0] * 4 + [1] * 4 + [2] * 4
    assert {s.steps for s in steps} == {12}
    factor = LinearWarmupDecay(12)
    rates = [s.learning_rate for s in steps]
    assert rates == pytest.approx([1e-2 * factor(i) for i in range(12)])


@pytest.mark.parametrize("name", ["tokens", "flops", "steps"])
def test_a_budget_counts_what_was_chosen(
    name: str, make_lesson: Any, make_period: MakePeriod
) -> None:
    settings = {"train_batch_size": 4, "num_train_epochs": 3, "replay": "prioritized"}

    def train(**more: Any) -> list[Any]:
        lesson = make_lesson(**settings, **more)
        return list(lesson.trainer.train_period(make_period(9)))

    whole = train()
    used = [1 if name == "steps" else getattr(step, name) for step in whole]
    limit = sum(used[:5]) + 0.5 * used[5] if name != "steps" else 6
    limit = limit if name == "flops" else int(limit)
    steps = train(budget={name: limit})
    assert [s.step for s in steps] == [1, 2, 3, 4, 5, 6]
    reached = [total >= limit for total in accumulate(used)]
    assert reached.index(True) == 5


def test_an_epoch_that_a_budget_cuts_is_heard_as_far_as_it_was_trained(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    lesson = make_lesson(**STILL, train_batch_size=4, budget={"steps": 1})
    list(lesson.trainer.train_period(make_period(9)))
    heard = [need for need in needs(lesson) if need != float("inf")]
    assert len(heard) == 4


def test_it_learns(make_lesson: Any, make_period: MakePeriod) -> None:
    lesson = make_lesson(replay="prioritized", num_train_epochs=8, learning_rate=0.5)
    steps = list(lesson.trainer.train_period(make_period(6)))
    assert steps[-1].loss < steps[0].loss
