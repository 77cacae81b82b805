"""What a checkpoint once answered correctly and no longer does, and its scores with intervals."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fki.comparison.arm_summary import estimate_metric
from fki.comparison.bootstrap_metrics import BootstrapSample, ResampledRun
from fki.comparison.types import Estimate
from fki.core.errors import DataError
from fki.core.probe_sets import BASE
from fki.metrics.bootstrap import DRAWS, add_prior
from fki.metrics.registry import probe_set_metrics
from fki.runs.outcomes import Outcomes, read_outcomes
from fki.runs.run_dir import PROBES, SAMPLES, Run

Key = tuple[str, str]  # probe set and id


@dataclass(frozen=True, slots=True)
class ProbeSetRetention:
    """A probe set before the stream, right after its periods were learned, and at the end."""

    probe_set: str
    n: int
    before: Estimate
    learned: Estimate
    after: Estimate


@dataclass(frozen=True, slots=True)
class RelationLoss:
    """How many probes of a relation were answered correctly in an earlier row and no longer are."""

    relation: str
    once: int  # answered correctly in some row
    lost: int  # of these, answered wrongly in the last row


@dataclass(frozen=True, slots=True)
class ForgottenProbe:
    """A probe that was answered correctly once."""

    question: str
    answers: tuple[str, ...]
    prediction: str  # in the last row


@dataclass(frozen=True, slots=True)
class Retention:
    """The retention of a checkpoint, from the answers of its run."""

    probe_sets: tuple[ProbeSetRetention, ...] = ()
    losses: tuple[RelationLoss, ...] = ()  # the largest first
    examples: tuple[ForgottenProbe, ...] = ()


def read_retention(run: Run, after: str, examples: int = 3) -> Retention:
    """The retention of a checkpoint; empty where the run has no row of that name."""
    try:
        outcomes = read_outcomes(run)
    except DataError:
        return Retention()
    if after not in outcomes.rows:
        return Retention()
    outcomes = outcomes.up_to(after)
    is_lost = _find_lost(outcomes)
    lost = {key for key, gone in is_lost.items() if gone}
    return Retention(
        tuple(_probe_sets(outcomes)),
        tuple(_losses(run, is_lost)),
        tuple(_examples(run, after, lost, examples)),
    )


def _probe_sets(outcomes: Outcomes) -> Iterator[ProbeSetRetention]:
    run = ResampledRun(outcomes, BootstrapSample([outcomes], DRAWS))
    for name in run.sets:
        n = run.probe_count(name)
        [metric, *_] = probe_set_metrics(name)
        clusters = run.clusters(name)
        drawn = [add_prior(values, clusters, 0) for values in run.of_set(name)]
        moments = [estimate_metric(metric, values[None], n) for values in drawn]
        if n:
            yield ProbeSetRetention(name, n, *moments)


def _find_lost(outcomes: Outcomes) -> dict[Key, bool]:
    """For each probe answered correctly in some row: is it answered wrongly in the last?"""
    is_lost = {}
    for number, now in outcomes.em[-1].items():
        cell = outcomes.cells[number]
        if cell.period not in (BASE, *outcomes.columns):
            continue
        once = np.max([row[number] for row in outcomes.em if number in row], axis=0)
        for id, was_right, is_right in zip(cell.ids, once, now, strict=True):
            if was_right:
                is_lost[cell.probe_set, id] = not is_right
    return is_lost


def _losses(run: Run, is_lost: Mapping[Key, bool]) -> Iterator[RelationLoss]:
    once: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for probe in run.read_lines(PROBES):
        key = _key(probe)
        if key in is_lost:
            once[str(probe.get("relation", ""))] += 1
            lost[str(probe.get("relation", ""))] += is_lost[key]
    for relation, count in lost.most_common():
        if count:
            yield RelationLoss(relation, once[relation], count)


def _examples(run: Run, after: str, lost: set[Key], most: int) -> Iterator[ForgottenProbe]:
    """Up to `most` lost probes: one of each relation before a second one of any."""
    by_relation: dict[str, list[tuple[Key, Mapping[str, Any]]]] = defaultdict(list)
    for probe in run.read_lines(PROBES):
        key = _key(probe)
        if key in lost:
            by_relation[str(probe.get("relation", ""))].append((key, probe))
    ranked = sorted(by_relation.values(), key=len, reverse=True)
    turns = [probes[i] for i in range(most) for probes in ranked if i < len(probes)][:most]
    predictions = _predictions(run, after, {key for key, _ in turns})
    for key, row in turns:
        answers = tuple(row["answers"])
        yield ForgottenProbe(str(row["source"]), answers, predictions.get(key, ""))


def _predictions(run: Run, after: str, keys: set[Key]) -> dict[Key, str]:
    samples = run.read_lines(SAMPLES, containing=json.dumps(after, ensure_ascii=False))
    texts = ((_key(sample), str(sample["text"])) for sample in samples if sample["after"] == after)
    return {key: text for key, text in texts if key in keys}


def _key(row: Mapping[str, Any]) -> Key:
    return str(row.get("probe_set")), str(row.get("id"))
