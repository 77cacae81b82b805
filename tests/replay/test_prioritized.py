"""Prioritized replay gives places by need; the expectations are by hand or by a plain twin."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from fki.config.schema import Config
from fki.core.errors import DataError
from fki.core.types import Example, Infilling, Period
from fki.replay.base import Epoch
from fki.replay.prioritized import PrioritizedOptions, PrioritizedReplay

NAN = math.nan


def example(name: str, answer: str = "yes", **more: Any) -> Example:
    return Example(f"{name}={answer}", f"{name}?", answer, **more)


def period(name: str, *rows: Example) -> Period:
    return Period(name, date(2023, 1, 1), date(2023, 1, 1), (), rows)


def policy(**options: Any) -> PrioritizedReplay:
    quiet = {"noise": 0.0, "lead_every": 0, "growth": 1.0, **options}
    return PrioritizedReplay(Config(), PrioritizedOptions(**quiet))


def begin(replay: PrioritizedReplay, now: Period, review: Sequence[Example] = ()) -> None:
    replay.begin_period(now, now.examples, review, 0)


def names(chosen: Sequence[Example]) -> list[str]:
    return [e.source.rstrip("?") for e in chosen]


def epoch(
    replay: PrioritizedReplay, now: Period, number: int, losses: dict[str, float]
) -> list[str]:
    """Choose an epoch, and report the losses of those that are named; others were not trained."""
    chosen = replay.choose(Epoch(now, number, now.examples, (), 0))
    nats = [losses.get(name, NAN) for name in names(chosen)]
    replay.hear(nats, nats)
    return names(chosen)


def test_new_questions_come_first_then_the_least_known_old_ones() -> None:
    replay, first, second = policy(ratio=1.0), period("a", *map(example, "xyz")), None
    begin(replay, first)
    assert epoch(replay, first, 0, {"x": 0.5, "y": 3.0, "z": 1.0}) == ["x", "y", "z"]
    second = period("b", example("n"))
    begin(replay, second)
    assert epoch(replay, second, 0, {"n": 0.1, "y": 0.2}) == ["n", "y"]  # 2 places
    assert epoch(replay, second, 1, {}) == ["z", "x"]  # 1.0 and 0.5, before 0.2 and 0.1


def test_the_number_of_places_is_1_plus_the_ratio_times_the_new_examples() -> None:
    base = [example(f"b{i}") for i in range(50)]
    for ratio, new, places in [(2.5, 4, 14), (0.0, 3, 3), (0.1, 3, 3), (0.2, 3, 4), (99.0, 2, 52)]:
        replay, now = policy(ratio=ratio), period("a", *(example(f"n{i}") for i in range(new)))
        begin(replay, now, base)
        assert len(replay.choose(Epoch(now, 0, now.examples, base, 0))) == places
        assert len(replay.sample(Epoch(now, 0, now.examples, base, 0))) == places


def test_a_need_grows_while_a_question_rests_and_is_set_by_each_pass() -> None:
    replay, now = policy(ratio=0.0, growth=2.0), period("a", *map(example, "xyz"))
    begin(replay, now)
    epoch(replay, now, 0, {"x": 1.0, "y": 3.0, "z": 0.5})
    later = period("b", example("n"))
    begin(replay, later)
    found = [epoch(replay, later, e, {"n": 0.0, "y": 2.9, "x": 0.1})[0] for e in range(6)]
    # n: endless, then 0. Needs of x, y, z after each epoch:
    # 0: n -> 2, 6, 1   1: y -> 4, 2.9, 2   2: x -> 0.1, 5.8, 4   3: y -> 0.2, 2.9, 8
    # 4: z, without a pass, so that it grows on
    assert found == ["n", "y", "x", "y", "z", "z"]


def test_in_every_third_epoch_the_new_questions_lead() -> None:
    replay, now = policy(ratio=0.0, lead_every=3), period("a", *map(example, "xy"))
    base = [example("p"), example("q")]
    begin(replay, now, base)
    found = [
        set(epoch(replay, now, e, {"x": 0.001, "y": 0.001, "p": 5.0, "q": 5.0})) for e in range(6)
    ]
    assert found[0] == {"x", "y"} and found[2] == found[5] == {"x", "y"}
    assert found[1] == found[3] == found[4] == {"p", "q"}


@pytest.mark.parametrize(("refresh", "epochs", "due"), [(0, 4, []), (1, 4, [3]), (9, 4, [0])])
def test_old_questions_are_stale_once_in_a_period(
    refresh: int, epochs: int, due: list[int]
) -> None:
    replay, now = policy(refresh=refresh), period("a", example("x", other_sources=("y?",)))
    base = [example("p", "Ada"), example("p", "Bo"), example("q")]
    begin(replay, now, base)
    found = [names(replay.stale(number, epochs)) for number in range(epochs)]
    assert found == [["p", "p", "q"] if number in due else [] for number in range(epochs)]
    later = period("b", example("n"))
    begin(replay, later)
    found = [names(replay.stale(number, epochs)) for number in range(epochs)]
    assert found == [["p", "p", "q", "x"] if number in due else [] for number in range(epochs)]


def test_a_measured_need_replaces_that_of_the_first_wording() -> None:
    replay, now = policy(ratio=0.0), period("a", example("n"))
    text = Example("d", "A text.", "", is_text=True)
    base = [example("p", "Ada"), example("p", "Bo"), example("q"), text]
    begin(replay, now, base)
    replay.pool.old[2].needs.append(8.0)  # a second wording
    replay.refresh([9.0, 0.2, NAN, 7.0], [5.0, 0.1, NAN, 0.4])
    # the least over the answers; none without a pass; a document's mean
    assert [q.needs for q in replay.pool.old] == [[0.2], [0.01], [0.4, 8.0]]
    epoch(replay, now, 0, {"n": 0.0})
    assert epoch(replay, now, 1, {}) == ["A text."]


def test_a_question_that_is_answered_anew_leaves_with_its_old_answer() -> None:
    replay, old = policy(ratio=10.0), example("Z\u00fcrbel", "Ada")
    new = Example("new", "  Zu\u0308rbel?", "Bo")
    now = period("a", new)
    begin(replay, now, [old, example("p")])
    chosen = replay.choose(Epoch(now, 0, now.examples, (), 0))
    assert new in chosen and old not in chosen and len(chosen) == 2
    later = period("b", example("z"))
    begin(replay, later)
    assert new in replay.choose(Epoch(later, 0, later.examples, (), 0))


def test_the_least_need_over_the_answers_counts_and_a_place_trains_all() -> None:
    rows = [example("x", "Ada"), example("x", "Bo"), example("y")]
    replay, now = policy(ratio=0.0), period("a", *rows)
    begin(replay, now)
    chosen = replay.choose(Epoch(now, 0, now.examples, (), 0))
    assert list(chosen) == rows
    replay.hear([9.0, 0.2, 0.5], [0.0, 0.0, 0.0])
    later = period("b", example("n"))
    begin(replay, later)
    replay.hear([], [])
    replay.choose(Epoch(later, 0, later.examples, (), 0))
    replay.hear([0.0], [0.0])
    assert names(replay.choose(Epoch(later, 1, later.examples, (), 0))) == ["y"]  # 0.5 against 0.2
    replay.options = replay.options.model_copy(update={"ratio": 2.0})
    assert names(replay.choose(Epoch(later, 2, later.examples, (), 0))) == ["y", "x", "x"]


def test_answers_that_do_not_fit_the_places_wait_and_the_next_question_takes_them() -> None:
    rows = [example("x", "Ada"), example("x", "Bo"), example("x", "Cy")]
    replay = policy(ratio=1.0)
    begin(replay, period("a", *rows))
    replay.hear([], [])
    now = period("b", example("n"))
    begin(replay, now, ())
    assert names(replay.choose(Epoch(now, 0, now.examples, (), 0))) == ["n"]  # 2 places, x needs 3


def test_the_first_wording_is_trained_until_greedy_decoding_answers_it() -> None:
    row = example("w0", other_sources=("w1?", "w2?"))
    replay, now = policy(ratio=0.0), period("a", row)
    begin(replay, now)
    nats = [5.0, math.log(2), math.log(2) - 1e-9, 9.0]
    found = [epoch(replay, now, e, {"w0": n, "w1": 9.0})[0] for e, n in enumerate(nats)]
    assert found == ["w0", "w0", "w0", "w1"]
    forgotten = policy(ratio=0.0, growth=2.0)  # 0.4 nats become 0.8 while another one is trained
    begin(forgotten, now)
    losses = {"w0": 0.4, "w1": 9.0}
    assert [epoch(forgotten, now, e, losses)[0] for e in range(4)] == ["w0", "w1", "w0", "w2"]


def test_of_the_other_wordings_the_neediest_is_trained() -> None:
    row = example("w0", other_sources=("w1?", "w2?"))
    replay, now = policy(ratio=0.0), period("a", row)
    begin(replay, now)
    losses = {"w0": 0.5, "w1": 3.0, "w2": 2.0}
    found = [epoch(replay, now, e, losses)[0] for e in range(4)]
    assert found == ["w0", "w1", "w2", "w1"]
    later = period("b", example("n"))
    begin(replay, later)
    losses = {"n": 0.0, "w1": 0.1}
    assert [epoch(replay, later, e, losses)[0] for e in range(3)] == ["n", "w1", "w2"]


def test_base_knowledge_is_reviewed_in_its_first_wording_only() -> None:
    base = [example("w0", other_sources=("w1?",))]
    replay, now = policy(ratio=1.0), period("a", example("n"))
    begin(replay, now, base)
    found = [epoch(replay, now, e, {"n": 9.0, "w0": 9.0}) for e in range(3)]
    assert found == [["n", "w0"]] * 3


def test_the_need_of_a_piece_of_a_document_is_its_mean() -> None:
    pieces = [Example("d", "a text", "", is_text=True, piece=i) for i in range(2)]
    replay, now = policy(ratio=0.0), period("a", *pieces)
    begin(replay, now)
    assert [e.piece for e in replay.choose(Epoch(now, 0, now.examples, (), 0))] == [0, 1]
    replay.hear([1.0, 9.0], [0.8, 0.4])
    assert replay.state()["needs"] == [0.8, 0.4]


def test_without_stored_answers_old_questions_have_none() -> None:
    replay, now = policy(ratio=9.0, answers="model"), period("a", example("n", "Ada"))
    base = [example("x", "Bo"), example("x", "Cy"), Example("d", "a text", "", is_text=True)]
    begin(replay, now, base)
    assert replay.answers_by_model
    chosen = replay.choose(Epoch(now, 0, now.examples, base, 0))
    assert [(e.source, e.target) for e in chosen] == [("n?", "Ada"), ("x?", ""), ("a text", "")]
    later = period("b", example("m", "Dee"))
    begin(replay, later, base)
    targets = {e.source: e.target for e in replay.choose(Epoch(later, 0, later.examples, base, 0))}
    assert targets == {"m?": "Dee", "n?": "", "x?": "", "a text": ""}


def test_a_method_that_changes_its_examples_trains_them_changed() -> None:
    replay, now = policy(ratio=1.0), period("a", example("n"))
    begin(replay, now, [example("x")])
    changed = [Example("n=yes", "n, reworded?", "yes")]
    assert names(replay.choose(Epoch(now, 0, changed, (), 0))) == ["n, reworded", "x"]
    later = period("b", example("m"))
    begin(replay, later)
    assert "n" in names(replay.choose(Epoch(later, 0, later.examples, (), 0)))


def test_the_pool_has_at_most_its_capacity_and_is_uniform() -> None:
    base, kept = [example(f"b{i}") for i in range(20)], dict[str, int]()
    for seed in range(600):
        replay, now = policy(capacity=5), period("a", example("n"))
        replay.begin_period(now, now.examples, base, seed)
        assert len(replay.pool.old) == 5
        for question in replay.pool.old:
            kept[question.key] = kept.get(question.key, 0) + 1
    # 600 * 5 / 20 = 150 each, standard deviation 10.6
    assert len(kept) == 20 and all(abs(n - 150) < 5 * 10.6 for n in kept.values())


def test_noise_and_choice_depend_on_seed_period_and_epoch_alone() -> None:
    base = [example(f"b{i}") for i in range(40)]

    def chosen(number: int, seed: int) -> list[str]:
        replay, now = policy(noise=0.5), period("a", *map(example, "xy"))
        replay.begin_period(now, now.examples, base, 0)
        return names(replay.choose(Epoch(now, number, now.examples, base, seed)))

    first = chosen(0, 0)
    random.seed(3)
    assert chosen(0, 0) == first and chosen(1, 0) != first and chosen(0, 1) != first


def test_the_noise_is_log_normal_with_the_stated_deviation() -> None:
    replay = policy(noise=0.5, floor=1.0)
    begin(replay, period("a", example("x")))
    replay.pool.new[0].needs, rng = [1.0], random.Random(0)
    logs = [math.log(replay._priority(replay.pool.new[0], rng)) for _ in range(4000)]
    mean = sum(logs) / len(logs)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs))
    assert abs(mean) < 0.03 and deviation == pytest.approx(0.5, rel=0.05)


def test_a_need_below_the_floor_counts_as_the_floor() -> None:
    replay, now = policy(ratio=0.0, floor=0.5, base_need=0.4), period("a", example("n"))
    begin(replay, now, [example("x")])
    epoch(replay, now, 0, {"n": 0.1})
    assert names(replay.choose(Epoch(now, 1, now.examples, (), 0))) == [
        "n"
    ]  # a tie; new ones are first


def test_the_state_continues_a_run_in_the_same_way() -> None:
    def play(replay: PrioritizedReplay, start: int) -> list[list[str]]:
        rng, found = random.Random(7), []
        for t in range(4):
            now = period(f"p{t}", *(example(f"p{t}x{i}") for i in range(3)))
            begin(replay, now, [example(f"b{i}") for i in range(8)])
            for e in range(3):
                losses = {f"p{u}x{i}": rng.random() for u in range(4) for i in range(3)}
                losses |= {f"b{i}": rng.random() for i in range(8)}
                if t == start and e == 0 and saved:
                    replay.load_state(saved)
                if t >= start:
                    found.append(epoch(replay, now, e, losses))
            if t == 1 and start == 0:
                at_end.update(replay.state())
        return found

    saved: dict[str, Any] = {}
    at_end: dict[str, Any] = {}
    options = {"noise": 0.3, "ratio": 1.0, "growth": 1.1, "capacity": 9}
    whole = play(policy(**options), 0)
    # the needs at the end of period 1, in the order of period 2's pool: the pool may lose questions
    resumed = policy(**options)
    for t in range(2):
        now = period(f"p{t}", *(example(f"p{t}x{i}") for i in range(3)))
        begin(resumed, now, [example(f"b{i}") for i in range(8)])
    resumed.load_state(at_end)
    rng, found = random.Random(7), []
    for t in range(4):
        now = period(f"p{t}", *(example(f"p{t}x{i}") for i in range(3)))
        if t >= 2:
            begin(resumed, now)
        for e in range(3):
            losses = {f"p{u}x{i}": rng.random() for u in range(4) for i in range(3)}
            losses |= {f"b{i}": rng.random() for i in range(8)}
            if t >= 2:
                found.append(epoch(resumed, now, e, losses))
    assert found == whole[6:]


@pytest.mark.parametrize("state", [{}, {"needs": [1.0]}, {"needs": [1.0] * 9}])
def test_a_state_of_other_questions_is_refused(state: dict[str, list[float]]) -> None:
    replay = policy()
    begin(replay, period("a", example("x"), example("y")))
    with pytest.raises(DataError, match="do not fit"):
        replay.load_state(state)


def test_it_chooses_as_a_plain_twin_does() -> None:
    """The twin keeps a table of needs and sorts it; it has no questions with several answers."""
    rng = random.Random(11)
    replay = policy(ratio=1.5, growth=1.08, lead_every=3, base_need=0.02)
    needs = {f"b{i}": 0.02 for i in range(30)}
    new: set[str] = set()
    for t in range(5):
        rows = [f"p{t}x{i}" for i in range(4)] + [f"b{t}"]  # one base fact is answered anew
        now = period(f"p{t}", *(example(name, f"answer {t}") for name in rows))
        begin(replay, now, [example(f"b{i}", "old") for i in range(30)])
        new = set(rows)
        needs = {k: v for k, v in needs.items() if k not in new} | dict.fromkeys(rows, math.inf)
        for number in range(6):
            leads = (number + 1) % 3 == 0
            order = [*rows, *(k for k in needs if k not in new)]
            order.sort(key=lambda k: (leads and k not in new, -max(needs[k], 0.003)))
            wanted = order[: round(2.5 * len(rows))]
            losses = {name: rng.expovariate(1.0) for name in needs}
            assert sorted(epoch(replay, now, number, losses)) == sorted(wanted)
            needs = {k: losses[k] if k in wanted else v * 1.08 for k, v in needs.items()}


def test_an_answer_that_has_ended_is_not_trained_any_more() -> None:
    base = [example("gone", end=date(2010, 1, 1)), example("ends", end=date(2023, 2, 28))]
    base.append(example("stays", end=date(2023, 3, 1)))
    months = [
        Period(f"2023-{m:02}", date(2023, m, 1), date(2023, m, 28), (), (example(f"n{m}"),))
        for m in (1, 2)
    ]
    replay = policy(ratio=9.0)
    left = []
    for month in months:
        replay.begin_period(month, month.examples, base, 0)
        left.append([question.examples[0].id for question in replay.pool.old])
    assert left == [["ends=yes", "stays=yes"], ["stays=yes", "n1=yes"]]


def test_the_need_of_a_fact_with_hidden_spans_is_its_mean() -> None:
    replay, now = policy(ratio=0.0), period("a", example("x"), example("y"))
    begin(replay, now)
    hidden = replace(now.examples[1], infilling=Infilling(0.3, 3.0))
    replay.choose(Epoch(now, 0, (now.examples[0], hidden), (), 0))
    replay.hear([1.0, 9.0], [0.8, 0.4])
    assert replay.state()["needs"] == [1.0, 0.4]


@pytest.mark.parametrize("name", ["ratio", "growth", "noise", "floor", "base_need"])
def test_options_are_bounded(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PrioritizedOptions(**{name: 1e308})
