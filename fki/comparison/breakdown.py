"""The details behind a comparison's means: each relation, and the probes on which arms differ.

They come from the last row of each run's samples.jsonl, joined with probes.jsonl by probe set and
id. Files are read line by line; memory holds a number for each probe and arm.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from statistics import fmean, pvariance
from typing import Any
from zlib import crc32

from fki.comparison.types import Arm, Comparison, Group
from fki.core.errors import DataError
from fki.core.probe_sets import BASE
from fki.runs.run_dir import PROBES, SAMPLES, Run

Key = tuple[str, str]  # probe set and id
MAX_PROBES = 200_000  # of one group; memory grows with them
SHOWN = 40  # contrasts
TAIL = 1 << 16  # bytes, in which the last line of samples.jsonl ends


@dataclass(frozen=True, slots=True)
class RelationScore:
    """Exact match (%) of one relation in one probe set at the end, mean over seeds."""

    probe_set: str
    relation: str
    n: int
    em: Mapping[str, float | None]  # by arm
    example: str  # one of its prompts


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an arm's first seed, and the share of its seeds with a correct answer."""

    text: str
    is_right: bool
    share: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class Contrast:
    """A probe on which arms differ."""

    probe_set: str
    relation: str
    question: str
    answers: tuple[str, ...]
    predictions: Mapping[str, Answer]  # by arm


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The breakdown of one group."""

    relations: tuple[RelationScore, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    differing_count: int = 0  # probes on which at least two arms differ, shown or not
    probe_count: int = 0  # probes that every arm answered
    skipped: Mapping[str, str] = field(default_factory=dict)  # a run's folder: the reason


def break_down(comparison: Comparison, shown: int = SHOWN) -> tuple[Breakdown, ...]:
    """The breakdown of each group; an unreadable run is skipped, with the reason."""
    return tuple(break_down_group(group, shown) for group in comparison.groups)


def break_down_group(group: Group, shown: int = SHOWN) -> Breakdown:
    """The relations of a group, and up to `shown` probes on which its arms differ most."""
    counts = _AnswerCounts()
    for arm in group.arms:
        for folder in arm.runs:
            counts.add(arm.name, Run(Path(folder)))
    shares = counts.shares([arm.name for arm in group.arms])
    differing = [key for key, row in shares.items() if max(row.values()) > min(row.values())]
    chosen = _spread(differing, shares, counts.relations, shown)
    return Breakdown(
        relations=tuple(_relations([arm.name for arm in group.arms], counts)),
        contrasts=tuple(_contrasts(chosen, group.arms, shares, counts)),
        differing_count=len(differing),
        probe_count=len(shares),
        skipped=counts.skipped,
    )


class _AnswerCounts:
    """The relation of each probe, and how many seeds of each arm answered it, and correctly."""

    def __init__(self) -> None:
        self.relations: dict[Key, str] = {}
        self.sources: list[Run] = []  # whose probes.jsonl contain these probes
        self.right: dict[str, dict[Key, float]] = defaultdict(dict)
        self.answered: dict[str, dict[Key, int]] = defaultdict(dict)
        self.skipped: dict[str, str] = {}

    def add(self, arm: str, run: Run) -> None:
        """Add a run, whole or not at all."""
        try:
            rows = islice(read_last_row(run), MAX_PROBES)
            scores = {_key(row): float(row["em"]) for row in rows}
            if not scores.keys() <= self.relations.keys():
                self._add_relations(run)
        except DataError as error:
            self.skipped[str(run.folder)] = str(error)
        except (KeyError, TypeError, ValueError):
            self.skipped[str(run.folder)] = (
                f"its {SAMPLES} or {PROBES} is not in the format of fki."
            )
        else:
            right, answered = self.right[arm], self.answered[arm]
            for key, em in scores.items():
                right[key] = right.get(key, 0.0) + em
                answered[key] = answered.get(key, 0) + 1

    def _add_relations(self, run: Run) -> None:
        rows = islice(run.read_lines(PROBES), MAX_PROBES)
        relations = {_key(row): str(row["relation"]) for row in rows if _prompt_and_answers(row)}
        self.relations = relations | self.relations
        self.sources.append(run)

    def share(self, arm: str, key: Key) -> float:
        """The share of an arm's seeds that answered a probe correctly: 0 to 1."""
        return self.right[arm][key] / self.answered[arm][key]

    def shares(self, arms: Sequence[str]) -> dict[Key, dict[str, float]]:
        """The shares of each arm, for the probes that all arms with a readable run answered."""
        read = [arm for arm in arms if self.answered[arm]]
        return {
            key: {arm: self.share(arm, key) for arm in read}
            for key in self.relations
            if read and all(key in self.answered[arm] for arm in read)
        }

    def probes(self, keys: Collection[Key]) -> dict[Key, tuple[str, tuple[str, ...]]]:
        """The prompt and the answers of these probes."""
        return {
            key: _prompt_and_answers(row)
            for run in reversed(self.sources)  # the first one has the last word
            for row in islice(run.read_lines(PROBES), MAX_PROBES)
            if (key := _key(row)) in keys
        }


