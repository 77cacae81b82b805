"""Uniform replay draws what it says: from the past, in the share it says, anew each epoch."""

import random
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.types import Example, Period
from fki.replay.base import Epoch, make_replay
from fki.replay.uniform import UniformOptions, UniformReplay


def examples(prefix: str, n: int, relation: str = "P1", **more: Any) -> tuple[Example, ...]:
    return tuple(
        Example(f"{prefix}{i}", f"{prefix} {i}?", "yes", relation, **more) for i in range(n)
    )


def period(name: str, rows: tuple[Example, ...]) -> Period:
    return Period(name, date(2023, 1, 1), date(2023, 1, 1), (), rows)


class Mixer(UniformReplay):
    """The policy with vanilla, whose epochs are the period's examples as they are."""

    def mix(self, now: Period, review: Any, epoch: int, seed: int) -> Any:
        return self.choose(Epoch(now, epoch, now.examples, review, seed))


def method(epochs: int = 3, **options: Any) -> Mixer:
    config = Config(method="mixreview", num_train_epochs=epochs)
    return Mixer(config, UniformOptions(**options))


def drawn(found: Any, now: Period) -> list[Example]:
    """What was mixed in, after the period's own examples, which all have to be there."""
    assert tuple(found[: len(now.examples)]) == now.examples
    return list(found[len(now.examples) :])


BASE = examples("base", 500)


def test_the_counts_by_epoch_are_ckls_4_times_7_tenths_to_the_epoch() -> None:
    # there the ratio stayed 4 in all eight epochs
    mix, now = method(8, ratio=4.0, decay=0.7), period("a", examples("a", 100))
    found = [len(drawn(mix.mix(now, BASE, e, 0), now)) for e in range(8)]
    exact = [400 * 0.7**e for e in range(8)]
    assert all(abs(n - wanted) < 1 for n, wanted in zip(found, exact, strict=True))
    assert found[:3] == [400, 280, 196]
    assert sum(found) == int(sum(exact))


def test_cfinjectbenchs_tenth_is_the_default() -> None:
    mix, now = method(4), period("a", examples("a", 50))
    assert [len(drawn(mix.mix(now, BASE, e, 0), now)) for e in range(4)] == [5, 5, 5, 5]


def test_periods_of_one_example_get_their_share_as_fractions_add_up() -> None:
    # CFInjectBench's `sample(frac=0.1)` of fewer than five rows gives none, on every day anew
    mix, found = method(4, ratio=0.1), []
    for day in range(50):
        now = period(f"d{day}", examples(f"d{day}x", 1))
        found += [len(drawn(mix.mix(now, BASE, e, 0), now)) for e in range(4)]
    assert sum(found) == 20  # 50 days x 4 epochs x a tenth
    assert set(found) == {0, 1}


def test_the_count_never_exceeds_what_there_is() -> None:
    mix, now = method(ratio=10.0), period("a", examples("a", 100))
    assert len(drawn(mix.mix(now, BASE[:7], 0, 0), now)) == 7
    assert drawn(method(ratio=10.0).mix(now, (), 0, 0), now) == []


def test_what_is_reviewed_came_before_and_never_is_of_the_period_itself() -> None:
    # CFInjectBench drew after it had inserted the current period
    mix, shown = method(2, ratio=5.0), set(BASE)
    for t in range(5):
        now = period(f"q{t}", examples(f"q{t}x", 40))
        for epoch in range(2):
            old = drawn(mix.mix(now, BASE, epoch, 0), now)
            assert set(old) <= shown and len(set(old)) == len(old)
        shown |= set(now.examples)
    assert any(e.id.startswith("q") for e in old)


def test_it_reviews_nothing_in_the_first_period_without_base_knowledge() -> None:
    mix, first = method(ratio=1.0), period("a", examples("a", 10))
    second = period("b", examples("b", 10))
    assert drawn(mix.mix(first, (), 0, 0), first) == []
    assert set(drawn(mix.mix(second, (), 0, 0), second)) == set(first.examples)


def test_each_epoch_draws_anew_and_by_the_seed_alone() -> None:
    now = period("a", examples("a", 100))
    first = [drawn(method().mix(now, BASE, e, 0), now) for e in range(3)]
    random.seed(5)
    assert first == [drawn(method().mix(now, BASE, e, 0), now) for e in range(3)]
    assert len({tuple(e.id for e in epoch) for epoch in first}) == 3
    assert drawn(method().mix(now, BASE, 0, 1), now) != first[0]


