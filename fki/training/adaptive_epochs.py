"""The epochs of an adaptive replay policy: chosen when they begin, heard when they end.

The policy's state changes only between epochs. A checkpoint within an epoch therefore stores the
state at its beginning, which determines the same choice again, and the losses so far.
"""

from collections.abc import Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from fki.core.errors import DataError
from fki.core.types import Example, Period
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.modeling.encoder_cache import source_key
from fki.replay.base import AdaptiveReplay, Epoch
from fki.training.loss_record import LossRecord
from fki.training.own_answers import OwnAnswers


class AdaptiveEpochs:
    """Where a period stands: the open epoch, its examples and their losses so far."""

    def __init__(
        self,
        replay: AdaptiveReplay,
        tokenizer: ExampleTokenizer,
        accelerator: Accelerator,
        review: Sequence[Example],
        seed: int,
        answers: OwnAnswers | None,
    ) -> None:
        """`answers`: where the policy trains old questions with the model's own answers."""
        self.replay, self.tokenizer, self.accelerator = replay, tokenizer, accelerator
        self.review, self.seed, self.answers = review, seed, answers
        self.epoch = 0  # the open one, or the next one to open
        self.steps_before = 0  # optimizer steps of the period before this epoch
        self.record: LossRecord | None = None  # of the open epoch
        self.sources: list[list[int]] = []  # questions that the period may train, as token ids
        self.earlier_sources: set[bytes] = set()  # keys of those of the preceding period
        self._saved: Tensor | None = None  # the record of a checkpoint, until its epoch is opened
        self._period: Period | None = None

    @property
    def has_begun(self) -> bool:
        """Has a period begun?"""
        return self._period is not None

    def begin_period(self, period: Period) -> None:
        """Bring the policy to the period; a repeated call has no effect."""
        if period is self._period:
            return
        pieces = self.tokenizer.split_into_pieces(period.examples)
        self.replay.begin_period(period, pieces, self.review, self.seed)
        self.earlier_sources = set(map(source_key, self.sources))
        old = [e.source for e in self.replay.old_examples() if not e.is_text]
        new = [source for e in pieces if not e.is_text for source in e.sources]
        self.sources = self.tokenizer.tokenize_sources([*dict.fromkeys((*old, *new))])
        self.epoch, self.steps_before, self.record, self._saved = 0, 0, None, None
        self._period = period

    def sample(self, period: Period, examples: Sequence[Example], number: int) -> Sequence[Example]:
        """Examples in the number of the epoch's, for plans."""
        return self.replay.sample(self._epoch(period, examples, number))

    def open_epoch(self, period: Period, examples: Sequence[Example]) -> Sequence[Example]:
        """Choose the examples of the next epoch."""
        return self.replay.choose(self._epoch(period, examples, self.epoch))

    def _epoch(self, period: Period, examples: Sequence[Example], number: int) -> Epoch:
        pieces = self.tokenizer.split_into_pieces(examples)
        return Epoch(period, number, pieces, self.review, self.seed)

    def start_record(self, examples: int) -> None:
        """Record losses of the open epoch from now on, after those of a checkpoint."""
        self.record = LossRecord.of_size(examples, self.accelerator.device)
        if self._saved is not None and self.accelerator.is_main_process:
            self.record.sums += self._saved.to(self.record.sums.device)
        self._saved = None

    def add_losses(self, members: Sequence[TokenizedExample], nats: Tensor) -> None:
        """Record a forward pass of the open epoch; `nats` [scored tokens]."""
        assert self.record is not None
        self.record.add(members, nats)

    def close_epoch(self, steps: int) -> None:
        """The policy hears the losses of the open epoch, if there is one.

        Args:
            steps: optimizer steps of the period up to here.
        """
        if self.record is not None:
            worst, mean = self.record.gather(self.accelerator).losses()
            self.replay.hear(worst.tolist(), mean.tolist())
            self.epoch, self.steps_before, self.record = self.epoch + 1, steps, None

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint; all processes call it."""
        state = {
            f"policy.{name}": torch.tensor(values, dtype=torch.float64)
            for name, values in self.replay.state().items()
        }
        state["epoch"] = torch.tensor([self.epoch, self.steps_before])
        if self.record is not None:
            state["record"] = self.record.gather(self.accelerator).sums
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a stored state, after `begin_period`. Raises DataError if it does not fit."""
        prefix = "policy."
        policy = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
        self.replay.load_state({name: tensor.tolist() for name, tensor in policy.items()})
        try:
            self.epoch, self.steps_before = state["epoch"].tolist()
        except (KeyError, ValueError):
            raise DataError("The state of the replay in the checkpoint is damaged.") from None
        self._saved = state.get("record")
