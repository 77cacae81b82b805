"""What a checkpoint knew once and no longer knows, and its scores with intervals."""

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
from fki.metrics.bootstrap import DRAWS
from fki.runs import outcomes
from fki.runs.outcomes import Outcomes
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
    """A relation, and how many of its questions were answered right in an earlier row alone."""

    relation: str
    once: int  # answered right at some time
    lost: int


@dataclass(frozen=True, slots=True)
class ForgottenProbe:
    """A question that was answered right once."""

    question: str
    answers: tuple[str, ...]
    said: str  # now


@dataclass(frozen=True, slots=True)
class Retention:
    """What a run's own answers tell of a checkpoint."""

    kept: tuple[ProbeSetRetention, ...] = ()
    lost: tuple[RelationLoss, ...] = ()  # the most lost first
    examples: tuple[ForgottenProbe, ...] = ()


def read_retention(run: Run, after: str, examples: int = 3) -> Retention:
    """Of a checkpoint; an empty one where the run was asked nothing then."""
    try:
        whole = outcomes.read_outcomes(run)
    except DataError:
        return Retention()
    if after not in whole.rows:
        return Retention()
    one = whole.up_to(after)
    gone = _gone(one)
    lost = {key for key, is_lost in gone.items() if is_lost}
    return Retention(
        tuple(_kept(one)),
        tuple(_lost(run, gone)),
        tuple(_examples(run, after, lost, examples)),
    )


def _kept(one: Outcomes) -> Iterator[ProbeSetRetention]:
    run = ResampledRun(one, BootstrapSample([one], DRAWS))
    for name in run.sets:
        n = run.asked_of(name)
        moments = [estimate_metric(name, values[None], n) for values in run.of_set(name)]
        if n:
            yield ProbeSetRetention(name, n, *moments)


def _gone(one: Outcomes) -> dict[Key, bool]:
    """Of each probe that was answered right in some row, is it answered wrong in the last?"""
    found = {}
    last = one.right[-1]
    for number, now in last.items():
        cell = one.asked[number]
        if cell.period not in (BASE, *one.columns):
            continue
        once = np.max([row[number] for row in one.right if number in row], axis=0)
        for id, was, is_right in zip(cell.ids, once, now, strict=True):
            if was:
                found[cell.probe_set, id] = not is_right
    return found


def _lost(run: Run, gone: Mapping[Key, bool]) -> Iterator[RelationLoss]:
    once: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for row in run.read_lines(PROBES):
        key = _key(row)
        if key in gone:
            once[str(row.get("relation", ""))] += 1
            lost[str(row.get("relation", ""))] += gone[key]
    for name, count in lost.most_common():
        if count:
            yield RelationLoss(name, once[name], count)


def _examples(run: Run, after: str, lost: set[Key], most: int) -> Iterator[ForgottenProbe]:
    """Some of the lost ones, of one relation each as long as there are any left."""
    by_relation: dict[str, list[tuple[Key, Mapping[str, Any]]]] = defaultdict(list)
    for row in run.read_lines(PROBES):
        key = _key(row)
        if key in lost:
            by_relation[str(row.get("relation", ""))].append((key, row))
    ranked = sorted(by_relation.values(), key=len, reverse=True)
    turns = [some[i] for i in range(most) for some in ranked if i < len(some)][:most]
    texts = _texts(run, after, {key for key, _ in turns})
    for key, probe in turns:
        yield ForgottenProbe(str(probe["source"]), tuple(probe["answers"]), texts.get(key, ""))


def _texts(run: Run, after: str, keys: set[Key]) -> dict[Key, str]:
    rows = run.read_lines(SAMPLES, containing=json.dumps(after, ensure_ascii=False))
    found = ((_key(row), str(row["text"])) for row in rows if row["after"] == after)
    return {key: text for key, text in found if key in keys}


def _key(row: Mapping[str, Any]) -> Key:
    return str(row.get("probe_set")), str(row.get("id"))
