"""Read the dated facts and build the states of each key."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

CUTOFF, UNTIL = "2022-12-31", "2025-12-31"  # the last day of the base; the last day of the stream
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
    """The objects that are valid from `start` until `end` (exclusive)."""

    objects: tuple[str, ...]
    start: str
    end: str | None
    precision: str

    def holds_at(self, day: str) -> bool:
        """Whether the state is valid at the end of that day."""
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
        """The state at the cutoff."""
        return next((s for s in self.states if s.holds_at(CUTOFF)), None)

    @property
    def changes(self) -> tuple[State, ...]:
        """The states that start within the stream."""
        return tuple(s for s in self.states if CUTOFF < s.start <= UNTIL)

    @property
    def is_unchanged(self) -> bool:
        """Whether the base fact is true until the stream ends."""
        return not self.changes and self.base is not None and self.base.end is None


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Read the rows that start before the end of the stream, of sources that cover it."""
    with gzip.open(folder / "facts_timeline.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return [r for r in rows if r["source"] in SOURCES_OF_PERIOD and r["start"] <= UNTIL]


def read_invariant(folder: Path) -> dict[str, dict[str, set[str]]]:
    """Read the time-invariant facts: relation -> subject -> objects."""
    facts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    with gzip.open(folder / "invariant_facts.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            facts[row["relation_id"]][row["subject"]].add(row["object"])
    return facts


def known_end(row: dict[str, str]) -> str | None:
    """The end of a fact; None if it is after the stream."""
    return row["end"] if row["end"] and row["end"] <= UNTIL else None


def group_rows(rows: Iterable[dict[str, str]]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield the rows of each subject, sorted by date; subjects are sorted by id."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["subject_id"]].append(row)
    for subject in sorted(groups):
        yield subject, sorted(groups[subject], key=lambda r: (r["start"], r["end"] or "9999"))


def build_single(rows: list[dict[str, str]], rename: Rename) -> tuple[State, ...] | None:
    """Build states of one object at a time; None if two overlap after the cutoff."""
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


def build_several(rows: list[dict[str, str]], rename: Rename) -> tuple[State, ...]:
    """Build the sets of objects that are valid at once, split where one starts or ends."""
    days = sorted({r["start"] for r in rows} | {e for r in rows if (e := known_end(r))})
    states: list[State] = []
    for day, following in zip(days, [*days[1:], None], strict=True):
        valid = [r for r in rows if r["start"] <= day and (known_end(r) or "9999") > day]
        if not valid:
            continue
        state = State(
            tuple(sorted({rename(r["object"]) for r in valid})),
            day,
            following,
            valid[-1]["precision"],
        )
        if states and states[-1].objects == state.objects and states[-1].end == day:
            states[-1] = replace(states[-1], end=following)
        else:
            states.append(state)
    return tuple(states)
