"""The time-limited stream: a method that takes too long for a period learns a part of its rows.

With `stream_seconds`, the share follows from the time of a whole period: a trial step is measured
when the run starts, and the share is the same in each period, as in CFInjectBench's stream setting.
There the times were constants of one machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from accelerate.utils import broadcast_object_list

from fki.config.schema import Config
from fki.core.formatting import format_number
from fki.core.types import Period
from fki.data.stream_share import thin_period
from fki.evaluation.schedule import Phase
from fki.methods.base import make_method
from fki.replay.base import AdaptiveReplay, Epoch, make_replay

if TYPE_CHECKING:
    from fki.training.trainer import Trainer

TRIALS = 2  # of a step; the first one also warms up
MIN_SHARE = 1e-9  # a period keeps at least one row


@dataclass(frozen=True, slots=True)
class StreamLimit:
    """The share of each period's rows that a run trains on."""

    share: float = 1.0
    seconds: float = 0.0  # of training on a whole period, on average; 0: not measured

    def describe(self) -> str:
        """The share as a phrase; "" for the whole stream."""
        if self.share == 1.0 and not self.seconds:
            return ""
        share = f"{self.share:.3g} of each period's rows, drawn at random, at least one"
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
    whole, half = count_work(config, trainer, periods), count_work(config, trainer, halve(periods))
    seconds = step * whole.steps / len(periods)
    # replayed examples are as many as new ones allow, or, of joint training, always the same
    fixed = max(0.0, 2 * half.examples / whole.examples - 1)
    share = (config.stream_seconds / seconds - fixed) / (1 - fixed) if fixed < 1 else 1.0
    limit = [StreamLimit(min(1.0, max(share, MIN_SHARE)), seconds)]
    if trainer.accelerator.num_processes > 1:
        broadcast_object_list(limit)  # from the first process
    return limit[0]


class Work(NamedTuple):
    """The training of all periods, with the examples that method and replay add."""

    examples: int
    steps: int


def count_work(config: Config, trainer: "Trainer", periods: Sequence[Period]) -> Work:
    """Count with a method and a policy of their own: those of the run must see each period once."""
    method, replay = make_method(config), make_replay(config)
    review, planner, tokenizer = trainer.review, trainer.planner, trainer.tokenizer
    total = Work(0, 0)
    for period in periods:
        if isinstance(replay, AdaptiveReplay):  # each epoch has the same number of places
            pieces = tokenizer.split_into_pieces(period.examples)
            replay.begin_period(period, pieces, review, config.seed)
            sample = replay.sample(Epoch(period, 0, pieces, review, config.seed))
            counts = [len(sample)] * config.num_train_epochs
        else:
            mixed = (
                Epoch(period, e, method.mix(period, review, e, config.seed), review, config.seed)
                for e in range(config.num_train_epochs)
            )
            counts = [tokenizer.count_examples(replay.choose(epoch)) for epoch in mixed]
        steps = sum(map(planner.batcher.steps_per_epoch, counts))
        if config.budget.tokens or config.budget.flops:  # they end a period at any step
            steps = planner.expected_steps(period)
        steps = min(steps, config.budget.steps or steps)
        total = Work(total.examples + sum(counts), total.steps + steps)
    return total


def halve(periods: Sequence[Period]) -> list[Period]:
    """The periods with half of their examples."""
    return [replace(p, examples=[*islice(p.examples, len(p.examples) // 2)]) for p in periods]


def thin_phases(phases: Sequence[Phase], share: float, seed: int) -> list[Phase]:
    """The phases with this share of each period's rows; probes are not affected."""
    if share == 1.0:
        return [*phases]
    return [
        phase._replace(periods=tuple(thin_period(p, share, seed) for p in phase.periods))
        for phase in phases
    ]
