"""Select the rows of a dataset from the claims of subjects: the facts to learn and to evaluate.

A key (subject and relation) is kept or skipped as a whole. `base` holds the facts valid on the day
before the window, `stream` the changes within it, `invariant` the facts that never change. The
filters of answers are those of TemporalWiki (Jang et al., 2022) that need no text.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date
from itertools import groupby
from typing import Any

from fki.core.types import OBJECT, SUBJECT
from fki.data.prompts import SPECIAL_TOKEN
from fki.data.row_schema import check_characters
from fki.sources.dataset_writer import Row
from fki.sources.wikidata.hash_sampling import HashSample, hash_rank
from fki.sources.wikidata.relations import ALWAYS, Relation
from fki.sources.wikidata.spans import OPEN_END, UNKNOWN_START, UnclearTimeline
from fki.sources.wikidata.statements import Claim, Subject, Window
from fki.sources.wikidata.timeline import (
    MAX_OBJECTS,
    FactState,
    LabeledItem,
    Timeline,
    build_timeline,
)

MAX_ANSWER_WORDS = 5  # as in TemporalWiki
MAX_PROMPT_CHARS = 180
KEYS_PER_RELATION = 500  # the sample size for unchanged keys, and for keys that never change
MIN_UNCHANGED = 20  # unchanged keys per relation, or as many as changed keys if these are more

SHARED_LABEL = "label shared by two subjects"
NO_ANSWER_LABEL = "no English label"


class CompactRows(Collection[Row]):
    """Rows in a compact encoding in memory; iteration decodes them and can be repeated."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []

    def append(self, row: Row) -> None:
        """Add a row."""
        self._rows.append(encode_compact(row))

    def sort(self, order: Callable[[Row], Any]) -> None:
        """Sort the rows by a key function."""
        self._rows.sort(key=lambda encoded: order(json.loads(encoded)))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return map(json.loads, self._rows)

    def __contains__(self, row: object) -> bool:
        return any(row == own for own in self)


