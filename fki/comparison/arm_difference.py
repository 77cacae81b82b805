"""The difference of two arms in one metric, paired by seed where both have the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import harmonic_mean

import numpy as np
from numpy.typing import NDArray

from fki.metrics.bootstrap import BootstrapResult, difference_of_means
from fki.metrics.power import ALPHA, seeds_needed

Values = NDArray[np.float64]  # [runs, 1 + draws]


@dataclass(frozen=True, slots=True)
class ArmDifference:
    """One arm minus another."""

    result: BootstrapResult
    seeds: float  # of each arm; of unequal numbers, the harmonic mean
    is_paired: bool

    def seeds_needed(self, tests: int) -> int | None:
        """The seeds that would show this difference among so many tests, see `seeds_needed`.

        For a difference without evidence: more than the seeds that there are.
        """
        alpha = ALPHA / max(1, tests)
        needed = seeds_needed(self.result, self.seeds, is_paired=self.is_paired, alpha=alpha)
        return None if needed is None else max(needed, int(self.seeds) + 1)


def subtract_arms(
    ours: Values, theirs: Values, our_seeds: Sequence[int], their_seeds: Sequence[int]
) -> ArmDifference | None:
    """The difference; None where a run of either arm has no value."""
    if not (np.isfinite(ours[:, 0]).all() and np.isfinite(theirs[:, 0]).all()):
        return None
    is_paired = list(our_seeds) == list(their_seeds) and len(set(our_seeds)) == len(our_seeds)
    result = difference_of_means(ours, theirs, is_paired=is_paired)
    return ArmDifference(result, harmonic_mean([len(ours), len(theirs)]), is_paired)
