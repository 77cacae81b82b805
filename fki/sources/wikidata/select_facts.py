"""From what is said about subjects to the rows of a dataset: what can be learned and asked.

A key, that is a subject and a relation, is kept or left out as a whole. `base` is what held on the
eve of the window, `stream` what changed within it, `invariant` what never changes. The filters of
answers are TemporalWiki's (Jang et al., 2022), as far as they need no text.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date
from itertools import groupby
from typing import Any

from fki.core.types import OBJECT, SUBJECT
from fki.data.prompts import SPECIAL_TOKEN
from fki.sources.dataset_writer import Row
from fki.sources.wikidata.hash_sampling import HashSample, hash_rank
from fki.sources.wikidata.relations import ALWAYS, Relation
from fki.sources.wikidata.statements import Claim, Subject, Window
from fki.sources.wikidata.timeline import (
    MAX_OBJECTS,
    OPEN_END,
    UNKNOWN_START,
    FactState,
    LabeledItem,
    Timeline,
    UnclearTimeline,
)
from fki.sources.wikidata.timeline import build_timeline as timeline_of

MAX_ANSWER_WORDS = 5  # words
MAX_PROMPT_CHARS = 180  # characters
KEYS_PER_RELATION = (
    500  # keys of a relation that are held ready to be asked as unchanged, or never changing
)
MIN_UNCHANGED = (
    20  # unchanged keys of each relation, where there are so many, and as many as change
)

SHARED_LABEL = "two subjects with one label"


class CompactRows(Collection[Row]):
    """Rows in little memory, to be gone through again and again."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []

    def append(self, row: Row) -> None:
        """One more."""
        self._rows.append(encode_compact(row))

    def sort(self, order: Callable[[Row], Any]) -> None:
        """Put them into an order."""
        self._rows.sort(key=lambda packed: order(json.loads(packed)))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return map(json.loads, self._rows)

    def __contains__(self, row: object) -> bool:
        return any(row == own for own in self)