class FactSelector:
    """Selects rows from subjects in any order; memory grows with the window, not with the input.

    Args:
        max_changed: changed keys per relation; 0 for all.
    """

    def __init__(self, relations: Iterable[Relation], window: Window, max_changed: int = 0) -> None:
        self.relations = {relation.id: relation for relation in relations}
        self.window = window
        self.dropped: Counter[str] = Counter()
        self.undated: Counter[str] = Counter()  # statements taken as valid, and their keys
        self._changed: dict[str, HashSample[bytes]] = defaultdict(lambda: HashSample(max_changed))
        self._unchanged: dict[str, HashSample[bytes]] = defaultdict(
            lambda: HashSample(KEYS_PER_RELATION)
        )
        self._constant: dict[str, HashSample[bytes]] = defaultdict(
            lambda: HashSample(KEYS_PER_RELATION)
        )

    def add(self, subject: Subject) -> None:
        """Add the usable facts of a subject; count the others by reason."""
        claims = sorted(subject.claims, key=lambda claim: claim.relation)
        by_relation = {
            relation: [*group]
            for relation, group in groupby(claims, key=lambda claim: claim.relation)
            if relation in self.relations
        }
        dated = [r for r in by_relation if self.relations[r].update_rule != ALWAYS]
        if any([self._add_dated(subject, r, by_relation[r]) for r in dated]):
            for relation in by_relation.keys() - set(dated):
                self._add_constant(subject, relation, by_relation[relation])

    def build_tables(self) -> dict[str, CompactRows]:
        """Build the tables `base`, `stream` and `invariant`, sorted by date, relation, subject."""
        keys = [key for sample in self._changed.values() for key in sample.lowest(len(sample))]
        for relation, sample in self._unchanged.items():
            changed = self._changed.get(relation)
            keys += sample.lowest(max(MIN_UNCHANGED, len(changed) if changed else 0))
        keys += [key for sample in self._constant.values() for key in sample.lowest(len(sample))]
        since = self.window.since.isoformat()
        tables = {name: CompactRows() for name in ("base", "stream", "invariant")}
        for row in self._iter_unambiguous(keys):
            is_dated = self.relations[row["relation"]].update_rule != ALWAYS
            is_earlier = row["start"] is None or row["start"] < since
            tables["invariant" if not is_dated else "base" if is_earlier else "stream"].append(row)
        for table in tables.values():
            table.sort(_row_order)
        return tables

    def _add_dated(self, subject: Subject, relation: str, claims: list[Claim]) -> bool:
        """Offer the states of one relation to its sample.

        Returns whether they are usable, sampled or not, so that the order of subjects has no
        effect.
        """
        try:
            timeline = build_timeline(claims, self.relations[relation].update_rule, self.window)
            if not timeline.changes and timeline.before is None:
                return False
            rows = [*self._iter_rows(subject, relation, timeline)]
        except UnclearTimeline as reason:
            self.dropped[str(reason)] += 1
            return False
        samples = self._changed if timeline.changes else self._unchanged
        samples[relation].offer(
            f"{relation}|{subject.id}", encode_compact([timeline.undated, rows])
        )
        return True

    def _add_constant(self, subject: Subject, relation: str, claims: list[Claim]) -> None:
        best = [c for c in claims if c.is_preferred] or claims
        objects = tuple(sorted({LabeledItem(c.object, c.object_label) for c in best}))
        state = FactState(objects, UNKNOWN_START, OPEN_END, "")
        try:
            if len(objects) > MAX_OBJECTS:
                raise UnclearTimeline(f"more than {MAX_OBJECTS} objects at once")
            rows = [*self._iter_state_rows(subject, relation, state)]
        except UnclearTimeline as reason:
            self.dropped[str(reason)] += 1
            return
        self._constant[relation].offer(f"{relation}|{subject.id}", encode_compact([0, rows]))

    def _iter_rows(self, subject: Subject, relation: str, timeline: Timeline) -> Iterator[Row]:
        for state in ([timeline.before] if timeline.before else []) + [*timeline.changes]:
            yield from self._iter_state_rows(subject, relation, state)

    def _iter_state_rows(self, subject: Subject, relation: str, state: FactState) -> Iterator[Row]:
        """Yield a row per object; rows of a key with the same start are valid together.

        Raises UnclearTimeline if an object cannot be an answer.
        """
        for item in state.objects:
            self._check(subject.label, relation, item.label)
            yield {
                "subject": subject.label,
                "relation": relation,
                "object": item.label,
                "start": _to_iso(state.start),
                "end": _to_iso(state.end),
                "precision": state.precision or None,
                "source": "wikidata",
                "subject_id": subject.id,
                "object_id": item.id,
            }

    def _check(self, subject: str, relation: str, answer: str) -> None:
        """Raises UnclearTimeline if a label is missing, too long, reserved or in the prompt."""
        if not subject.strip() or not answer.strip():
            raise UnclearTimeline(NO_ANSWER_LABEL)
        try:
            check_characters("label", subject + answer)
        except ValueError:  # or half a character
            raise UnclearTimeline("label contains a control character") from None
        if len(answer.split()) > MAX_ANSWER_WORDS:
            raise UnclearTimeline(f"answer longer than {MAX_ANSWER_WORDS} words")
        prompts = (w.replace(SUBJECT, subject) for w in self.relations[relation].wordings)
        if any(len(prompt) > MAX_PROMPT_CHARS for prompt in prompts):
            raise UnclearTimeline(f"prompt longer than {MAX_PROMPT_CHARS} characters")
        if contain_each_other(subject, answer):
            raise UnclearTimeline("answer contained in its prompt, or the reverse")
        if SPECIAL_TOKEN.search(f"{subject} {answer}") or {SUBJECT, OBJECT} & {subject, answer}:
            raise UnclearTimeline("label contains a token reserved by fki or T5")

    def _iter_unambiguous(self, keys: list[bytes]) -> Iterator[Row]:
        """Yield the rows of all keys, except keys whose labels belong to another subject too."""
        owners: dict[int, str] = {}  # subject id by the hash of relation and label
        shared: set[int] = set()
        for row in (json.loads(key)[1][0] for key in keys):
            if owners.setdefault(_label_hash(row), row["subject_id"]) != row["subject_id"]:
                shared.add(_label_hash(row))
        for undated, rows in map(json.loads, keys):
            if _label_hash(rows[0]) in shared:
                self.dropped[SHARED_LABEL] += 1
                continue
            if undated:
                self.undated.update(statements=undated, keys=1)
            yield from rows


def contain_each_other(subject: str, answer: str) -> bool:
    """Whether one text contains the other, ignoring case (a filter of TemporalWiki)."""
    a, b = subject.casefold(), answer.casefold()
    return a in b or b in a


def encode_compact(value: object) -> bytes:
    """Encode a JSON value in about a fifth of the memory of its Python objects."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _label_hash(row: Row) -> int:
    return hash_rank(row["relation"], row["subject"].casefold())


def _row_order(row: Row) -> tuple[str, str, str, str]:
    return row["start"] or "", row["relation"], row["subject"], row["object"]


def _to_iso(day: date) -> str | None:
    return None if day in (UNKNOWN_START, OPEN_END) else day.isoformat()
