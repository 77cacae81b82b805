"""The replay contract: which older examples train beside a period's own.

A policy is independent of the method: the method decides what trains and how, the policy decides
which examples an epoch has. `choose` is called once for each epoch. The base class is no replay.

The choice of an adaptive policy depends on the losses in training. It is made when the epoch
begins; when the epoch ends, the policy hears the loss of each example. Its state is stored in
checkpoints.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from fki.config.schema import Config, Options
from fki.core import registry
from fki.core.types import Example, Period


class Epoch(NamedTuple):
    """An epoch whose examples are to be chosen."""

    period: Period
    number: int  # from 0
    examples: Sequence[Example]  # of the period, as the method trains them in this epoch
    review: Sequence[Example]  # older examples: the rows of `corpus`, or else the base knowledge
    seed: int


class Replay:
    """No replay; the base class of all policies.

    Attributes:
        config: the run's settings.
        options: the policy's own settings.
    """

    Options: ClassVar[type[Options]] = Options

    def __init__(self, config: Config, options: Any = None) -> None:
        """Raises ConfigError if options contradict each other."""
        self.config = config
        self.options = self.Options() if options is None else options

    @property
    def corpus(self) -> str:
        """The file of examples for `review` in `choose`; "" for the stream's base knowledge."""
        return ""

    def choose(self, epoch: Epoch) -> Sequence[Example]:
        """Return the examples of one epoch, in any order.

        The result may depend only on the argument and on earlier periods. Periods come in the
        stream's order. Epochs come in order up to the end of the budget, or a resumed run calls
        only the last one.
        """
        return epoch.examples


class AdaptiveReplay(Replay):
    """A policy whose choice depends on the losses in training.

    An example of a document is a single piece of it (`Example.piece`).
    """

    @property
    def answers_by_model(self) -> bool:
        """Are examples without target chosen, to which the model's own answer is to be added?"""
        return False

    def begin_period(
        self, period: Period, examples: Sequence[Example], review: Sequence[Example], seed: int
    ) -> None:
        """Prepare the choice among older examples and the period's own.

        Called before each `choose`, `sample` and `load_state`; a repeated call with the same period
        has no effect.
        """
        raise NotImplementedError

    def sample(self, epoch: Epoch) -> Sequence[Example]:
        """As many examples as `choose` returns, of similar length, without any loss.

        Plans and learning-rate schedules need them before training.
        """
        raise NotImplementedError

    def old_examples(self) -> list[Example]:
        """Older examples that `choose` may return in this period, in each of their wordings."""
        raise NotImplementedError

    def stale(self, number: int, epochs: int) -> Sequence[Example]:
        """Examples whose losses forward passes measure before `choose`, without training.

        Args:
            number: of the epoch that begins, from 0.
            epochs: of the period.
        """
        return ()

    def refresh(self, worst: Sequence[float], mean: Sequence[float]) -> None:
        """Take up the losses of the examples that `stale` returned; arguments as for `hear`."""

    def hear(self, worst: Sequence[float], mean: Sequence[float]) -> None:
        """Take up the losses of an epoch that has ended.

        Args:
            worst: [N] nats of the least likely target token of each example that `choose` returned
                last, in its order; NaN if the example was not trained.
            mean: [N] likewise, the mean over its target tokens.
        """
        raise NotImplementedError

    def state(self) -> Mapping[str, Sequence[float]]:
        """What was heard in ended epochs; checkpoints store it."""
        raise NotImplementedError

    def load_state(self, state: Mapping[str, Sequence[float]]) -> None:
        """Take over a stored state. Raises DataError if it does not fit."""
        raise NotImplementedError


def make_replay(config: Config) -> Replay:
    """Make the configured policy with its options. Raises ConfigError as its class."""
    name = registry.replay_of(config.replay, config.method)
    cls: type[Replay] = registry.replay_class(name)
    return cls(config, cls.Options(**config.options_for(registry.REPLAY[name].table)))