class FactSelector:
    """Takes subjects in any order; its memory grows with the window and not with what comes.

    Args:
        most: changed keys of each relation; 0 for all.
    """

    def __init__(self, relations: Iterable[Relation], window: Window, most: int = 0) -> None:
        self.relations = {relation.id: relation for relation in relations}
        self.window = window
        self.dropped: Counter[str] = Counter()
        self._changed: dict[str, HashSample[bytes]] = defaultdict(lambda: HashSample(most))
        self._unchanged: dict[str, HashSample[bytes]] = defaultdict(
            lambda: HashSample(KEYS_PER_RELATION)
        )
        self._always: dict[str, HashSample[bytes]] = defaultdict(
            lambda: HashSample(KEYS_PER_RELATION)
        )

    def add(self, subject: Subject) -> None:
        """Keep what can be told of a subject."""
        said = sorted(subject.claims, key=lambda claim: claim.relation)
        keys = {r: [*claims] for r, claims in groupby(said, key=lambda claim: claim.relation)}
        known = {r: claims for r, claims in keys.items() if r in self.relations}
        dated = [r for r in known if self.relations[r].holds != ALWAYS]
        if any([self._add_key(subject, r, known[r]) for r in dated]):
            for relation in known.keys() - set(dated):
                self._add_always(subject, relation, known[relation])

    def tables(self) -> dict[str, CompactRows]:
        """The rows, in order of date, relation and subject."""
        keys = [key for draw in self._changed.values() for key in draw.lowest(len(draw))]
        for relation, draw in self._unchanged.items():
            changed = self._changed.get(relation)
            keys += draw.lowest(max(MIN_UNCHANGED, len(changed) if changed else 0))
        keys += [key for draw in self._always.values() for key in draw.lowest(len(draw))]
        since = self.window.since.isoformat()
        tables = {name: CompactRows() for name in ("base", "stream", "invariant")}
        for row in self._unambiguous(keys):
            is_dated = self.relations[row["relation"]].holds != ALWAYS
            is_known = row["start"] is None or row["start"] < since
            tables["invariant" if not is_dated else "base" if is_known else "stream"].append(row)
        for table in tables.values():
            table.sort(_row_order)
        return tables

    def _add_key(self, subject: Subject, relation: str, claims: list[Claim]) -> bool:
        """Keep what held and what changed of one relation. Returns whether it has anything that
        can be told, drawn or not, so that the order of subjects decides nothing."""
        try:
            found = timeline_of(claims, self.relations[relation].holds, self.window)
            if not found.changes and found.before is None:
                return False
            rows = [*self._rows(subject, relation, found)]
        except UnclearTimeline as reason:
            self.dropped[str(reason)] += 1
            return False
        draws = self._changed if found.changes else self._unchanged
        draws[relation].offer(f"{relation}|{subject.id}", encode_compact(rows))
        return True

    def _add_always(self, subject: Subject, relation: str, claims: list[Claim]) -> None:
        best = [c for c in claims if c.is_preferred] or claims
        objects = tuple(sorted({LabeledItem(c.object, c.object_label) for c in best}))
        try:
            if len(objects) > MAX_OBJECTS:
                raise UnclearTimeline(f"more than {MAX_OBJECTS} objects at once")
            rows = [
                *self._of_state(subject, relation, FactState(objects, UNKNOWN_START, OPEN_END, ""))
            ]
        except UnclearTimeline as reason:
            self.dropped[str(reason)] += 1
            return
        self._always[relation].offer(f"{relation}|{subject.id}", encode_compact(rows))

    def _rows(self, subject: Subject, relation: str, found: Timeline) -> Iterator[Row]:
        for state in ([found.before] if found.before else []) + [*found.changes]:
            yield from self._of_state(subject, relation, state)

    def _of_state(self, subject: Subject, relation: str, state: FactState) -> Iterator[Row]:
        """A row for each object; those that start on one day hold together.

        Raises Unclear where one cannot be asked.
        """
        for found in state.objects:
            self._check(subject.label, relation, found.label)
            yield {
                "subject": subject.label,
                "relation": relation,
                "object": found.label,
                "start": _iso(state.start),
                "end": _iso(state.end),
                "precision": state.precision or None,
                "source": "wikidata",
                "subject_id": subject.id,
                "object_id": found.id,
            }

    def _check(self, subject: str, relation: str, answer: str) -> None:
        """Raises Unclear where a question would have no name to ask by, or give itself away."""
        if not subject.strip() or not answer.strip():
            raise UnclearTimeline("no English label")
        if len(answer.split()) > MAX_ANSWER_WORDS:
            raise UnclearTimeline(f"an answer of more than {MAX_ANSWER_WORDS} words")
        prompts = (w.replace(SUBJECT, subject) for w in self.relations[relation].wordings)
        if any(len(prompt) > MAX_PROMPT_CHARS for prompt in prompts):
            raise UnclearTimeline(f"a question of more than {MAX_PROMPT_CHARS} characters")
        if subject.casefold() in answer.casefold() or answer.casefold() in subject.casefold():
            raise UnclearTimeline("an answer within its question, or the reverse")
        if SPECIAL_TOKEN.search(f"{subject} {answer}") or {SUBJECT, OBJECT} & {subject, answer}:
            raise UnclearTimeline("a sign that fki or T5 keeps for itself")

    def _unambiguous(self, keys: list[bytes]) -> Iterator[Row]:
        """All rows but those of keys that share their words with another key."""
        first: dict[int, str] = {}  # the subject that words belong to, by their hash
        shared: set[int] = set()
        for row in (json.loads(key)[0] for key in keys):
            if first.setdefault(_label_hash(row), row["subject_id"]) != row["subject_id"]:
                shared.add(_label_hash(row))
        for rows in map(json.loads, keys):
            if _label_hash(rows[0]) in shared:
                self.dropped[SHARED_LABEL] += 1
            else:
                yield from rows


def encode_compact(value: object) -> bytes:
    """A fifth of what rows take in memory."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _label_hash(row: Row) -> int:
    return hash_rank(row["relation"], row["subject"].casefold())


def _row_order(row: Row) -> tuple[str, str, str, str]:
    return row["start"] or "", row["relation"], row["subject"], row["object"]


def _iso(day: date) -> str | None:
    return None if day in (UNKNOWN_START, OPEN_END) else day.isoformat()
