"""What a run would take: steps, tokens, memory, disk and time, without starting it."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from fki.core.config import Config
from fki.engine import models, session
from fki.engine.session import Session

TIMED = 8  # examples of the trial forward pass
PASSES = 3  # a training step costs about three forward passes: one, and two for the gradient


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
    time: str
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
    examples = [e for p in periods for e in p.examples]
    tokens = ready.encoder.tokens(examples) * config.num_train_epochs
    total, trainable = models.count_parameters(ready.model)
    longest = max(map(ready.steps_of, periods))
    states = 1 if config.optimizer == "adafactor" else 3
    return Plan(
        periods=len(periods),
        first=periods[0].name,
        last=periods[-1].name,
        rows=rows,
        probes=probes,
        steps=ready.steps,
        batch_size=ready.trainer.batch_size,
        tokens=0 if config.check_validation else tokens,
        total=total,
        trainable=trainable,
        added=ready.added,
        memory=4 * (total + states * trainable),
        disk=4 * trainable * min(config.keep_last, rows - 1),
        time=_guess(ready, ready.encoder.count(examples) * config.num_train_epochs, probes),
        notes=ready.method.notes(longest),
    )


def _guess(ready: Session, examples: int, probes: int) -> str:
    """A rough duration, from one short forward pass on this machine."""
    first = ready.questions.cells[0].probes[:TIMED]
    ready.evaluator.predict(ready.model, first)
    began = time.perf_counter()
    ready.evaluator.predict(ready.model, first)
    per_example = (time.perf_counter() - began) / len(first)
    seconds = per_example * (PASSES * examples + probes)
    return f"very roughly {max(1, round(seconds / 60))} min on this machine, by one short trial"
