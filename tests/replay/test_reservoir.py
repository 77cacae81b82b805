"""The reservoir is a uniform sample of everything that was added."""

import random
from collections import Counter

from fki.core.types import Example
from fki.replay.reservoir import Reservoir


def examples(prefix: str, n: int) -> tuple[Example, ...]:
    return tuple(Example(f"{prefix}{i}", f"{prefix} {i}?", "yes") for i in range(n))


def test_the_reservoir_is_uniform_over_all_it_has_seen() -> None:
    counts: Counter[str] = Counter()
    for seed in range(3000):
        reservoir, rng = Reservoir[Example](5), random.Random(seed)
        for part in range(4):
            reservoir.add(examples(str(part), 5), rng)
        assert len(reservoir.items) == 5
        counts.update(e.id for e in reservoir.items)
    # 20 examples, each kept with probability 1/4: 750 times, standard deviation 24
    assert len(counts) == 20
    assert all(abs(n - 750) < 5 * 24 for n in counts.values())


def test_the_reservoir_stays_uniform_after_it_forgot() -> None:
    counts: Counter[str] = Counter()
    gone = set(examples("a", 5))
    for seed in range(3000):
        reservoir, rng = Reservoir[Example](5), random.Random(seed)
        reservoir.add(examples("a", 10), rng)
        reservoir.remove(lambda example: example in gone)
        reservoir.add(examples("b", 15), rng)
        counts.update(e.id for e in reservoir.items)
    assert not any(counts[f"a{i}"] for i in range(5))
    assert all(counts[f"b{i}"] > 0 for i in range(15))
    assert max(counts[f"a{i}"] for i in range(5, 10)) < 1.5 * min(
        counts[f"b{i}"] for i in range(15)
    )
