"""Reads the dated facts and turns them into what held, key by key."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

CUTOFF, UNTIL = "2022-12-31", "2025-12-31"  # what the base knows; what the stream reaches
Rename = Callable[[str], str]
SOURCES_OF_PERIOD = {
    "cia-factbook",
    "congress-legislators",
    "endoflife.date",
    "f1db",
    "index-constitution",
    "international_results",
}


@dataclass(frozen=True, slots=True)
class State:
    """The objects that held from `start` to `end` (the first day that they no longer did)."""

    objects: tuple[str, ...]
    start: str
    end: str | None
    precision: str

    def holds_at(self, day: str) -> bool:
        """Whether it is true at the end of that day."""
        return self.start <= day and (self.end is None or self.end > day)


@dataclass(frozen=True, slots=True)
class Key:
    """A subject and a relation with their states in order of date."""

    relation: str
    subject: str
    subject_id: str
    source: str
    states: tuple[State, ...]

    @property
    def base(self) -> State | None:
        """What held at the cutoff."""
        return next((s for s in self.states if s.holds_at(CUTOFF)), None)

    @property
    def changes(self) -> tuple[State, ...]:
        """What became true within the stream."""
        return tuple(s for s in self.states if CUTOFF < s.start <= UNTIL)

    @property
    def is_unchanged(self) -> bool:
        """Whether the base fact is true until the stream ends."""
        return not self.changes and self.base is not None and self.base.end is None


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The timeline's rows of sources that reach beyond the stream, begun before its end."""
    with gzip.open(folder / "facts_timeline.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return [r for r in rows if r["source"] in SOURCES_OF_PERIOD and r["start"] <= UNTIL]


def read_invariant(folder: Path) -> dict[str, dict[str, set[str]]]:
    """Relation -> subject -> objects of the time-invariant facts."""
    facts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    with gzip.open(folder / "invariant_facts.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            facts[row["relation_id"]][row["subject"]].add(row["object"])
    return facts


def known_end(row: dict[str, str]) -> str | None:
    """The end of a fact, as far as the dataset knows the world."""
    return row["end"] if row["end"] and row["end"] <= UNTIL else None


def grouped(rows: Iterable[dict[str, str]]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The rows of each subject id, in order of date; subjects in order of id."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["subject_id"]].append(row)
    for subject in sorted(groups):
        yield subject, sorted(groups[subject], key=lambda r: (r["start"], r["end"] or "9999"))


def single(rows: list[dict[str, str]], rename: Rename) -> tuple[State, ...] | None:
    """One object at a time; None where two that differ overlap since the cutoff."""
    states: list[State] = []
    for row in rows:
        state = State((rename(row["object"]),), row["start"], known_end(row), row["precision"])
        if states and states[-1].objects == state.objects:
            states[-1] = replace(states[-1], end=state.end)
            continue
        if states and _overlap(states[-1], state):
            return None
        states.append(state)
    return tuple(states)


def _overlap(first: State, second: State) -> bool:
    ends_later = first.end is None or first.end > second.start
    return ends_later and (first.end is None or first.end > CUTOFF)


def several(rows: list[dict[str, str]], rename: Rename) -> tuple[State, ...]:
    """The set of objects that hold at once, cut wherever a member comes or goes."""
    days = sorted({r["start"] for r in rows} | {e for r in rows if (e := known_end(r))})
    states: list[State] = []
    for day, following in zip(days, [*days[1:], None], strict=True):
        held = [r for r in rows if r["start"] <= day and (known_end(r) or "9999") > day]
        if not held:
            continue
        state = State(
            tuple(sorted({rename(r["object"]) for r in held})),
            day,
            following,
            held[-1]["precision"],
        )
        if states and states[-1].objects == state.objects and states[-1].end == day:
            states[-1] = replace(states[-1], end=following)
        else:
            states.append(state)
    return tuple(states)
