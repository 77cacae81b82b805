"""The time-limited stream: a method that takes too long for a period learns a part of its rows.

With `stream_seconds`, the share follows from the time of a whole period: a trial step is measured
when the run starts, and the share is the same in each period, as in CFInjectBench's stream setting.
There the times were constants of one machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accelerate.utils import broadcast_object_list

from fki.config.schema import Config
from fki.core.formatting import format_number
from fki.core.types import Period
from fki.data.stream_share import thin_period
from fki.evaluation.schedule import Phase

if TYPE_CHECKING:
    from fki.training.trainer import Trainer

TRIALS = 2  # of a step; the first one also warms up


@dataclass(frozen=True, slots=True)
class StreamLimit:
    """The share of each period's rows that a run trains on."""

    share: float = 1.0
    seconds: float = 0.0  # of training on a whole period, on average; 0: not measured

    def describe(self) -> str:
        """The share as a phrase; "" for the whole stream."""
        if self.share == 1.0 and not self.seconds:
            return ""
        share = f"{self.share:.3g} of each period's rows, drawn at random"
        if not self.seconds:
            return share
        seconds = format_number(self.seconds, 1)
        return f"{share}; training on a whole period takes {seconds} s, by a short trial"


def choose_limit(
    config: Config, trainer: "Trainer", periods: Sequence[Period], recorded: StreamLimit | None
) -> StreamLimit:
    """Resolve `stream_share` and `stream_seconds`; all processes of a run get the same share.

    Args:
        periods: whole ones.
        recorded: the limit of the run that is resumed, which stays.
    """
    if not config.stream_seconds or not periods:
        return StreamLimit(config.stream_share)
    if recorded is not None:
        return recorded
    largest = max(periods, key=lambda period: len(period.examples))
    step = min(trainer.time_step(largest) for _ in range(TRIALS))
    steps = sum(trainer.planner.expected_steps(period) for period in periods)
    seconds = step * steps / len(periods)
    limit = [StreamLimit(min(1.0, config.stream_seconds / seconds), seconds)]
    if trainer.accelerator.num_processes > 1:
        broadcast_object_list(limit)  # from the first process
    return limit[0]


def thin_phases(phases: Sequence[Phase], share: float, seed: int) -> list[Phase]:
    """The phases with this share of each period's rows; probes are not affected."""
    if share == 1.0:
        return [*phases]
    return [
        phase._replace(periods=tuple(thin_period(p, share, seed) for p in phase.periods))
        for phase in phases
    ]
