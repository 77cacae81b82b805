"""Estimate the cost of a run without starting it: steps, tokens, memory, disk and time."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fki.config.schema import Budget, Config
from fki.core import registry
from fki.core.formatting import format_minutes
from fki.core.types import Example, Period
from fki.modeling import load
from fki.modeling.architecture import architecture_of
from fki.replay.base import Replay
from fki.training import session
from fki.training.budget import BudgetUsage
from fki.training.memory_trial import LargestBatches, measure_peak
from fki.training.run_lifecycle import peak_run_bytes
from fki.training.session import Session
from fki.training.trainer import Trainer

TIMED_PROBES = 64  # probes of the timed trial


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """The cost of a run; sizes in bytes."""

    periods: int
    first: str
    last: str
    rows: int
    probes: int
    steps: int
    batch_size: int
    tokens: int
    flops: float
    budget: str
    stream: str  # the share of the rows that is trained, as a phrase; "" for all
    total: int
    trainable: int
    added: int
    memory: int  # weights, gradients, optimizer state and the method's copies
    peak: int | None  # of memory: of the GPU, or else of the process; None: not reported
    disk: int
    precision: str
    precision_trial: str  # both speeds, as a phrase; "" if fp32 was set
    encoder: str
    replay: str
    states: int
    time: str
    minutes: float
    notes: dict[str, float]
    input_notes: list[str]  # about dates, and questions and answers that do not fit the model

    def as_dict(self) -> dict[str, Any]:
        """The fields for JSON output."""
        return asdict(self)


def estimate_run(config: Config) -> RunEstimate:
    """Build the run's session, count its batches and time a few forward passes.

    Raises FkiError if `train` would fail before its first step.
    """
    began = time.perf_counter()
    ready = session.build_session(config)
    set_up = time.perf_counter() - began
    periods = [p for phase in ready.phases for p in phase.periods]
    rows = 1 if config.check_validation else len(ready.phases) + 1
    first = sum(len(cell.probes) for cell in ready.schedule.row(0))
    probes = first if config.check_validation else ready.schedule.count_answers()
    largest = LargestBatches(ready.trainer.batcher)
    uses = _estimate_usage(ready, largest)
    total, trainable = load.count_parameters(ready.model)
    optimizer = ready.method.optimizer_bytes(ready.model).memory
    states = _encoder_cache_bytes(ready)
    seconds = set_up + _estimate_seconds(ready, probes, sum(used.steps for used in uses))
    minutes = round(seconds / 60, 2)
    return RunEstimate(
        periods=len(periods),
        first=periods[0].name,
        last=periods[-1].name,
        rows=rows,
        probes=probes,
        steps=sum(used.steps for used in uses),
        batch_size=ready.trainer.coreset.size(ready.trainer.batcher.batch_size),
        tokens=sum(used.tokens for used in uses),
        flops=sum(used.flops for used in uses),
        budget=describe_budget_use(config.budget, uses),
        stream=ready.stream_limit.describe(),
        total=total,
        trainable=trainable,
        added=ready.added_parameters,
        memory=sum(p.nbytes for p in ready.model.parameters())
        + 4 * trainable
        + optimizer
        + ready.method.copied_bytes(ready.model),
        peak=_measure_peak(ready, largest, rows - 1, states),
        disk=peak_run_bytes(ready),
        precision=_precision(ready),
        precision_trial=ready.precision.trial.describe() if ready.precision.trial else "",
        encoder=describe_encoder_use(ready),
        replay=registry.replay_of(config.replay, config.method),
        states=states,
        time=f"roughly {format_minutes(minutes)} on this machine, by a short trial",
        minutes=minutes,
        notes=ready.method.notes(max((used.steps for used in uses), default=0)),
        input_notes=ready.input_notes,
    )


def measure_process_memory(config: Config) -> int | None:
    """The peak memory of a run on a CPU in bytes, by the trial of `estimate_run`.

    Returns None on a GPU, and if the system does not report it. Raises FkiError as `estimate_run`.
    """
    ready = session.build_session(config)
    if ready.accelerator.device.type != "cpu":
        return None
    largest = LargestBatches(ready.trainer.batcher)
    _estimate_usage(ready, largest)
    row = 0 if config.check_validation else len(ready.phases)
    return _measure_peak(ready, largest, row, _encoder_cache_bytes(ready))


def _measure_peak(ready: Session, largest: LargestBatches, row: int, states: int) -> int | None:
    """The peak memory in bytes, with the encoder cache's states where a process maps them."""
    peak = measure_peak(ready, largest, row)
    if peak is not None and ready.accelerator.device.type == "cpu":
        peak += states  # pages of a mapped file count as memory of the process
    return peak


def _estimate_usage(ready: Session, largest: LargestBatches) -> list[BudgetUsage]:
    """The usage of each period, with the examples that method and replay mix in.

    Their largest batches are found on the way.

    It is counted batch by batch with a budget, with replay, with several wordings, with a coreset,
    and with repeated steps.
    """
    budget, trainer = ready.config.budget, ready.trainer
    if not ready.method.trains:
        return [BudgetUsage() for _ in ready.periods]
    is_limited = bool(budget.steps or budget.tokens or budget.flops)
    is_changed = trainer.coreset.is_on or ready.config.repeat_num > 1
    # with several wordings, an epoch's sources differ from those of the next
    is_changed |= ready.config.wordings > 1
    if is_limited or is_changed or type(trainer.replay) is not Replay:
        return [_count_period(trainer, period, largest) for period in ready.periods]
    return [_estimate_period(ready, period, largest) for period in ready.periods]


