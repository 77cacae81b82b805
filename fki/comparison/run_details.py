"""The details of one run: each relation, each period, and single answers before and after training.

Scores come from the run's outcomes, texts from its samples.jsonl, read line by line.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any, Literal, NamedTuple
from zlib import crc32

import numpy as np

from fki.comparison.breakdown import MAX_PROBES, in_turns, resets_weights
from fki.core.errors import DataError
from fki.core.probe_sets import BASE
from fki.runs.outcomes import AnsweredCell, Outcomes, read_outcomes
from fki.runs.run_dir import PROBES, SAMPLES, Run

Key = tuple[str, str]  # probe set and id
Kind = Literal["learned", "forgotten", "not learned", "kept"]
KINDS: tuple[Kind, ...] = ("learned", "forgotten", "not learned", "kept")
SHOWN = 5  # examples of each kind


class Change(NamedTuple):
    """Exact match (%) at three moments; None where it was not evaluated."""

    n: int
    before: float | None
    learned: float | None  # right after the period; None for facts from before the stream
    after: float | None


@dataclass(frozen=True, slots=True)
class RelationChange:
    """A relation of a probe set."""

    probe_set: str
    relation: str
    change: Change
    example: str  # one of its prompts


@dataclass(frozen=True, slots=True)
class PeriodChange:
    """The probes of a period in one probe set."""

    probe_set: str
    period: str
    change: Change


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What the model answered."""

    text: str
    is_right: bool


@dataclass(frozen=True, slots=True)
class AnswerChange:
    """A probe with its right answers, and those of the model at three moments."""

    kind: Kind
    probe_set: str
    period: str
    question: str
    answers: tuple[str, ...]
    before: GivenAnswer | None
    learned: GivenAnswer | None
    after: GivenAnswer | None


@dataclass(frozen=True, slots=True)
class RunDetails:
    """The breakdown of one run; empty where its files cannot be read, with the reason."""

    relations: tuple[RelationChange, ...] = ()
    periods: tuple[PeriodChange, ...] = ()
    examples: tuple[AnswerChange, ...] = ()
    counts: Mapping[str, int] | None = None  # probes of each kind
    unreadable: str = ""


class _Scored(NamedTuple):
    """A probe's exact match, 0 or 1, at three moments, and in the best row."""

    cell: AnsweredCell
    before: float | None
    learned: float | None
    after: float
    once: float

    def kind(self) -> Kind | None:
        """What training did to it; None where it neither changed nor was to be kept."""
        is_old = self.cell.period == BASE
        if self.after:
            return "kept" if self.before else None if is_old else "learned"
        if self.once and (self.before or not is_old):
            return "forgotten"
        return None if is_old else "not learned"


def read_run_details(run: Run, shown: int = SHOWN) -> RunDetails:
    """The details of a finished run.

    Args:
        shown: examples of each kind.
    """
    try:
        outcomes = read_outcomes(run)
        scored = dict(islice(_score(outcomes, resets=resets_weights(run)), MAX_PROBES))
        probes = {
            _key(row): row for row in islice(run.read_lines(PROBES), MAX_PROBES) if _is_probe(row)
        }
        has_trained = len(outcomes.rows) > 1
        kinds = {k: kind for k, one in scored.items() if has_trained and (kind := one.kind())}
        return RunDetails(
            relations=tuple(_relations(scored, probes)),
            periods=tuple(_periods(scored)),
            examples=tuple(_examples(run, outcomes, kinds, scored, probes, shown)),
            counts={kind: sum(one == kind for one in kinds.values()) for kind in KINDS},
        )
    except DataError as error:
        return RunDetails(unreadable=str(error))
    except (AttributeError, KeyError, TypeError, ValueError):
        return RunDetails(unreadable=f"{SAMPLES} or {PROBES} is not in the format of fki.")


