"""However a batch is cut, its gradient is the mean loss's; every example is learned each epoch."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.nn import functional

from fki.config.schema import Config
from fki.core.errors import FkiError
from fki.core.types import Example, Period
from fki.data.collator import IGNORE_INDEX, TokenizedExample
from fki.evaluation.evaluator import Evaluator
from fki.modeling.seq2seq import target_logits
from fki.testing import toy_model, toy_tokenizer
from fki.training.lr_schedule import LinearWarmupDecay
from fki.training.trainer import Trainer

MakePeriod = Callable[..., Period]
N = 7


def by_hand(model: Any, examples: list[TokenizedExample]) -> tuple[float, dict[str, torch.Tensor]]:
    """The mean loss over all target tokens of one padded batch, and its gradient."""
    batch = toy_tokenizer().collate(examples)
    logits = target_logits(model, batch, model.config)
    loss = functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
    loss.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.item(), grads


@pytest.mark.parametrize(
    "cut",
    [
        {"train_batch_size": N},
        {"train_batch_size": 100},
        {"train_batch_size": 1, "gradient_accumulation_steps": N},
        {"train_batch_size": 3, "gradient_accumulation_steps": 3},
        {"train_batch_size": N, "micro_batch_tokens": 1},
        {"train_batch_size": N, "micro_batch_tokens": 40},
        {"train_batch_size": N, "micro_batch_tokens": 0},
    ],
    ids=str,
)
def test_the_gradient_is_that_of_the_mean_token_loss_however_it_is_cut(
    cut: dict[str, int], make_lesson: Any, make_period: MakePeriod, encoded: Any
) -> None:
    lesson = make_lesson(**cut)
    loss, expected = by_hand(lesson.model.train(), encoded(N))
    (step,) = lesson.trainer.train_period(make_period(N))
    (found,) = lesson.method.gradients
    assert step.loss == pytest.approx(loss, abs=1e-5)
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name


def test_a_forward_pass_stays_within_the_token_budget_or_has_one_example(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    lesson = make_lesson(train_batch_size=32, micro_batch_tokens=40)
    list(lesson.trainer.train_period(make_period(20)))
    shapes = [b.input_ids.shape for b in lesson.encoder.made]
    assert all(rows == 1 or rows * width <= 40 for rows, width in shapes)
    assert len(shapes) > 1


def test_the_steps_tell_examples_and_tokens_without_padding(
    make_lesson: Any, make_period: MakePeriod, encoded: Any
) -> None:
    steps = list(make_lesson(train_batch_size=4).trainer.train_period(make_period(N)))
    assert [s.examples for s in steps] == [4, 3]
    assert sum(s.tokens for s in steps) == sum(len(e.source) + len(e.target) for e in encoded(N))
    assert [(s.step, s.steps, s.epoch) for s in steps] == [(1, 2, 0), (2, 2, 0)]


def sources(batches: list[Any]) -> list[tuple[int, ...]]:
    """Each example's input tokens, in the order in which they came."""
    return [
        tuple(row[mask.bool()].tolist())
        for b in batches
        for row, mask in zip(b.input_ids, b.attention_mask, strict=True)
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("n", [1, 3, 7, 33])
def test_every_example_is_learned_exactly_once_per_epoch(
    n: int, batch_size: int, make_lesson: Any, make_period: MakePeriod, encoded: Any
) -> None:
    # the originals held a fifth back and dropped the last batch
    lesson = make_lesson(train_batch_size=batch_size, num_train_epochs=2)
    steps = list(lesson.trainer.train_period(make_period(n)))
    assert Counter(sources(lesson.encoder.batches)) == {tuple(e.source): 2 for e in encoded(n)}
    assert len(steps) == 2 * math.ceil(n / batch_size)


def reworded(period: Period) -> Period:
    """The period, with one to four wordings of its questions."""
    examples = tuple(
        replace(e, other_sources=tuple(f"{w} {e.source}" for w in ("Also:", "And", "So")[: i % 4]))
        for i, e in enumerate(period.examples)
    )
    return replace(period, examples=examples)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train_batch_size": 100},
        {"freeze_level": 1},
        {"budget": {"steps": 11}},
        {"budget": {"tokens": 400}},
        {"use_lr_scheduling": True},
    ],
    ids=str,
)
def test_wordings_are_taught_in_turn_as_if_each_epoch_were_reworded_by_hand(
    settings: dict[str, Any], make_lesson: Any, make_period: MakePeriod
) -> None:
    settings = {"num_train_epochs": 5, "train_batch_size": 3, **settings}
    period = reworded(make_period(N))
    lesson, twin = make_lesson(wordings=4, **settings), make_lesson(**settings)

    def reword(period: Period, review: Any, epoch: int, seed: int) -> list[Example]:
        texts = [[e.source, *e.other_sources] for e in period.examples]
        return [
            replace(e, source=text[epoch % len(text)], other_sources=())
            for e, text in zip(period.examples, texts, strict=True)
        ]

    twin.method.mix = reword
    steps, expected = ([*made.trainer.train_period(period)] for made in (lesson, twin))
    assert sources(lesson.encoder.batches) == sources(twin.encoder.batches)
    assert [(s.loss, s.tokens, s.flops, s.epoch) for s in steps] == [
        (s.loss, s.tokens, s.flops, s.epoch) for s in expected
    ]
    for mine, by_hand in zip(lesson.method.gradients, twin.method.gradients, strict=True):
        assert all(torch.equal(mine[name], by_hand[name]) for name in by_hand)


