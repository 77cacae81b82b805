"""Behind a comparison's means: each relation, and the questions on which the arms differ.

Read from the last row of each run's samples.jsonl, joined with probes.jsonl by probe set and id.
Files are read line by line; what is held is a number for each probe and arm.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from statistics import fmean, pvariance
from typing import Any
from zlib import crc32

from fki.comparison.types import Arm, Comparison, Group
from fki.core.errors import DataError
from fki.runs.run_dir import PROBES, SAMPLES, Run

Key = tuple[str, str]  # probe set and id
MOST_PROBES = 200_000  # of one group: what is held grows with them
SHOWN = 40
TAIL = 1 << 16  # bytes, in which the last line of samples.jsonl ends


@dataclass(frozen=True, slots=True)
class RelationScore:
    """Exact match (%) of one relation in one probe set at the end, mean over seeds."""

    probe_set: str
    relation: str
    n: int
    em: Mapping[str, float | None]  # by arm
    example: str  # one of its questions


@dataclass(frozen=True, slots=True)
class Answer:
    """What an arm's first seed said, and the share of its seeds that were right."""

    text: str
    is_right: bool
    share: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class Contrast:
    """A question on which arms differ."""

    probe_set: str
    relation: str
    question: str
    answers: tuple[str, ...]
    said: Mapping[str, Answer]  # by arm


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Of one group."""

    relations: tuple[RelationScore, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    differing: int = 0  # questions on which at least two arms differ, shown or not
    asked: int = 0  # questions that every arm was asked
    skipped: Mapping[str, str] = field(default_factory=dict)  # a run's folder: why


def break_down(comparison: Comparison, shown: int = SHOWN) -> tuple[Breakdown, ...]:
    """The details of each group; a run that cannot be read is skipped, with its reason."""
    return tuple(break_down_group(group, shown) for group in comparison.groups)


def break_down_group(group: Group, shown: int = SHOWN) -> Breakdown:
    """The relations of a group, and up to `shown` questions on which its arms differ most."""
    book = _Book()
    for arm in group.arms:
        for folder in arm.runs:
            book.add(arm.name, Run(Path(folder)))
    shares = book.shares([arm.name for arm in group.arms])
    differing = [key for key, row in shares.items() if max(row.values()) > min(row.values())]
    chosen = _spread(differing, shares, book.relations, shown)
    return Breakdown(
        relations=tuple(_relations([arm.name for arm in group.arms], book)),
        contrasts=tuple(_contrasts(chosen, group.arms, shares, book)),
        differing=len(differing),
        asked=len(shares),
        skipped=book.skipped,
    )


class _Book:
    """The relation of each probe, and how often each arm was asked it and was right."""

    def __init__(self) -> None:
        self.relations: dict[Key, str] = {}
        self.sources: list[Run] = []  # whose probes.jsonl tell of these probes
        self.right: dict[str, dict[Key, float]] = defaultdict(dict)
        self.asked: dict[str, dict[Key, int]] = defaultdict(dict)
        self.skipped: dict[str, str] = {}

    def add(self, arm: str, run: Run) -> None:
        """Count a run in, whole or not at all."""
        try:
            rows = islice(read_last_row(run), MOST_PROBES)
            found = {_key(row): float(row["em"]) for row in rows}
            if not found.keys() <= self.relations.keys():
                self._learn_relations(run)
        except DataError as error:
            self.skipped[str(run.folder)] = str(error)
        except (KeyError, TypeError, ValueError):
            self.skipped[str(run.folder)] = f"its {SAMPLES} or {PROBES} is not as fki writes it."
        else:
            right, asked = self.right[arm], self.asked[arm]
            for key, em in found.items():
                right[key] = right.get(key, 0.0) + em
                asked[key] = asked.get(key, 0) + 1

    def _learn_relations(self, run: Run) -> None:
        rows = islice(run.read_lines(PROBES), MOST_PROBES)
        found = {_key(row): str(row["relation"]) for row in rows if _asked(row)}
        self.relations = found | self.relations
        self.sources.append(run)

    def share(self, arm: str, key: Key) -> float:
        """Of the seeds that were asked, those that were right: 0 to 1."""
        return self.right[arm][key] / self.asked[arm][key]

    def shares(self, arms: Sequence[str]) -> dict[Key, dict[str, float]]:
        """By arm, of each probe that all arms with a readable run were asked."""
        read = [arm for arm in arms if self.asked[arm]]
        return {
            key: {arm: self.share(arm, key) for arm in read}
            for key in self.relations
            if read and all(key in self.asked[arm] for arm in read)
        }

    def probes(self, keys: Collection[Key]) -> dict[Key, tuple[str, tuple[str, ...]]]:
        """The question and the answers of these probes."""
        return {
            key: _asked(row)
            for run in reversed(self.sources)  # the first one has the last word
            for row in islice(run.read_lines(PROBES), MOST_PROBES)
            if (key := _key(row)) in keys
        }


def read_last_row(run: Run) -> Iterator[dict[str, Any]]:
    """The samples of the last row of R. Raises DataError where the file cannot be read."""
    last = _last_after(run.folder / SAMPLES)
    rows = run.read_lines(SAMPLES, containing=json.dumps(last, ensure_ascii=False))
    return (row for row in rows if row.get("after") == last)


def _last_after(file: Path) -> str:
    """What the last sample comes after, read from the end of the file."""
    try:
        with file.open("rb") as lines:
            size = lines.seek(0, os.SEEK_END)
            lines.seek(max(0, size - TAIL))
            return str(json.loads(lines.read().splitlines()[-1])["after"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from None


def _asked(row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """A probe's question and its answers."""
    return str(row["source"]), tuple(map(str, row["answers"]))