def read_last_row(run: Run) -> Iterator[dict[str, Any]]:
    """The samples of the last row of R; of a run that resets its weights, of each row right after
    training. Raises DataError where the file cannot be read."""
    if resets_weights(run):
        return (row for row in run.read_lines(SAMPLES) if row.get("after") != BASE)
    last = _last_after(run.folder / SAMPLES)
    rows = run.read_lines(SAMPLES, containing=json.dumps(last, ensure_ascii=False))
    return (row for row in rows if row.get("after") == last)


def resets_weights(run: Run) -> bool:
    """Does the run reset its weights before each period? False if it cannot be read."""
    with suppress(DataError):
        return bool(run.info.get("config", {}).get("reset") == "base")
    return False


def _last_after(file: Path) -> str:
    """The name of the last row, read from the end of the file."""
    try:
        with file.open("rb") as lines:
            size = lines.seek(0, os.SEEK_END)
            lines.seek(max(0, size - TAIL))
            return str(json.loads(lines.read().splitlines()[-1])["after"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from None


def _prompt_and_answers(row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """A probe's prompt and its answers."""
    return str(row["source"]), tuple(map(str, row["answers"]))


def _key(row: Mapping[str, Any]) -> Key:
    return str(row["probe_set"]), str(row["id"])


def _relations(arms: Sequence[str], counts: _AnswerCounts) -> Iterator[RelationScore]:
    """The relations by probe set, those with the most probes first."""
    members: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key, relation in counts.relations.items():
        if any(key in counts.answered[arm] for arm in arms):
            members[key[0], relation].append(key)
    sets = list(dict.fromkeys(probe_set for probe_set, _ in members))
    order = sorted(members, key=lambda pair: (sets.index(pair[0]), -len(members[pair]), pair[1]))
    examples = counts.probes({members[pair][0] for pair in order})
    for pair in order:
        keys = members[pair]
        em = {arm: _em(arm, keys, counts) for arm in arms}
        yield RelationScore(*pair, len(keys), em, examples[keys[0]][0])


def _em(arm: str, keys: Sequence[Key], counts: _AnswerCounts) -> float | None:
    shares = [counts.share(arm, key) for key in keys if key in counts.answered[arm]]
    return 100 * fmean(shares) if shares else None


def _spread(
    keys: Sequence[Key],
    shares: Mapping[Key, Mapping[str, float]],
    relations: Mapping[Key, str],
    most: int,
) -> list[Key]:
    """The probes on which arms differ most, in turns of each probe set and of its relations."""

    def rank(key: Key) -> tuple[float, float, int]:
        row = list(shares[key].values())
        return min(row) - max(row), -pvariance(row), crc32("|".join(key).encode())

    ranked = sorted(keys, key=rank)
    turns = in_turns(ranked, lambda key: (key[0], relations[key]))
    return in_turns(turns, lambda key: key[0])[:most]


def in_turns(keys: Sequence[Key], group: Callable[[Key], object]) -> list[Key]:
    """The first of each group before any second one."""
    groups: dict[object, list[Key]] = defaultdict(list)
    for key in keys:
        groups[group(key)].append(key)
    return [key for turn in zip_longest(*groups.values()) for key in turn if key is not None]


def _contrasts(
    keys: Sequence[Key],
    arms: Sequence[Arm],
    shares: Mapping[Key, Mapping[str, float]],
    counts: _AnswerCounts,
) -> Iterator[Contrast]:
    probes = counts.probes(set(keys))
    texts = {arm.name: _texts(arm, set(keys), counts) for arm in arms}
    for key in [key for key in counts.relations if key in probes]:  # in the order of evaluation
        predictions = {
            name: Answer(*answers[key], share=shares[key][name])
            for name, answers in texts.items()
            if key in answers
        }
        yield Contrast(key[0], counts.relations[key], *probes[key], predictions)


def _texts(arm: Arm, keys: Collection[Key], counts: _AnswerCounts) -> dict[Key, tuple[str, bool]]:
    """The answers of an arm's first readable run, and whether each is correct."""
    readable = [folder for folder in arm.runs if folder not in counts.skipped]
    return {
        key: (str(row.get("text", "")), row["em"] == 1)
        for folder in readable[:1]
        for row in read_last_row(Run(Path(folder)))
        if (key := _key(row)) in keys
    }
