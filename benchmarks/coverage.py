"""Measure the coverage of the confidence intervals and the false positives of the tests.

    python -m benchmarks.coverage [--trials 2000] [--draws 1000] [--extremes] [--without-prior]

Simulated runs have subjects of different difficulty with one to three probes each, seeds of
different quality, and random answers. The true value is the mean over the population of subjects
and seeds. The table has the share of trials in which the 95 % interval of an arm, and of the
difference of two equal arms, contains the true value, and in which a test rejects equality. The
worlds of `--extremes` have few subjects and true values near 0 or 100 %.
"""

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fki.metrics.bootstrap import (
    BootstrapResult,
    add_prior,
    difference_of_means,
    draw_weights,
    effective_clusters,
    mean_over_seeds,
)
from fki.metrics.significance import mcnemar

Rng = np.random.Generator
Floats = NDArray[np.float64]


class World(NamedTuple):
    """The population from which trials are sampled."""

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
EXTREMES = [
    World(seeds, subjects, level, 2.0, 0.0, 0.0)
    for seeds in (1, 3)
    for subjects in (5, 20, 100)
    for level in (-9.0, -6.0, 4.5)
]


def sigmoid(logits: Floats) -> Floats:
    """Convert logits to probabilities."""
    return 1 / (1 + np.exp(-logits))


def true_score(world: World, rng: Rng) -> float:
    """The mean exact match over all subjects, seeds and arms, %."""
    deviation = np.sqrt(world.subject**2 + world.seed**2 + world.arm**2)
    return float(100 * sigmoid(world.level + deviation * rng.standard_normal(4_000_000)).mean())


def simulate_trial(world: World, rng: Rng) -> tuple[list[Floats], NDArray[np.int64]]:
    """Simulate two arms: answers [seeds, probes], 0 or 1, and subjects of the probes [probes]."""
    probes = rng.integers(1, 4, world.subjects)
    subject_of = np.repeat(np.arange(world.subjects), probes)
    subject = world.level + world.subject * rng.standard_normal(world.subjects)
    answers = []
    for _ in range(2):
        arm = world.arm * rng.standard_normal(world.subjects)
        seed = world.seed * rng.standard_normal((world.seeds, 1))
        correct = rng.random((world.seeds, len(subject_of))) < sigmoid(
            (subject + arm)[subject_of] + seed
        )
        answers.append(correct.astype(float))
    return answers, subject_of


def bootstrap_scores(
    answers: Floats, subject_of: NDArray[np.int64], drawn: NDArray[np.float32]
) -> Floats:
    """Exact match in each draw, %: [seeds, 1 + draws]."""
    number = drawn.shape[1]
    correct = np.stack([np.bincount(subject_of, row, number) for row in answers])
    total = np.bincount(subject_of, minlength=number)
    return 100 * (correct @ drawn.T) / (total @ drawn.T)


def rates(world: World, trials: int, draws: int, *, has_prior: bool = True) -> list[float]:
    """Coverage of the interval of an arm, of a difference paired by seeds, and of an unpaired one;
    rejection rates of the paired test at 5 % and 0.1 %, and of McNemar's test at 5 %."""
    rng = np.random.default_rng(0)
    expected = true_score(world, rng)
    outcomes = []
    for number in range(trials):
        answers, subject_of = simulate_trial(world, rng)
        drawn = draw_weights(world.subjects, draws=draws, seed=number)
        first, second = (bootstrap_scores(one, subject_of, drawn) for one in answers)
        if has_prior:
            clusters = effective_clusters(np.bincount(subject_of))
            first, second = (
                np.stack([add_prior(run, clusters, 2 * number + arm) for run in runs])
                for arm, runs in enumerate((first, second))
            )
        paired = difference_of_means(first, second, is_paired=True)
        apart = difference_of_means(first, second, is_paired=False)
        p = paired.p_value() or 0.0
        exact = mcnemar(*(a[0] for a in answers)) if world.seeds == 1 else np.nan
        contained = [
            _contains(mean_over_seeds(first), expected),
            _contains(paired, 0.0),
            _contains(apart, 0.0),
        ]
        outcomes.append([*contained, p < 0.05, p < 0.001, exact < 0.05])
    *means, exact = np.mean(outcomes, 0)
    return [*means, exact if world.seeds == 1 else np.nan]


def _contains(result: BootstrapResult, true_value: float) -> bool:
    low, high = result.interval() or (np.inf, -np.inf)
    return low <= true_value <= high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--extremes", action="store_true", help="true values near 0 or 100 %%")
    parser.add_argument("--without-prior", action="store_true", help="as before the prior")
    options = parser.parse_args()
    heads = (
        *("interval of an arm", "of a difference, paired", "unpaired"),
        *("p < 0.05", "p < 0.001", "McNemar's p < 0.05"),
    )
    print(f"| {' | '.join((*World._fields, *heads))} |\n|{'---|' * (len(heads) + 6)}")
    for world in EXTREMES if options.extremes else WORLDS:
        cells = [
            f"{100 * r:.2f}" if r < 0.01 else f"{100 * r:.1f}"
            for r in rates(
                world, options.trials, options.draws, has_prior=not options.without_prior
            )
        ]
        print(f"| {' | '.join([*map(str, world), *cells])} |", flush=True)


if __name__ == "__main__":
    main()
