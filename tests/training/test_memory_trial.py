"""The peak memory of a plan is measured on the largest batches of the run."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fki.config.resolve import ResolvedConfig
from fki.training import memory_trial, peak_memory
from fki.training.estimate import estimate_run
from fki.training.memory_trial import LargestBatches, measure_peak
from fki.training.session import Session, build_session

SHORT = {"train_batch_size": 2, "eval_batch_size": 2, "num_train_epochs": 1}
Resolved = Callable[..., ResolvedConfig]


def find_largest(ready: Session) -> LargestBatches:
    largest = LargestBatches(ready.trainer.batcher)
    for period in ready.periods:
        largest.look_at(period, ready.tokenizer.encode(period.examples))
    return largest


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}, {"pack_length": 0}])
def test_the_largest_batches_are_those_of_a_search_by_brute_force(
    resolved: Resolved, settings: dict[str, Any]
) -> None:
    ready = build_session(resolved(**SHORT, **settings).config)
    sizes = [
        (micro_batch.input_ids.numel(), len(micro_batch.scored_positions))
        for period in ready.periods
        for batch in ready.trainer.batcher.iter_batches(
            ready.tokenizer.encode(period.examples), period.name, 0
        )
        for micro_batch in batch.micro_batches
    ]
    tokens, targets = zip(*sizes, strict=True)
    found = [ready.trainer.batcher.collate(b) for b in find_largest(ready).distinct()]
    parts = [part for batch in found for part in batch.micro_batches]
    assert max(part.input_ids.numel() for part in parts) == max(tokens)
    assert max(len(part.scored_positions) for part in parts) == max(targets)


def test_the_peak_is_read_while_gradients_and_optimizer_state_are_in_memory(
    resolved: Resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = build_session(resolved(**SHORT).config)
    before = {name: p.detach().clone() for name, p in ready.model.named_parameters()}
    events = []

    def read_peak() -> float:
        optimizer = ready.trainer.optimizer
        assert optimizer is not None and len(optimizer.state) == len(before)
        assert all(p.grad is not None for p in ready.model.parameters())
        events.append("read")
        return 100.0

    def predict(model: Any, probes: Any) -> None:
        events.append(f"{len(probes)} longest probes")

    monkeypatch.setattr(peak_memory, "reset_peak_memory", lambda: events.append("reset"))
    monkeypatch.setattr(peak_memory, "peak_memory_mib", read_peak)
    monkeypatch.setattr(ready.evaluator, "predict", predict)
    peak = measure_peak(ready, find_largest(ready), len(ready.phases))
    copied = sum(tensor.nbytes for tensor in before.values())  # by the trial, not by a run
    assert peak == 100 * 2**20 - copied
    assert events == ["reset", "4 longest probes", "read"]
    assert ready.trainer.optimizer is None
    for name, parameter in ready.model.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.grad is None


def test_the_longest_probes_are_scored(resolved: Resolved) -> None:
    ready = build_session(resolved(**SHORT).config)
    last = len(ready.phases)
    row = ready.schedule.row(last)
    lengths = sorted(len(ids) for cell in row for ids in tokenize(ready, cell.probes))
    found = sorted(map(len, tokenize(ready, memory_trial._longest_probes(ready, last))))
    assert found == lengths[-2 * ready.config.eval_batch_size :]


def tokenize(ready: Session, probes: Any) -> list[list[int]]:
    return ready.tokenizer.tokenize_sources([probe.source for probe in probes])


@pytest.mark.parametrize("settings", [{"check_validation": True}, {"replay": "prioritized"}])
def test_the_peak_holds_what_is_kept(resolved: Resolved, settings: dict[str, Any]) -> None:
    found = estimate_run(resolved(**SHORT, **settings).config)
    assert found.peak is not None and found.peak > found.memory


def test_a_system_without_such_a_figure_has_no_peak(
    resolved: Resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak_memory, "peak_memory_mib", lambda: None)
    assert estimate_run(resolved(**SHORT).config).peak is None