def _key(row: Mapping[str, Any]) -> Key:
    return str(row["probe_set"]), str(row["id"])


def _relations(arms: Sequence[str], book: _Book) -> Iterator[RelationScore]:
    """By probe set as they are asked, the most asked relations first."""
    members: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key, relation in book.relations.items():
        if any(key in book.asked[arm] for arm in arms):
            members[key[0], relation].append(key)
    sets = list(dict.fromkeys(probe_set for probe_set, _ in members))
    order = sorted(members, key=lambda pair: (sets.index(pair[0]), -len(members[pair]), pair[1]))
    examples = book.probes({members[pair][0] for pair in order})
    for pair in order:
        keys = members[pair]
        em = {arm: _em(arm, keys, book) for arm in arms}
        yield RelationScore(*pair, len(keys), em, examples[keys[0]][0])


def _em(arm: str, keys: Sequence[Key], book: _Book) -> float | None:
    shares = [book.share(arm, key) for key in keys if key in book.asked[arm]]
    return 100 * fmean(shares) if shares else None


def _spread(
    keys: Sequence[Key],
    shares: Mapping[Key, Mapping[str, float]],
    relations: Mapping[Key, str],
    most: int,
) -> list[Key]:
    """Those on which arms differ most, in turns of each probe set and, in it, of each relation."""

    def rank(key: Key) -> tuple[float, float, int]:
        row = list(shares[key].values())
        return min(row) - max(row), -pvariance(row), crc32("|".join(key).encode())

    ranked = sorted(keys, key=rank)
    turns = _in_turns(ranked, lambda key: (key[0], relations[key]))
    return _in_turns(turns, lambda key: key[0])[:most]


def _in_turns(keys: Sequence[Key], group: Callable[[Key], object]) -> list[Key]:
    """The first of each group before any second one."""
    groups: dict[object, list[Key]] = defaultdict(list)
    for key in keys:
        groups[group(key)].append(key)
    return [key for turn in zip_longest(*groups.values()) for key in turn if key is not None]


def _contrasts(
    keys: Sequence[Key],
    arms: Sequence[Arm],
    shares: Mapping[Key, Mapping[str, float]],
    book: _Book,
) -> Iterator[Contrast]:
    probes = book.probes(set(keys))
    texts = {arm.name: _texts(arm, set(keys), book) for arm in arms}
    for key in [key for key in book.relations if key in probes]:  # as they were asked
        said = {
            name: Answer(*found[key], share=shares[key][name])
            for name, found in texts.items()
            if key in found
        }
        yield Contrast(key[0], book.relations[key], *probes[key], said)


def _texts(arm: Arm, keys: Collection[Key], book: _Book) -> dict[Key, tuple[str, bool]]:
    """What the first readable run of an arm said, and whether that was right."""
    readable = [folder for folder in arm.runs if folder not in book.skipped]
    return {
        key: (str(row.get("text", "")), row["em"] == 1)
        for folder in readable[:1]
        for row in read_last_row(Run(Path(folder)))
        if (key := _key(row)) in keys
    }