def _count_period(trainer: Trainer, period: Period, largest: LargestBatches) -> BudgetUsage:
    """The usage of all epochs, batch by batch."""
    plan = trainer.plan(period, count_usage=True)
    for first in plan.epochs[:1]:
        largest.look_at(period, trainer.planner.tokenize(period, 0, first))
    return plan.usage


def _estimate_period(ready: Session, period: Period, largest: LargestBatches) -> BudgetUsage:
    """The usage of all epochs; those with the same examples are counted once."""
    trainer, planner, seed = ready.trainer, ready.trainer.planner, ready.config.seed
    meter, usage = planner.flop_estimator.new_meter(), BudgetUsage()
    steps, tokens, flops, before = 0, 0, 0.0, None
    for epoch in range(ready.config.num_train_epochs):
        examples = trainer.method.mix(period, trainer.review, epoch, seed)
        if examples is not before:
            encoded = ready.tokenizer.encode(examples)
            if epoch == 0:
                largest.look_at(period, encoded)
            steps = planner.batcher.steps_per_epoch(len(encoded))
            tokens, flops = (
                sum(len(e.source) + len(e.target) for e in encoded),
                meter.count(encoded),
            )
        elif epoch == 1 and meter.is_stateful:  # documents: other sources in each epoch
            flops = meter.count(planner.tokenize(period, epoch, examples))
        before = examples
        usage.steps += steps
        usage.tokens += tokens
        usage.flops += flops
    return usage


def describe_budget_use(budget: Budget, uses: Sequence[BudgetUsage]) -> str:
    """The part of its budget that the run would use, as a phrase; "" without a budget."""
    limits = {name: limit for name, limit in budget.model_dump().items() if limit}
    time = limits.pop("seconds", 0)
    parts = [
        f"{sum(getattr(used, name) for used in uses) / (limit * len(uses)):.0%} of its {name}"
        for name, limit in limits.items()
        if uses
    ]
    if parts:
        ended = sum(used.has_reached(budget) for used in uses)
        parts[-1] += f"; it ends {ended} of {len(uses)} periods, the last epoch the others"
    if time:
        parts.append(f"up to {time:g} seconds a period (schedules cannot take it into account)")
    return "; ".join(parts)


def _precision(ready: Session) -> str:
    """The precision of the forward pass: "bf16" or "fp32"."""
    return "bf16" if ready.precision.name == "bf16" else "fp32"


def describe_encoder_use(ready: Session) -> str:
    """The use of the encoder, as a phrase: trainable, frozen or cached; "none" of a decoder."""
    if not architecture_of(ready.model).has_encoder:
        return "none"
    if not ready.method.trains:
        return "not trained; runs for each question"
    if ready.method.frozen_encoder(ready.model) is None:
        return "trainable; runs in each epoch"
    if ready.trainer.encoder_cache is None:
        return "frozen; runs in each epoch"
    often = "once per question" if ready.trainer.adaptive else "once per period"
    return f"frozen; outputs cached on disk {often} (no dropout)"


def _encoder_cache_bytes(ready: Session) -> int:
    """Bytes of the encoder cache: for the largest period, and for all probes."""
    training, evaluation = ready.trainer.encoder_cache, ready.evaluator.encoder_cache
    size = 0
    if training and ready.trainer.adaptive:  # counted for the last period, with the largest pool
        sources = ready.trainer.adaptive.sources
        size += sum(map(len, sources)) * training.bytes_per_token
    elif training:
        sizes = [ready.tokenizer.count_tokens(_in_all_wordings(p)) for p in ready.periods]
        size += max(sizes, default=0) * training.bytes_per_token
    if evaluation:
        for cell in ready.schedule.cells:
            sources = ready.tokenizer.tokenize_sources([probe.source for probe in cell.probes])
            size += sum(map(len, sources)) * evaluation.bytes_per_token
    return min(size, ready.config.encoder_cache_mib * 2**20)


def _in_all_wordings(period: Period) -> list[Example]:
    return [e.in_wording(turn) for e in period.examples for turn in range(len(e.sources))]


def _estimate_seconds(ready: Session, probes: int, steps: int) -> float:
    """A rough duration of training and evaluation in seconds, from a trial on this machine.

    The trial is the first optimizer batch of the largest period, and some probes that the model
    cannot answer yet.
    """
    unknown = [
        cell.probes for cell in ready.schedule.cells if cell.probe_set in ready.schedule.matrix_sets
    ]
    trial = (unknown or [ready.schedule.cells[0].probes])[-1][:TIMED_PROBES]
    ready.evaluator.predict(ready.model, trial[:1])
    began = time.perf_counter()
    ready.evaluator.predict(ready.model, trial)
    seconds = (time.perf_counter() - began) / len(trial) * probes
    if steps and (periods := ready.periods):
        largest = max(periods, key=lambda period: len(period.examples))
        limit = ready.config.budget.seconds * len(periods) or math.inf
        step = min(ready.trainer.time_step(largest) for _ in range(2))
        seconds += min(limit, step * (steps + len(periods) * _untrained_steps(ready)))
    return seconds


def _untrained_steps(ready: Session) -> float:
    """The time of a period's forward passes without training, in optimizer steps.

    Counted for the period that was planned last, with the largest pool. A forward pass is a third
    of a step's operations.
    """
    trainer, epochs = ready.trainer, ready.config.num_train_epochs
    if trainer.adaptive is None:
        return 0.0
    passes = sum(len(trainer.adaptive.replay.stale(epoch, epochs)) for epoch in range(epochs))
    return passes / trainer.batcher.batch_size / 3