def test_the_steps_do_not_depend_on_the_number_of_wordings(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    period, settings = reworded(make_period(N)), {"num_train_epochs": 3, "train_batch_size": 2}
    one, four = (
        [(s.epoch, s.step, s.steps, s.examples) for s in lesson.trainer.train_period(period)]
        for lesson in (make_lesson(wordings=n, **settings) for n in (1, 4))
    )
    assert one == four


def order(make_lesson: Any, period: Period, **settings: Any) -> list[tuple[int, ...]]:
    lesson = make_lesson(train_batch_size=1, **settings)
    list(lesson.trainer.train_period(period))
    return sources(lesson.encoder.batches)


def test_the_order_follows_from_seed_period_and_epoch(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    both = order(make_lesson, make_period(12), num_train_epochs=2, seed=3)
    torch.manual_seed(99)
    again = order(make_lesson, make_period(12), num_train_epochs=2, seed=3)
    assert both == again
    assert both[:12] != both[12:]
    assert both[:12] == order(make_lesson, make_period(12), seed=3)
    assert both[:12] != order(make_lesson, make_period(12), seed=4)
    assert both[:12] != order(make_lesson, make_period(12, "2024-02"), seed=3)


def test_a_periods_order_does_not_depend_on_what_was_learned_before(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    lesson = make_lesson(train_batch_size=1)
    list(lesson.trainer.train_period(make_period(5)))
    lesson.encoder.batches.clear()
    list(lesson.trainer.train_period(make_period(12, "2024-02")))
    assert sources(lesson.encoder.batches) == order(make_lesson, make_period(12, "2024-02"))


def test_the_trainer_takes_the_schedule_through_the_whole_period_and_starts_it_anew(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    lesson = make_lesson(
        train_batch_size=2, num_train_epochs=5, use_lr_scheduling=True, learning_rate=0.1
    )
    for name in ("2024-01", "2024-02"):
        rates = [s.learning_rate for s in lesson.trainer.train_period(make_period(4, name))]
        assert rates == pytest.approx([0.1 * LinearWarmupDecay(10)(step) for step in range(10)])


@pytest.mark.parametrize(
    ("examples", "batch", "accumulation", "epochs", "steps"),
    [(1, 8, 1, 1, 1), (25, 8, 3, 1, 2), (24, 8, 3, 2, 2), (7, 2, 1, 3, 12)],
)
def test_the_number_of_steps_is_known_before(
    examples: int,
    batch: int,
    accumulation: int,
    epochs: int,
    steps: int,
    make_lesson: Any,
    make_period: MakePeriod,
) -> None:
    # ceil(ceil(|D| / B) / accumulation) * epochs
    lesson = make_lesson(
        train_batch_size=batch, gradient_accumulation_steps=accumulation, num_train_epochs=epochs
    )
    assert len(list(lesson.trainer.train_period(make_period(examples)))) == steps
    assert lesson.method.made == [steps]


def test_a_loss_that_is_not_finite_stops_before_any_weight_is_touched(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    lesson = make_lesson()
    with torch.no_grad():
        lesson.model.decoder.final_layer_norm.weight.fill_(math.nan)
    before = {n: p.clone() for n, p in lesson.model.state_dict().items()}
    with pytest.raises(FkiError, match=r"The loss is (nan|inf)") as caught:
        list(lesson.trainer.train_period(make_period(3)))
    assert "learning rate below" in (caught.value.hint or "")
    for name, p in lesson.model.state_dict().items():
        assert torch.equal(p.nan_to_num(), before[name].nan_to_num())
    assert not lesson.method.gradients


@pytest.mark.parametrize(("reset", "made"), [(True, [2, 3]), (False, [2])])
def test_each_period_has_a_fresh_optimizer_unless_asked_otherwise(
    reset: bool, made: list[int], make_lesson: Any, make_period: MakePeriod
) -> None:
    # decided, not a side effect
    lesson = make_lesson(train_batch_size=2, reset_optimizer_per_period=reset)
    list(lesson.trainer.train_period(make_period(4)))
    list(lesson.trainer.train_period(make_period(6, "2024-02")))
    assert lesson.method.made == made


@pytest.mark.parametrize("reset", [True, False])
def test_a_method_may_give_its_groups_unlike_learning_rates(
    reset: bool, make_lesson: Any, make_period: MakePeriod, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = make_lesson(
        reset_optimizer_per_period=reset, use_lr_scheduling=True, num_train_epochs=4
    )
    first, *rest = lesson.model.parameters()
    made: list[torch.optim.Optimizer] = []

    def optimizer(*_: Any) -> torch.optim.Optimizer:
        groups = [{"params": [first], "lr": 0.5}, {"params": rest, "lr": 0.25}]
        made.append(torch.optim.SGD(groups))
        return made[-1]

    monkeypatch.setattr(lesson.method, "optimizer", optimizer)
    for name in ("2024-01", "2024-02"):
        rates = []
        for step in lesson.trainer.train_period(make_period(3, name)):
            rates.append(step.learning_rate)
            one, other = made[-1].param_groups
            assert one["lr"] == 2 * other["lr"]
        assert rates == pytest.approx([0.02, 0.5, 0.25, 0.0])


def test_gradients_are_clipped_at_max_grad_norm_and_the_norm_before_is_told(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    def norm(lesson: Any) -> float:
        return float(torch.stack([g.norm() for g in lesson.method.gradients[0].values()]).norm())

    free, clipped = make_lesson(), make_lesson(max_grad_norm=0.01)
    (a,), (b,) = (
        free.trainer.train_period(make_period(3)),
        clipped.trainer.train_period(make_period(3)),
    )
    assert a.grad_norm == pytest.approx(b.grad_norm) == pytest.approx(norm(free), rel=1e-4)
    assert norm(clipped) == pytest.approx(0.01, rel=1e-3)


def test_max_grad_norm_0_is_no_limit(make_lesson: Any, make_period: MakePeriod) -> None:
    free, zero = make_lesson(), make_lesson(max_grad_norm=0.0)
    list(free.trainer.train_period(make_period(3)))
    list(zero.trainer.train_period(make_period(3)))
    found, expected = zero.method.gradients[0], free.method.gradients[0]
    assert all(torch.equal(found[n], expected[n]) for n in expected)


def test_batches_are_the_same_after_a_step(make_lesson: Any, make_period: MakePeriod) -> None:
    # the originals wrote -100 into the targets that they later decoded
    lesson = make_lesson()
    list(lesson.trainer.train_period(make_period(3)))
    batch = lesson.encoder.batches[0]
    examples = lesson.encoder.encode(make_period(3).examples)
    assert Counter(tuple(r[r != IGNORE_INDEX].tolist()) for r in batch.labels) == Counter(
        tuple(e.target) for e in examples
    )


@pytest.mark.parametrize("settings", [{"num_workers": 1}, {"eval_batch_size": 3}], ids=str)
def test_the_weights_follow_from_the_seed_and_not_from_the_workers(
    settings: dict[str, Any], make_lesson: Any, make_period: MakePeriod
) -> None:
    plain, other = make_lesson(train_batch_size=2), make_lesson(train_batch_size=2, **settings)
    for lesson in (plain, other):
        list(lesson.trainer.train_period(make_period(4)))
    weights = other.model.state_dict()
    assert all(torch.equal(p, weights[n]) for n, p in plain.model.state_dict().items())


def test_dropout_follows_from_the_seed(accelerator: Accelerator, make_period: MakePeriod) -> None:
    from fki.methods.base import Method

    def weights(seed: int, disturb: int) -> dict[str, torch.Tensor]:
        config = Config(seed=seed, num_train_epochs=1, optimizer="adamw")
        method = Method(config)
        model: Any = method.prepare(toy_model())
        torch.manual_seed(disturb)
        list(
            Trainer(model, method, config, toy_tokenizer(), accelerator).train_period(
                make_period(4)
            )
        )
        return model.state_dict()

    first, second, third = weights(1, 5), weights(1, 6), weights(2, 5)
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(first[n], third[n]) for n in first)


def test_the_model_is_left_as_it_was_where_the_caller_stops(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    lesson = make_lesson(train_batch_size=1)
    steps = lesson.trainer.train_period(make_period(5))
    next(steps)
    after_one = {n: p.clone() for n, p in lesson.model.state_dict().items()}
    steps.close()
    assert all(torch.equal(p, after_one[n]) for n, p in lesson.model.state_dict().items())


@pytest.fixture
def bf16() -> Iterator[Accelerator]:
    """An accelerator whose forward passes are in bf16."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=True, mixed_precision="bf16")
    AcceleratorState._reset_state(reset_partial_state=True)


def test_bf16_is_used_in_forward_passes_while_weights_and_gradients_stay_fp32(
    make_lesson: Any, make_period: MakePeriod, bf16: Accelerator
) -> None:
    lesson = make_lesson(with_accelerator=bf16, mixed_precision="bf16")
    assert lesson.trainer.planner.flop_estimator.costs  # which takes one pass of the model, in fp32
    dtypes = []
    query = lesson.model.encoder.block[0].layer[0].SelfAttention.q
    query.register_forward_hook(lambda module, args, output: dtypes.append(output.dtype))
    (step,) = lesson.trainer.train_period(make_period(3))
    assert set(dtypes) == {torch.bfloat16}
    assert {p.dtype for p in lesson.model.parameters()} == {torch.float32}
    assert {g.dtype for g in lesson.method.gradients[0].values()} == {torch.float32}
    assert math.isfinite(step.loss)


def test_answers_are_scored_in_fp32_while_training_is_in_bf16(
    make_lesson: Any, bf16: Accelerator
) -> None:
    from fki.core.types import Probe

    probe = Probe("1", "base", "The mayor of Oz is ___.", ("Dorothy Gale",))
    lesson = make_lesson(with_accelerator=bf16, mixed_precision="bf16")
    evaluator = Evaluator(toy_tokenizer(), Config(output_length=32), bf16)
    found = evaluator.predict(lesson.model, [probe])[0].log_likelihood
    expected = evaluator.predict(toy_model(), [probe])[0].log_likelihood
    assert found == pytest.approx(expected, abs=1e-5)