def _score(outcomes: Outcomes, *, resets: bool) -> Iterator[tuple[Key, _Scored]]:
    """Each probe of the last row; of a run that resets its weights, of each period's own row."""
    for number, cell in enumerate(outcomes.cells):
        learned = _learned_row(outcomes, cell)
        last = learned if resets and learned else len(outcomes.rows) - 1
        if number not in outcomes.em[last] or cell.period not in (BASE, *outcomes.columns):
            continue
        rows = [t for t in range(last + 1) if number in outcomes.em[t]]
        best = np.max([outcomes.em[t][number] for t in rows], axis=0)
        for place, id in enumerate(cell.ids):
            before, then, after = (
                float(outcomes.em[t][number][place]) if t is not None and t in rows else None
                for t in (0, learned, last)
            )
            key = cell.probe_set, id
            yield key, _Scored(cell, before, then, after or 0.0, float(best[place]))


def _learned_row(outcomes: Outcomes, cell: AnsweredCell) -> int | None:
    """The row right after a cell's period; None for facts from before the stream, and for a run
    that only evaluates."""
    row = outcomes.columns.index(cell.period) + 1 if cell.period in outcomes.columns else None
    return None if row is None or row >= len(outcomes.rows) else row


def _is_probe(row: Mapping[str, Any]) -> bool:
    return bool(str(row["source"])) and isinstance(row["answers"], list)


def _key(row: Mapping[str, Any]) -> Key:
    return str(row["probe_set"]), str(row["id"])


def _change(members: Sequence[_Scored]) -> Change:
    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return 100 * fmean(known) if known else None

    return Change(
        len(members),
        mean([one.before for one in members]),
        mean([one.learned for one in members]),
        mean([one.after for one in members]),
    )


def _relations(
    scored: Mapping[Key, _Scored], probes: Mapping[Key, Mapping[str, Any]]
) -> Iterator[RelationChange]:
    """By probe set, the relations with the most probes first."""
    members: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in scored:
        if key in probes:
            members[key[0], str(probes[key].get("relation", ""))].append(key)
    sets = list(dict.fromkeys(name for name, _ in members))
    order = sorted(members, key=lambda pair: (sets.index(pair[0]), -len(members[pair]), pair[1]))
    for pair in order:
        keys = members[pair]
        example = str(probes[keys[0]]["source"])
        yield RelationChange(*pair, _change([scored[key] for key in keys]), example)


def _periods(scored: Mapping[Key, _Scored]) -> Iterator[PeriodChange]:
    """By probe set, in the stream's order."""
    members: dict[tuple[str, str], list[_Scored]] = defaultdict(list)
    for (name, _), one in scored.items():
        if one.cell.period != BASE:
            members[name, one.cell.period].append(one)
    sets = list(dict.fromkeys(name for name, _ in members))
    for name, period in sorted(members, key=lambda pair: (sets.index(pair[0]), pair[1])):
        yield PeriodChange(name, period, _change(members[name, period]))


def _examples(
    run: Run,
    outcomes: Outcomes,
    kinds: Mapping[Key, Kind],
    scored: Mapping[Key, _Scored],
    probes: Mapping[Key, Mapping[str, Any]],
    shown: int,
) -> Iterator[AnswerChange]:
    """Some probes of each kind, in turns of probe sets and of their relations."""
    chosen: dict[Key, Kind] = {}
    for kind in KINDS:
        of_kind = sorted(
            (key for key, one in kinds.items() if one == kind and key in probes),
            key=lambda key: crc32("|".join(key).encode()),
        )
        turns = in_turns(of_kind, lambda key: (key[0], probes[key].get("relation")))
        chosen |= dict.fromkeys(in_turns(turns, lambda key: key[0])[:shown], kind)
    resets = resets_weights(run)
    given = _read_answers(run, chosen)
    for key, kind in chosen.items():
        cell = scored[key].cell
        learned = _learned_row(outcomes, cell)
        last = learned if resets and learned else len(outcomes.rows) - 1
        of_rows = (0, learned, last)
        moments = [None if t is None else given.get((*key, outcomes.rows[t])) for t in of_rows]
        answers = tuple(map(str, probes[key]["answers"]))
        yield AnswerChange(kind, key[0], cell.period, str(probes[key]["source"]), answers, *moments)


def _read_answers(run: Run, keys: Collection[Key]) -> dict[tuple[str, str, str], GivenAnswer]:
    """The answers to these probes by probe set, id and row."""
    return {
        (*_key(row), str(row["after"])): GivenAnswer(str(row.get("text", "")), bool(row["em"]))
        for row in run.read_lines(SAMPLES)
        if _key(row) in keys
    }
