"""A period ends at the step that uses up its budget, for every method and wherever it stopped."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fki.config.resolve import ResolvedConfig
from fki.config.schema import Budget, Config
from fki.core.types import Period, Step
from fki.methods.mixreview import MixReview
from fki.methods.recadam import RecAdam, RecAdamOptimizer
from fki.replay.base import Epoch
from fki.replay.uniform import UniformOptions, UniformReplay
from fki.testing import toy_model, toy_tokenizer
from fki.training import session
from fki.training.budget import BudgetUsage
from fki.training.estimate import describe_budget_use, estimate_run
from fki.training.lr_schedule import LinearWarmupDecay
from fki.training.runner import Runner
from fki.training.trainer import Trainer

MakePeriod = Callable[..., Period]
N = 7  # examples: with batches of 2 an epoch has 4 steps, of 2, 2, 2 and 1 examples


def steps_of(lesson: Any, period: Period, **more: Any) -> list[Step]:
    return list(lesson.trainer.train_period(period, **more))


def small(budget: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"train_batch_size": 2, "num_train_epochs": 3, "budget": budget, **settings}


def ends(steps: list[Step], name: str, limit: float) -> int:
    """The first step by which this much is used, by hand."""
    totals = [*itertools.accumulate(getattr(step, name) for step in steps)]
    return next((i for i, total in enumerate(totals, 1) if total >= limit), len(steps))


@pytest.mark.parametrize(("limit", "taken"), [(1, 1), (4, 4), (5, 5), (11, 11), (12, 12), (99, 12)])
def test_steps_end_a_period_and_never_add_an_epoch(
    limit: int, taken: int, make_lesson: Any, make_period: MakePeriod
) -> None:
    lesson = make_lesson(**small({"steps": limit}))
    steps = steps_of(lesson, make_period(N))
    assert [s.step for s in steps] == [*range(1, taken + 1)]
    assert {s.steps for s in steps} == {taken}
    assert lesson.method.made == [taken]


@pytest.mark.parametrize("name", ["tokens", "flops"])
@pytest.mark.parametrize("part", [1e-9, 0.25, 0.5, 0.99, 1.0, 5.0])
def test_tokens_and_operations_end_a_period_at_the_step_that_uses_them_up(
    name: str, part: float, make_lesson: Any, make_period: MakePeriod
) -> None:
    whole = steps_of(make_lesson(**small({})), make_period(N))
    limit = part * sum(getattr(step, name) for step in whole)
    stated = max(1, int(limit)) if name == "tokens" else limit
    lesson = make_lesson(**small({name: stated}))
    steps = steps_of(lesson, make_period(N))
    assert len(steps) == ends(whole, name, stated)
    assert lesson.method.made == [len(steps)]
    assert [s.loss for s in steps] == [s.loss for s in whole[: len(steps)]]


def test_tokens_are_counted_by_hand(make_lesson: Any, make_period: MakePeriod) -> None:
    period = make_period(1)
    [example] = toy_tokenizer().encode(period.examples)
    size = len(example.source) + len(example.target)
    settings = {"num_train_epochs": 9, "budget": {"tokens": 3 * size}}
    assert len(steps_of(make_lesson(**settings), period)) == 3
    settings["budget"] = {"tokens": 3 * size + 1}
    assert len(steps_of(make_lesson(**settings), period)) == 4


def test_the_limit_that_is_reached_first_ends_the_period(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    whole = steps_of(make_lesson(**small({})), make_period(N))
    tokens = sum(s.tokens for s in whole[:5])
    for steps, taken in ((3, 3), (8, 5)):
        lesson = make_lesson(**small({"steps": steps, "tokens": tokens, "flops": 1e18}))
        assert len(steps_of(lesson, make_period(N))) == taken


@pytest.mark.parametrize(
    "form", [{"pack_length": 0}, {"micro_batch_tokens": 1}, {"num_workers": 1}]
)
@pytest.mark.parametrize("name", ["tokens", "flops"])
def test_how_a_batch_is_cut_is_no_matter_for_a_budget(
    form: dict[str, int], name: str, make_lesson: Any, make_period: MakePeriod
) -> None:
    whole = steps_of(make_lesson(**small({})), make_period(N))
    used = [(s.tokens, s.flops) for s in whole]
    budget = {name: int(sum(getattr(s, name) for s in whole) / 2)}
    steps = steps_of(make_lesson(**small(budget, **form)), make_period(N))
    assert [(s.tokens, s.flops) for s in steps] == used[: ends(whole, name, budget[name])]


def test_a_step_of_a_budget_is_an_optimizer_step_however_much_is_accumulated(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    once = make_lesson(**small({"steps": 2}, train_batch_size=6))
    thrice = make_lesson(**small({"steps": 2}, gradient_accumulation_steps=3))
    found = [[(s.examples, s.tokens) for s in steps_of(x, make_period(N))] for x in (once, thrice)]
    assert found[0] == found[1]
    assert [examples for examples, _ in found[0]] == [6, 1]


def test_the_schedule_has_the_length_that_the_budget_leaves(
    make_lesson: Any, make_period: MakePeriod
) -> None:
    whole = steps_of(make_lesson(**small({})), make_period(N))
    for budget in ({"steps": 6}, {"tokens": sum(s.tokens for s in whole[:6])}):
        lesson = make_lesson(**small(budget, use_lr_scheduling=True, learning_rate=0.1))
        rates = [s.learning_rate for s in steps_of(lesson, make_period(N))]
        assert rates == pytest.approx([0.1 * LinearWarmupDecay(6)(step) for step in range(6)])
        assert rates[-1] == 0.0


def lesson_of(
    method: Any, config: Config, accelerator: Any, review: Any = (), replay: Any = None
) -> Trainer:
    model = method.prepare(toy_model())
    return Trainer(model, method, config, toy_tokenizer(), accelerator, review, replay=replay)


def test_recadam_anneals_over_the_steps_that_the_budget_leaves(
    accelerator: Any, make_period: MakePeriod
) -> None:
    config = Config.model_validate({"method": "recadam", **small({"steps": 5})})
    trainer = lesson_of(RecAdam(config), config, accelerator)
    list(trainer.train_period(make_period(N)))
    assert isinstance(trainer.optimizer, RecAdamOptimizer)
    assert trainer.optimizer.t0 == pytest.approx(0.2 * 5)


def test_mix_review_draws_for_the_epochs_that_begin_and_owes_no_others(
    accelerator: Any, make_period: MakePeriod
) -> None:
    config = Config.model_validate({"method": "mixreview", **small({"steps": 6})})
    review = make_period(20, "2023-01").examples
    replay = UniformReplay(config, UniformOptions(ratio=0.1))
    trainer = lesson_of(MixReview(config), config, accelerator, review, replay)
    asked: list[int] = []
    plain = replay.choose

    def choose(epoch: Epoch) -> Any:
        asked.append(epoch.number)
        return plain(epoch)

    replay.choose = choose  # type: ignore[method-assign]
    steps = list(trainer.train_period(make_period(N)))
    # the first epoch has 7 examples, and 0.7 old ones that are owed; the second 7 + 1
    assert asked == [0, 1]
    assert [s.epoch for s in steps] == [0, 0, 0, 0, 1, 1]
    trainer.plan(make_period(N, "2024-02"))
    assert replay._carry == pytest.approx(0.4)  # of 2 x 0.7; of all three epochs it would be 0.1


def test_a_run_that_passes_over_a_period_mixes_the_next_one_alike(
    accelerator: Any, make_period: MakePeriod
) -> None:
    periods = [make_period(N), make_period(5, "2024-02")]
    review = make_period(20, "2023-01").examples
    for budget in ({}, {"steps": 6}, {"tokens": 200}, {"seconds": 1e9}):
        config = Config.model_validate({"method": "mixreview", **small(budget)})
        found = []
        for goes_over in (False, True):
            replay = UniformReplay(config, UniformOptions(ratio=0.3))
            trainer = lesson_of(MixReview(config), config, accelerator, review, replay)
            trainer.skip_period(periods[0]) if goes_over else list(trainer.train_period(periods[0]))
            found.append(trainer.plan(periods[1]).epochs)
        assert found[0] == found[1], budget


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Each step takes so long by the trainer's clock."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    original = Trainer._compute_gradients

    def gradients(self: Trainer, cut: Any, dropout: int) -> Any:
        found = original(self, cut, dropout)
        now = (next(ticks) + 1) * seconds
        monkeypatch.setattr(time, "perf_counter", lambda: now)
        return found

    monkeypatch.setattr(Trainer, "_compute_gradients", gradients)


@pytest.mark.parametrize(("limit", "taken"), [(0.5, 1), (4.0, 2), (5.0, 3), (1e9, 12)])
def test_seconds_end_a_period_and_schedules_are_those_without_them(
    limit: float,
    taken: int,
    make_lesson: Any,
    make_period: MakePeriod,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lesson = make_lesson(**small({"seconds": limit}, use_lr_scheduling=True, learning_rate=0.1))
    period = make_period(N)
    slow(monkeypatch, 2.0)
    steps = steps_of(lesson, period)
    assert len(steps) == taken
    assert [s.learning_rate for s in steps] == pytest.approx(
        [0.1 * LinearWarmupDecay(12)(i) for i in range(taken)]
    )


def test_seconds_that_were_used_before_a_restart_count(
    make_lesson: Any, make_period: MakePeriod, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson, period = make_lesson(**small({"seconds": 9.0})), make_period(N)
    slow(monkeypatch, 2.0)
    assert [s.step for s in steps_of(lesson, period, start=3, seconds=6.0)] == [4, 5]
    assert steps_of(lesson, period, start=5, seconds=10.0) == []


def test_every_period_has_the_same_budget(make_lesson: Any, make_period: MakePeriod) -> None:
    lesson = make_lesson(**small({"steps": 3}))
    taken = [len(steps_of(lesson, make_period(n, f"2024-0{n}"))) for n in (7, 2, 1)]
    assert taken == [3, 3, 3]


def run(resolved: Callable[..., ResolvedConfig], folder: Path, **settings: Any) -> Runner:
    found = resolved(output_dir=str(folder), train_batch_size=1, num_train_epochs=3, **settings)
    return Runner.start(session.build_session(found.config), found)


CASES = [
    ({"budget": {"steps": 5}}, "vanilla", 0),
    ({"budget": {"tokens": 120}}, "mixreview", 0),
    ({"budget": {"flops": 1e7}, "gradient_accumulation_steps": 2}, "recadam", 0),
    ({"budget": {"flops": 1e7}}, "modular", 1),  # with a frozen encoder, whose states are kept
]


def telling_stops(steps: list[Step]) -> list[int]:
    """After the first step, at the end of each epoch and period, and before the last step."""
    changes = [
        number
        for number, (now, then) in enumerate(itertools.pairwise(steps), 1)
        if (now.period, now.epoch) != (then.period, then.epoch)
    ]
    return sorted({1, *changes, len(steps) - 1})


@pytest.mark.parametrize(("settings", "method", "level"), CASES, ids=str)
def test_a_run_stopped_anywhere_spends_and_ends_as_the_one_that_was_not(
    settings: dict[str, Any], method: str, level: int, resolved: Any, tmp_path: Path
) -> None:
    settings = {**settings, "method": method, "freeze_level": level, "save_every_steps": 1}
    whole = run(resolved, tmp_path / "whole", **settings)
    events = [e for e in whole.events() if isinstance(e, Step)]
    assert 0 < whole.totals.examples < 15  # which 3 epochs of 5 examples would be
    for stop in telling_stops(events):
        runner = run(resolved, tmp_path / f"at-{stop}", **settings)
        taken, going = 0, runner.events()
        for event in going:
            taken += isinstance(event, Step)
            if taken == stop:
                next(going)  # so that the step's checkpoint is written
                break
        going.close()
        again = run(resolved, tmp_path / f"at-{stop}", **settings)
        list(again.events())
        for name in ("steps", "tokens", "flops", "examples"):
            assert getattr(again.totals, name) == getattr(whole.totals, name), (stop, name)
        ours, theirs = (r.session.model.state_dict() for r in (again, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_what_was_spent_is_in_the_run_and_within_a_step_of_the_budget(
    resolved: Any, tmp_path: Path
) -> None:
    runner = run(resolved, tmp_path / "run", budget={"tokens": 100})
    steps = [e for e in runner.events() if isinstance(e, Step)]
    spent = runner.run.info["spent"]
    assert spent["flops"] == pytest.approx(sum(s.flops for s in steps)) and spent["flops"] > 0
    for period in {s.period for s in steps}:
        mine = [s.tokens for s in steps if s.period == period]
        assert sum(mine[:-1]) < 100 <= sum(mine)
    assert spent["tokens"] == sum(s.tokens for s in steps)


def test_the_seconds_of_a_period_are_in_the_checkpoint(resolved: Any, tmp_path: Path) -> None:
    settings = {"budget": {"seconds": 1e6}, "save_every_steps": 1}
    runner = run(resolved, tmp_path / "run", **settings)
    steps = []
    for event in (going := runner.events()):
        steps += [event] if isinstance(event, Step) else []
        if len(steps) == 3:
            break
    going.close()
    again = run(resolved, tmp_path / "run", **settings)
    at = again.state.position
    assert at.step == 2
    assert at.seconds == pytest.approx(sum(s.seconds for s in steps[:2]))


@pytest.mark.parametrize("method", ["vanilla", "mixreview", "recadam", "joint"])
@pytest.mark.parametrize("budget", [{"steps": 4}, {"tokens": 150}, {"flops": 3e7}, {}], ids=str)
def test_a_plan_says_what_a_method_will_use(
    method: str, budget: dict[str, Any], resolved: Any, tmp_path: Path
) -> None:
    plan = estimate_run(
        resolved(train_batch_size=1, num_train_epochs=3, method=method, budget=budget).config
    )
    runner = run(resolved, tmp_path / "run", method=method, budget=budget)
    list(runner.events())
    spent = runner.totals
    assert (plan.steps, plan.tokens) == (spent.steps, spent.tokens)
    assert plan.flops == pytest.approx(spent.flops)
    assert bool(plan.budget) == bool(budget)


def test_a_plan_tells_of_a_budget_in_words() -> None:
    uses = [BudgetUsage(4, 90, 1.0), BudgetUsage(2, 110, 1.0)]
    found = describe_budget_use(Budget(tokens=100, seconds=5.0), uses)
    assert found == (
        "100% of its tokens; it ends 1 of 2 periods, the last epoch the others; "
        "up to 5 seconds a period (schedules cannot take it into account)"
    )
    assert describe_budget_use(Budget(), uses) == ""
