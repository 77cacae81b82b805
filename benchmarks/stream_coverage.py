"""Measure the coverage of the confidence intervals of the metrics over the stream.

    python -m benchmarks.stream_coverage [--trials 1000] [--draws 1000] [--without-prior]

A simulated run answers probes of several periods and kept probes, one probe a subject. A probe is
answered correctly where its difficulty is below the true share of its cell of R; it keeps its
difficulty from row to row but for a part that is drawn again. So at true values near 0 or 100 %,
hardly an answer changes. The table has the share of trials in which the 95 % interval of an arm,
and of the difference of two equal arms, contains the true value, among those with an interval.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fki.comparison.bootstrap_metrics import BootstrapSample, ResampledRun
from fki.core.probe_sets import BASE
from fki.metrics.bootstrap import BootstrapResult, difference_of_means, mean_over_seeds
from fki.metrics.continual import StreamScores
from fki.metrics.registry import STREAM_METRICS
from fki.runs.outcomes import AnsweredCell, Outcomes
from fki.runs.run_dir import Run

Rng = np.random.Generator
Floats = NDArray[np.float64]
TOKENS, SECONDS = 1000.0, 1.0

# worlds have no distractors
METRICS = [m for m in STREAM_METRICS if not m.key.startswith("edit_score")]


class World(NamedTuple):
    """The population from which trials are sampled."""

    periods: int
    subjects: int  # of each period
    before: float  # true share of correct answers before training on a period
    learned: float  # right after it; of kept probes, before the stream
    after: float  # in later rows; of kept probes, from the first row on
    redrawn: float  # share of difficulties that are drawn again in each row


WORLDS = (
    World(2, 5, 0.001, 0.999, 0.999, 0.0),
    World(4, 5, 0.001, 0.999, 0.999, 0.0),
    World(4, 20, 0.01, 0.99, 0.99, 0.0),
    World(4, 20, 0.01, 0.99, 0.95, 0.0),
    World(4, 20, 0.1, 0.6, 0.6, 0.0),
    World(4, 20, 0.1, 0.6, 0.5, 0.2),
    World(12, 5, 0.02, 0.95, 0.93, 0.1),
    World(4, 100, 0.1, 0.6, 0.5, 0.2),
)


def true_shares(world: World) -> Floats:
    """[P + 1, P + 1]: the true share of each row's cells; the last column is the kept probes."""
    row, column = np.indices((world.periods + 1, world.periods + 1))
    lag = row - column - 1
    shares = np.select([lag < 0, lag == 0], [world.before, world.learned], world.after)
    shares[:, -1] = world.after
    shares[0, -1] = world.learned
    return shares


def true_values(world: World) -> dict[str, float]:
    """The stream metrics of the true shares, by key."""
    shares = 100 * true_shares(world)[..., None]
    matrix = shares[:, :-1]
    pairs = {"new": matrix[[0, -1]].mean(1), "invariant": shares[[0, -1], -1]}
    counts = np.full((world.periods, 1), float(world.subjects))
    scores = StreamScores(matrix, counts, pairs, TOKENS, SECONDS)
    return {m.key: float(m.compute(scores).item()) for m in METRICS if m.compute}


def simulate_arm(world: World, rng: Rng) -> Outcomes:
    """The answers of one run."""
    periods = tuple(f"p{number}" for number in range(world.periods))
    cells = []
    for period in (*periods, BASE):
        ids = tuple(f"{period} {number}" for number in range(world.subjects))
        cells.append(AnsweredCell("invariant" if period == BASE else "new", period, True, ids, ids))
    difficulty = rng.random((world.periods + 1, world.subjects))
    rows = []
    for shares in true_shares(world):
        is_redrawn = rng.random(difficulty.shape) < world.redrawn
        difficulty = np.where(is_redrawn, rng.random(difficulty.shape), difficulty)
        answers = (difficulty < shares[:, None]).astype(np.uint8)
        rows.append(dict(enumerate(answers)))
    return Outcomes(
        tuple(cells), "simulated", (BASE, *periods), periods, tuple(rows), Run(Path("simulated"))
    )


def rates(
    world: World, trials: int, draws: int, *, has_prior: bool = True
) -> dict[str, tuple[float, float]]:
    """By key, the coverage of the interval of an arm, and of the difference of two equal arms; NaN
    where no trial has an interval."""
    rng = np.random.default_rng(0)
    expected = true_values(world)
    contained: dict[str, tuple[list[bool], list[bool]]] = {key: ([], []) for key in expected}
    for number in range(trials):
        runs = [simulate_arm(world, rng) for _ in range(2)]
        sample = BootstrapSample(runs, draws, seed=number)
        first, second = (
            ResampledRun(run, sample).stream(
                TOKENS, SECONDS, arm=2 * number + arm if has_prior else None
            )
            for arm, run in enumerate(runs)
        )
        for key, (of_arm, of_difference) in contained.items():
            ours, theirs = first[key][None], second[key][None]
            if np.isfinite(ours[0, 0]):
                _add(of_arm, mean_over_seeds(ours), expected[key])
            if np.isfinite(ours[0, 0] + theirs[0, 0]):
                _add(of_difference, difference_of_means(ours, theirs, is_paired=True), 0.0)
    return {key: (_mean(arm), _mean(off)) for key, (arm, off) in contained.items()}


def _add(contained: list[bool], result: BootstrapResult, true_value: float) -> None:
    """Nothing where there is no interval."""
    ends = result.interval()
    if ends is not None:
        contained.append(ends[0] - 1e-4 <= true_value <= ends[1] + 1e-4)  # sums are in float32


def _mean(contained: list[bool]) -> float:
    return float(np.mean(contained)) if contained else np.nan


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--without-prior", action="store_true", help="as before the prior")
    options = parser.parse_args()
    heads = (*World._fields, *(metric.label for metric in METRICS))
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for world in WORLDS:
        found = rates(world, options.trials, options.draws, has_prior=not options.without_prior)
        cells = [f"{100 * arm:.1f} / {100 * off:.1f}" for arm, off in found.values()]
        print(f"| {' | '.join([*map(str, world), *cells])} |", flush=True)


if __name__ == "__main__":
    main()