def test_an_outdated_answer_is_not_reviewed() -> None:
    old = Example("base|P6|X|0.0", "The head of X is?", "A", "P6")
    new = Example("2023|P6|X|0.0", "The head of X is?", "B", "P6")
    mix, now = method(1, ratio=100.0), period("2023", (new,))
    later = period("2024", examples("z", 1))
    assert old not in mix.mix(now, [old, *BASE[:5]], 0, 0)
    reviewed = drawn(mix.mix(later, [old, *BASE[:5]], 0, 0), later)
    assert new in reviewed and old not in reviewed


def test_invariant_only_takes_the_listed_relations_and_what_never_changes() -> None:
    options = {"ratio": 100.0, "invariant_only": True}
    mix, now = method(1, **options), period("a", examples("a", 3, "P19") + examples("b", 3, "P6"))
    base = [*examples("u", 3, "P6"), *examples("v", 3, "own", is_invariant=True)]
    assert {e.id[0] for e in drawn(mix.mix(now, base, 0, 0), now)} == {"v"}
    later = period("c", examples("c", 3))
    assert {e.id[0] for e in drawn(mix.mix(later, base, 0, 0), later)} == {"a", "v"}


def test_a_corpus_is_replayed_and_the_stream_is_not() -> None:
    mix = method(1, source="corpus", corpus="old.csv", ratio=100.0)
    for name in ("a", "b"):
        now = period(name, examples(name, 10))
        assert set(drawn(mix.mix(now, BASE, 0, 0), now)) == set(BASE)


@pytest.mark.parametrize("options", [{"source": "corpus"}, {"corpus": "old.csv"}])
def test_source_and_corpus_have_to_agree(options: dict[str, str]) -> None:
    with pytest.raises(
        ConfigError, match=r"mixreview\.corpus.* mixreview\.source = 'corpus'"
    ) as caught:
        method(**options)
    assert caught.value.hint


def test_an_outdated_question_leaves_the_buffer_in_any_spelling() -> None:
    def row(source: str) -> tuple[Example, ...]:
        return (Example(source, source, "yes", "P1"),)

    mix = method(1)
    mix.mix(period("a", row("Zu\u0308rbel  is led by")), (), 0, 0)
    mix.mix(period("b", row("b?")), (), 0, 0)
    assert [e.id for e in mix.reservoir.items] == ["Zu\u0308rbel  is led by"]
    mix.mix(period("c", row("Z\u00fcrbel is led by")), (), 0, 0)
    assert [e.id for e in mix.reservoir.items] == ["b?"]


def test_an_outdated_question_leaves_the_buffer_in_all_its_wordings() -> None:
    def row(name: str, answer: str) -> tuple[Example, ...]:
        return (Example(name, f"{name}?", answer, "P1", other_sources=(f"Say: {name}!",)),)

    mix = method(1)
    mix.mix(period("1", row("a", "old") + row("b", "old")), (), 0, 0)
    mix.mix(period("2", row("a", "new")), (), 0, 0)
    mix.mix(period("3", row("c", "new")), (), 0, 0)
    sources = {s: e.target for e in mix.reservoir.items for s in e.sources}
    assert sources == {"a?": "new", "Say: a!": "new", "b?": "old", "Say: b!": "old"}


def test_the_buffer_holds_at_most_its_capacity() -> None:
    mix = method(1, capacity=30)
    for name in "abc":
        mix.mix(period(name, examples(name, 100)), BASE, 0, 0)
        assert len(mix.reservoir.items) == 30


def test_a_ratio_of_0_is_vanilla() -> None:
    now = period("a", examples("a", 10))
    assert tuple(method(ratio=0.0).mix(now, BASE, 0, 0)) == now.examples


def test_mixreview_is_vanilla_with_this_policy() -> None:
    options = {"mixreview": {"ratio": 0.5}}
    for config in (
        Config(method="mixreview", options=options),
        Config(method="vanilla", replay="uniform", options=options),
    ):
        policy = make_replay(config)
        assert type(policy) is UniformReplay and policy.options.ratio == 0.5
    assert type(make_replay(Config(method="vanilla", options=options))) is not UniformReplay


def test_an_answer_that_has_ended_leaves_the_buffer() -> None:
    mix = method(1)
    gone, ends = (
        replace(examples(name, 1)[0], end=end)
        for name, end in (("gone", date(2010, 1, 1)), ("ends", date(9999, 1, 1)))
    )
    mix.mix(period("1", examples("a", 1)), [gone, ends], 0, 0)
    assert [e.id for e in mix.reservoir.items] == [ends.id]
