"""Do intervals hold the truth as often as they say, and do tests find what is not there?

    python -m benchmarks.coverage [--trials 2000] [--draws 1000]

Runs are simulated with what real ones have: subjects of unlike difficulty with one to several
probes each, seeds that are better or worse, and answers by chance. The truth is the mean over all
subjects and seeds that there could be. Printed is how often the 95 % interval of an arm and of a
difference of two equal arms holds it, and how often the test says that equal arms differ.
"""

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fki.metrics.bootstrap import (
    BootstrapResult,
    difference_of_means,
    draw_weights,
    mean_over_seeds,
)
from fki.metrics.significance import mcnemar

Rng = np.random.Generator
Floats = NDArray[np.float64]


class World(NamedTuple):
    """What trials are drawn from."""

    seeds: int
    subjects: int
    level: float  # logits, of the mean answer
    subject: float  # standard deviation between subjects, logits
    seed: float  # between seeds, logits
    arm: float  # between arms on one subject, logits; its mean is zero


WORLDS = [
    World(seeds, subjects, level, subject, seed, arm)
    for seeds in (1, 3, 5)
    for subjects in (100, 600)
    for level in (0.0, 1.5)
    for subject, seed, arm in ((2.0, 0.0, 0.0), (2.0, 0.2, 0.5))
    if seeds > 1 or seed == 0.0
]


def sigmoid(logits: Floats) -> Floats:
    """From logits to probabilities."""
    return 1 / (1 + np.exp(-logits))


def truth(world: World, rng: Rng) -> float:
    """The mean exact match over all subjects, seeds and arms, %."""
    deviation = np.sqrt(world.subject**2 + world.seed**2 + world.arm**2)
    return float(100 * sigmoid(world.level + deviation * rng.standard_normal(4_000_000)).mean())


def trial(world: World, rng: Rng) -> tuple[list[Floats], NDArray[np.int64]]:
    """Two arms' answers [seeds, probes], 0 or 1, and each probe's subject [probes]."""
    probes = rng.integers(1, 4, world.subjects)
    of = np.repeat(np.arange(world.subjects), probes)
    subject = world.level + world.subject * rng.standard_normal(world.subjects)
    answers = []
    for _ in range(2):
        arm = world.arm * rng.standard_normal(world.subjects)
        seed = world.seed * rng.standard_normal((world.seeds, 1))
        right = rng.random((world.seeds, len(of))) < sigmoid((subject + arm)[of] + seed)
        answers.append(right.astype(float))
    return answers, of


def scores(answers: Floats, of: NDArray[np.int64], drawn: NDArray[np.float32]) -> Floats:
    """[seeds, 1 + draws]: exact match in each draw, %."""
    number = drawn.shape[1]
    right = np.stack([np.bincount(of, row, number) for row in answers])
    asked = np.bincount(of, minlength=number)
    return 100 * (right @ drawn.T) / (asked @ drawn.T)


def rates(world: World, trials: int, draws: int) -> list[float]:
    """How often the interval holds the truth, of an arm, of a difference paired by seeds and of one
    that is not; how often the paired test rejects at 5 %, at 0.1 %, and McNemar's at 5 %."""
    rng = np.random.default_rng(0)
    expected = truth(world, rng)
    found = []
    for number in range(trials):
        answers, of = trial(world, rng)
        drawn = draw_weights(world.subjects, draws=draws, seed=number)
        ours, theirs = (scores(one, of, drawn) for one in answers)
        paired = difference_of_means(ours, theirs, is_paired=True)
        apart = difference_of_means(ours, theirs, is_paired=False)
        p = paired.p_value() or 0.0
        exact = mcnemar(*(a[0] for a in answers)) if world.seeds == 1 else np.nan
        held = [_holds(mean_over_seeds(ours), expected), _holds(paired, 0.0), _holds(apart, 0.0)]
        found.append([*held, p < 0.05, p < 0.001, exact < 0.05])
    *means, exact = np.mean(found, 0)
    return [*means, exact if world.seeds == 1 else np.nan]


def _holds(found: BootstrapResult, truth: float) -> bool:
    low, high = found.interval() or (np.inf, -np.inf)
    return low <= truth <= high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=1000)
    chosen = parser.parse_args()
    heads = (
        *("interval of an arm", "of a difference, paired", "of one that is not"),
        *("p < 0.05", "p < 0.001", "McNemar's p < 0.05"),
    )
    print(f"| {' | '.join((*World._fields, *heads))} |\n|{'---|' * (len(heads) + 6)}")
    for world in WORLDS:
        cells = [
            f"{100 * r:.2f}" if r < 0.01 else f"{100 * r:.1f}"
            for r in rates(world, chosen.trials, chosen.draws)
        ]
        print(f"| {' | '.join([*map(str, world), *cells])} |", flush=True)


if __name__ == "__main__":
    main()
