"""What a run would take: steps, tokens, memory, disk and time, without starting it."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from fki.core.config import Config
from fki.engine import models, session
from fki.engine.folder import space_needed
from fki.engine.session import Session

TIMED = 64  # questions of the trial


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes are in bytes; `time` is in words because it is a rough guess."""

    periods: int
    first: str
    last: str
    rows: int
    probes: int
    steps: int
    batch_size: int
    tokens: int
    total: int
    trainable: int
    added: int
    memory: int
    disk: int
    precision: str
    encoder: str
    states: int
    time: str
    minutes: int
    notes: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def make_plan(config: Config) -> Plan:
    """Load everything as `train` would, count, and time a few forward passes.

    Raises FkiError for whatever would stop `train` before its first step.
    """
    ready = session.build(config)
    periods = [p for phase in ready.phases for p in phase.periods]
    rows = 1 if config.check_validation else len(ready.phases) + 1
    probes = sum(len(c.probes) for t in range(rows) for c in ready.questions.row(t))
    an_epoch = sum(ready.encoder.tokens(period.examples) for period in periods)
    tokens = an_epoch * config.num_train_epochs
    total, trainable = models.count_parameters(ready.model)
    states = 1 if config.optimizer == "adafactor" else 3
    minutes = _guess(ready, probes)
    return Plan(
        periods=len(periods),
        first=periods[0].name,
        last=periods[-1].name,
        rows=rows,
        probes=probes,
        steps=sum(ready.steps.values()),
        batch_size=ready.trainer.cutter.batch_size,
        tokens=0 if config.check_validation else tokens,
        total=total,
        trainable=trainable,
        added=ready.added,
        memory=4 * (total + states * trainable),
        disk=0 if config.check_validation else space_needed(ready),
        precision=_precision(ready),
        encoder=encoder_use(ready),
        states=_states_needed(ready),
        time=f"roughly {minutes} min on this machine, by a short trial",
        minutes=minutes,
        notes=ready.method.notes(max(ready.steps.values(), default=0)),
    )


def _precision(ready: Session) -> str:
    """Of the forward pass, in words."""
    return "bf16" if ready.accelerator.mixed_precision == "bf16" else "fp32"


def encoder_use(ready: Session) -> str:
    """In words: is the encoder run in each epoch, or read?"""
    if ready.method.frozen(ready.model) is None:
        return "learns, and is run in each epoch"
    if ready.trainer.states is None:
        return "is frozen, and is run in each epoch"
    return "is frozen: run once a period, without dropout, and read from disk in each epoch"


def _states_needed(ready: Session) -> int:
    """Bytes on disk of what a frozen encoder says: of the largest period, and of all questions."""
    trained, asked = ready.trainer.states, ready.evaluator.states
    found = 0
    if trained:
        sizes = [ready.encoder.tokens(p.examples) for p in ready.periods]
        found += max(sizes, default=0) * trained.bytes_a_token
    if asked:
        for cell in ready.questions.cells:
            sources = ready.encoder.sources([probe.source for probe in cell.probes])
            found += sum(map(len, sources)) * asked.bytes_a_token
    return min(found, ready.config.encoder_cache_mib * 2**20)


def _guess(ready: Session, probes: int) -> int:
    """A rough duration in minutes, at least one, from a trial on this machine: the largest
    period's first optimizer batch, and some questions that the model does not know."""
    asked = [
        cell.probes for cell in ready.questions.cells if cell.probe_set in ready.questions.learned
    ]
    some = (asked or [ready.questions.cells[0].probes])[-1][:TIMED]
    ready.evaluator.predict(ready.model, some[:1])
    began = time.perf_counter()
    ready.evaluator.predict(ready.model, some)
    seconds = (time.perf_counter() - began) / len(some) * probes
    if periods := ready.periods:
        largest = max(periods, key=lambda period: len(period.examples))
        seconds += sum(ready.steps.values()) * min(ready.trainer.trial(largest) for _ in range(2))
    return max(1, round(seconds / 60))
