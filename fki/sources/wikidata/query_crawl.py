"""Who changed in a window, who did not, and all that is said about them: questions in five rounds.

First which subjects changed, relation by relation; then others whose statements stand; then all
statements of both, so that what held before is known too; then what never changes about them; then
labels. Each round's questions follow from the answers of the one before, so that a journal answers
them again after an interruption.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import TypeVar

from fki.sources.wikidata import sparql
from fki.sources.wikidata.hash_sampling import sample_names
from fki.sources.wikidata.query_service import QueryService, QueryTooSlow, Rows, query_divided
from fki.sources.wikidata.relations import ALWAYS, Relation
from fki.sources.wikidata.statements import (
    TWO_DATES,
    UNKNOWN_END,
    Claim,
    PartialDate,
    Subject,
    Window,
    parse_time,
)

PAGE_SIZE = 5_000  # subjects in an answer
SUBJECTS_PER_QUERY, LABELS_PER_QUERY = (
    100,
    400,
)  # asked about at once: their statements; their labels
LONGEST_PART = timedelta(days=92)  # the longest time that one question is about
LOOKBACK = timedelta(days=365)  # how long before the window what still stands began

ReportRound = Callable[
    [str, int, int], None
]  # the round, its questions that are answered, all of them
Row = dict[str, str]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class QueryCrawl:
    """Subjects with their statements, from a query service.

    Args:
        most: subjects that changed, of each relation; 0 for all.
        kept: subjects that did not, of each relation.
    """

    service: QueryService
    window: Window
    relations: Sequence[Relation]
    most: int = 0
    kept: int = 100
    told: ReportRound = lambda *_: None

    @property
    def dated(self) -> list[str]:
        """The relations whose statements change."""
        return [r.id for r in self.relations if r.holds != ALWAYS]

    @property
    def least(self) -> int:
        """How many questions it takes until it is known how much changed."""
        return len(self.dated) * (len(split_window(self.window)) + 1)

    def subjects(self) -> Iterator[Subject]:
        """Each subject once, with what is said about it. Raises DataError."""
        hints = self._knows_hints()
        keys = self._changed(hints)
        keys += self._unchanged(hints)
        said = self._statements(keys)
        said += self._never_changing({subject for subject, _ in said})
        names = self._labels({s for s, _ in said} | {c.object for _, c in said})
        found: dict[str, list[Claim]] = {}
        for subject, claim in said:
            named = replace(claim, object_label=names.get(claim.object, ""))
            found.setdefault(subject, []).append(named)
        for subject, claims in found.items():
            yield Subject(subject, names.get(subject, ""), claims)

    def _knows_hints(self) -> bool:
        try:
            return self.service.knows(sparql.SUPPORTS_HINTS)
        except QueryTooSlow:
            return False

    def _round(self, name: str, work: Callable[[T], list[R]], parts: Sequence[T]) -> list[R]:
        """All that the questions of a round bring."""
        done = 0

        def told() -> None:
            nonlocal done
            done += 1
            self.told(name, done, len(parts))

        self.told(name, 0, len(parts))
        return [row for rows in self.service.each(work, parts, told) for row in rows]

    def _changed(self, hints: bool) -> list[tuple[str, str]]:
        """(relation, subject) of those with a statement that begins or ends in the window."""
        parts = [(r, part) for r in self.dated for part in split_window(self.window)]

        def work(part: tuple[str, Window]) -> list[tuple[str, str]]:
            relation, some_days = part[0], days_of(part[1])
            rows = query_divided(partial(self._pages, relation, hints), some_days)
            return [(relation, subject) for subject in _subject_ids(rows)]

        found = self._round("What changed", work, parts)
        return [
            (r, s)
            for r in self.dated
            for s in sample_names((s for k, s in found if k == r), self.most)
        ]

    def _pages(self, relation: str, hints: bool, wanted: list[date]) -> Rows:
        """All subjects of some days, page by page."""
        rows: Rows = []
        until = wanted[-1] + timedelta(days=1)
        while len(rows) % PAGE_SIZE == 0:
            page = self.service.rows(
                sparql.select_changed(
                    relation, wanted[0], until, most=PAGE_SIZE, after=len(rows), hints=hints
                )
            )
            rows += page
            if not page:
                break
        return rows

    def _unchanged(self, hints: bool) -> list[tuple[str, str]]:
        """(relation, subject) of some whose statements began before the window, and stand."""

        def work(relation: str) -> list[tuple[str, str]]:
            since = self.window.since - LOOKBACK
            while since < self.window.since:
                try:
                    rows = self.service.rows(
                        sparql.select_unchanged(
                            relation, since, self.window.since, most=self.kept, hints=hints
                        )
                    )
                except QueryTooSlow:  # of a shorter time, then
                    since += (self.window.since - since + timedelta(days=1)) / 2
                    continue
                return [(relation, subject) for subject in _subject_ids(rows)]
            return []

        return self._round("What did not", work, self.dated if self.kept else [])

    def _statements(self, keys: list[tuple[str, str]]) -> list[tuple[str, Claim]]:
        """All statements of these relations about these subjects, by subject."""
        parts = [
            (relation, batch)
            for relation in self.dated
            for batch in split_batches({s for r, s in keys if r == relation}, SUBJECTS_PER_QUERY)
        ]

        def work(part: tuple[str, list[str]]) -> list[tuple[str, Claim]]:
            relation, batch = part

            def ask(some: list[str]) -> Rows:
                return self.service.rows(sparql.select_statements(relation, some))

            return [*_iter_claims(relation, query_divided(ask, batch))]

        return self._round("Since when", work, parts)

    def _never_changing(self, subjects: set[str]) -> list[tuple[str, Claim]]:
        relations = [r.id for r in self.relations if r.holds == ALWAYS]

        def ask(some: list[str]) -> Rows:
            return self.service.rows(sparql.select_constant(relations, some))

        def work(batch: list[str]) -> list[tuple[str, Claim]]:
            rows = query_divided(ask, batch)
            return [
                (subject, Claim(row["relation"].rpartition("/")[2], object_, ""))
                for row in rows
                if (subject := _item_id(row, "subject")) and (object_ := _item_id(row, "object"))
            ]

        return self._round(
            "What never does",
            work,
            split_batches(subjects, SUBJECTS_PER_QUERY) if relations else [],
        )

    def _labels(self, items: set[str]) -> dict[str, str]:
        """English labels, else those for all languages."""

        def ask(some: list[str]) -> Rows:
            return self.service.rows(sparql.select_labels(some))

        rows = self._round(
            "Names", partial(query_divided, ask), split_batches(items, LABELS_PER_QUERY)
        )
        first = sorted(rows, key=lambda row: sparql.LANGUAGES.index(row["language"]), reverse=True)
        return {_item_id(row, "item"): " ".join(row["label"].split()) for row in first}


def split_window(window: Window) -> list[Window]:
    """A window in parts that one question may be about."""
    starts = days_of(window)[:: LONGEST_PART.days]
    return [Window(*both) for both in zip(starts, [*starts[1:], window.until], strict=True)]


def days_of(window: Window) -> list[date]:
    """Each day of a window."""
    return [window.since + timedelta(days=n) for n in range((window.until - window.since).days)]


def split_batches(names: Iterable[str], size: int) -> list[list[str]]:
    """Names in their order, so many at a time, so that the same names make the same questions."""
    every = sorted(names)
    return [every[i : i + size] for i in range(0, len(every), size)]


def _item_id(row: Row, name: str) -> str:
    """The item that a cell names, "" for a text, a number, a property or nobody knows what."""
    found = sparql.ITEM_URI.fullmatch(row.get(name, ""))
    return found[1] if found else ""


def _subject_ids(rows: Rows) -> list[str]:
    return [item for row in rows if (item := _item_id(row, "subject"))]


def _iter_claims(relation: str, rows: Rows) -> Iterator[tuple[str, Claim]]:
    """Each statement once, though it has a row for each of its dates."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        if _item_id(row, "subject") and _item_id(row, "object"):
            grouped.setdefault(row["statement"], []).append(row)
    for same in grouped.values():
        row = same[0]
        claim = Claim(
            relation,
            _item_id(row, "object"),
            "",
            start=_latest_date(same, "start"),
            end=_latest_date(same, "end"),
            point=_latest_date(same, "point"),
            is_preferred=row["rank"].endswith("PreferredRank"),
            fault=_find_fault(same),
        )
        yield _item_id(row, "subject"), claim


def _find_fault(rows: list[Row]) -> str:
    """Why the time of a statement, whose rows these are, cannot be told; "" where it can."""
    if any(len({row.get(name) for row in rows}) > 1 for name in ("start", "end", "point")):
        return TWO_DATES
    return UNKNOWN_END if rows[0].get("ended") and _latest_date(rows, "end") is None else ""


def _latest_date(rows: list[Row], name: str) -> PartialDate | None:
    """The date of this name, the last of several."""
    told = [(row[name], int(row[f"{name}Precision"])) for row in rows if row.get(name)]
    return parse_time(*max(told)) if told else None
