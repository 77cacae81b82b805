"""The record has each example's nats, however the examples are batched."""

import math

import pytest
import torch

from fki.data.collator import TokenizedExample
from fki.training.loss_record import LossRecord

CPU = torch.device("cpu")


def member(number: int, length: int) -> TokenizedExample:
    return TokenizedExample([1], [0] * length, number=number)


def test_nats_are_split_by_the_lengths_of_the_targets() -> None:
    record = LossRecord.of_size(4, CPU)
    record.add([member(2, 3), member(0, 1)], torch.tensor([0.5, 2.0, 1.0, 4.0]))
    record.add([member(1, 2)], torch.tensor([0.25, 0.5]))
    worst, mean = record.losses()
    assert worst[:3].tolist() == [4.0, 0.5, 2.0]
    assert mean[:3].tolist() == pytest.approx([4.0, 0.375, 3.5 / 3])
    assert math.isnan(worst[3]) and math.isnan(mean[3])


def test_a_loss_that_is_not_finite_is_infinite() -> None:
    record = LossRecord.of_size(2, CPU)
    record.add([member(0, 2), member(1, 1)], torch.tensor([math.nan, 1.0, 3.0]))
    worst, mean = record.losses()
    assert worst.tolist() == [math.inf, 3.0] and mean.tolist() == [math.inf, 3.0]


def test_a_process_without_examples_adds_nothing() -> None:
    record = LossRecord.of_size(1, CPU)
    record.add([], torch.tensor([]))
    assert math.isnan(record.losses()[0][0])


def test_gradients_do_not_reach_the_record() -> None:
    record = LossRecord.of_size(1, CPU)
    record.add([member(0, 1)], torch.tensor([1.0], requires_grad=True))
    assert not record.sums.requires_grad


def test_only_the_last_pass_of_a_repeated_step_counts() -> None:
    record = LossRecord.of_size(2, CPU)
    record.add([member(0, 2), member(1, 1)], torch.tensor([5.0, 3.0, 2.0]))
    record.restart([member(0, 2)])
    record.add([member(0, 2)], torch.tensor([0.5, 0.25]))
    worst, mean = record.losses()
    assert worst.tolist() == [0.5, 2.0] and mean.tolist() == [0.375, 2.0]
