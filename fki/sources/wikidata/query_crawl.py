"""Collect the subjects that changed in a window, and a sample of others, from the query service.

The crawl has five rounds: subjects that changed, relation by relation; subjects whose statements
are still valid; all statements of both, which include the previous objects; their facts that never
change; labels. The queries of a round follow from the answers of the round before, so the journal
answers them again after an interruption.
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
    is_before_christ,
    parse_time,
)

PAGE_SIZE = 5_000  # subjects in an answer
SUBJECTS_PER_QUERY = 100  # whose statements are requested
LABELS_PER_QUERY = 400
LONGEST_PART = timedelta(days=92)  # of the window, in one query
LOOKBACK = timedelta(days=365)  # unchanged facts started so long before the window, or later

ReportRound = Callable[[str, int, int], None]  # name of the round, queries done, queries in all
Row = dict[str, str]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class QueryCrawl:
    """Collects subjects with their claims from a query service.

    Args:
        max_changed: changed subjects per relation; 0 for all.
        max_unchanged: unchanged subjects per relation.
        report: receives the progress of each round.
    """

    service: QueryService
    window: Window
    relations: Sequence[Relation]
    max_changed: int = 0
    max_unchanged: int = 100
    report: ReportRound = lambda *_: None

    @property
    def dated_relations(self) -> list[str]:
        """The relations whose statements change."""
        return [r.id for r in self.relations if r.update_rule != ALWAYS]

    @property
    def min_queries(self) -> int:
        """The number of queries of the first two rounds, if no answer needs a second page."""
        return len(self.dated_relations) * (len(split_window(self.window)) + 1)

    def iter_subjects(self) -> Iterator[Subject]:
        """Yield each subject once, with its claims. Raises DataError if the service fails."""
        hints = self._supports_hints()
        keys = self._find_changed(hints)
        keys += self._find_unchanged(hints)
        claims = self._fetch_statements(keys)
        claims += self._fetch_constant({subject for subject, _ in claims})
        labels = self._fetch_labels({s for s, _ in claims} | {c.object for _, c in claims})
        by_subject: dict[str, list[Claim]] = {}
        for subject, claim in claims:
            labeled = replace(claim, object_label=labels.get(claim.object, ""))
            by_subject.setdefault(subject, []).append(labeled)
        for subject, own_claims in by_subject.items():
            yield Subject(subject, labels.get(subject, ""), own_claims)

    def _supports_hints(self) -> bool:
        try:
            return self.service.ask(sparql.SUPPORTS_HINTS)
        except QueryTooSlow:
            return False

    def _run_round(self, name: str, work: Callable[[T], list[R]], parts: Sequence[T]) -> list[R]:
        """Apply `work` to the parts of a round and concatenate the results."""
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            self.report(name, done, len(parts))

        self.report(name, 0, len(parts))
        return [row for rows in self.service.map(work, parts, count) for row in rows]

    def _find_changed(self, hints: bool) -> list[tuple[str, str]]:
        """(relation, subject) pairs with a statement that starts or ends in the window."""
        parts = [(r, part) for r in self.dated_relations for part in split_window(self.window)]

        def work(part: tuple[str, Window]) -> list[tuple[str, str]]:
            relation, days = part[0], days_of(part[1])
            rows = query_divided(partial(self._query_pages, relation, hints), days)
            return [(relation, subject) for subject in _subject_ids(rows)]

        pairs = self._run_round("Changed subjects", work, parts)
        return [
            (relation, subject)
            for relation in self.dated_relations
            for subject in sample_names((s for r, s in pairs if r == relation), self.max_changed)
        ]

    def _query_pages(self, relation: str, hints: bool, days: list[date]) -> Rows:
        """All changed subjects of consecutive days, page by page."""
        rows: Rows = []
        until = days[-1] + timedelta(days=1)
        while len(rows) % PAGE_SIZE == 0:
            query = sparql.select_changed(
                relation, days[0], until, limit=PAGE_SIZE, offset=len(rows), hints=hints
            )
            page = self.service.query(query)
            rows += page
            if not page:
                break
        return rows

    def _find_unchanged(self, hints: bool) -> list[tuple[str, str]]:
        """(relation, subject) pairs with a statement that started before the window and is still
        valid, a sample."""

        def work(relation: str) -> list[tuple[str, str]]:
            since = self.window.since - LOOKBACK
            while since < self.window.since:
                query = sparql.select_unchanged(
                    relation, since, self.window.since, limit=self.max_unchanged, hints=hints
                )
                try:
                    rows = self.service.query(query)
                except QueryTooSlow:  # retry with half of the days
                    since += (self.window.since - since + timedelta(days=1)) / 2
                    continue
                return [(relation, subject) for subject in _subject_ids(rows)]
            return []

        relations = self.dated_relations if self.max_unchanged else []
        return self._run_round("Unchanged subjects", work, relations)

    def _fetch_statements(self, keys: list[tuple[str, str]]) -> list[tuple[str, Claim]]:
        """(subject, claim) pairs of all statements of these relations and subjects."""
        parts = [
            (relation, batch)
            for relation in self.dated_relations
            for batch in split_batches({s for r, s in keys if r == relation}, SUBJECTS_PER_QUERY)
        ]

        def work(part: tuple[str, list[str]]) -> list[tuple[str, Claim]]:
            relation, batch = part

            def query(subjects: list[str]) -> Rows:
                return self.service.query(sparql.select_statements(relation, subjects))

            return [*_iter_claims(relation, query_divided(query, batch))]

        return self._run_round("Statements", work, parts)

    def _fetch_constant(self, subjects: set[str]) -> list[tuple[str, Claim]]:
        """(subject, claim) pairs of the relations that never change."""
        relations = [r.id for r in self.relations if r.update_rule == ALWAYS]

        def query(some_subjects: list[str]) -> Rows:
            return self.service.query(sparql.select_constant(relations, some_subjects))

        def work(batch: list[str]) -> list[tuple[str, Claim]]:
            rows = query_divided(query, batch)
            return [
                (subject, Claim(row["relation"].rpartition("/")[2], object_, ""))
                for row in rows
                if (subject := _item_id(row, "subject")) and (object_ := _item_id(row, "object"))
            ]

        batches = split_batches(subjects, SUBJECTS_PER_QUERY) if relations else []
        return self._run_round("Constant facts", work, batches)

    def _fetch_labels(self, items: set[str]) -> dict[str, str]:
        """Labels by item: English ones, else those for all languages."""

        def query(some_items: list[str]) -> Rows:
            return self.service.query(sparql.select_labels(some_items))

        batches = split_batches(items, LABELS_PER_QUERY)
        rows = self._run_round("Labels", partial(query_divided, query), batches)
        rows.sort(key=lambda row: sparql.LANGUAGES.index(row["language"]), reverse=True)
        return {_item_id(row, "item"): " ".join(row["label"].split()) for row in rows}


def split_window(window: Window) -> list[Window]:
    """Split a window into parts that are short enough for one query."""
    starts = days_of(window)[:: LONGEST_PART.days]
    return [Window(*both) for both in zip(starts, [*starts[1:], window.until], strict=True)]


def days_of(window: Window) -> list[date]:
    """The days of a window."""
    return [window.since + timedelta(days=n) for n in range((window.until - window.since).days)]


def split_batches(names: Iterable[str], size: int) -> list[list[str]]:
    """Split sorted names into batches, so that the same names make the same queries."""
    ordered = sorted(names)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _item_id(row: Row, name: str) -> str:
    """The item in a cell, "" if the cell has a text, a number, a property or a blank node."""
    match = sparql.ITEM_URI.fullmatch(row.get(name, ""))
    return match[1] if match else ""


def _subject_ids(rows: Rows) -> list[str]:
    return [item for row in rows if (item := _item_id(row, "subject"))]


def _iter_claims(relation: str, rows: Rows) -> Iterator[tuple[str, Claim]]:
    """Yield each statement once; it has one row per combination of its dates."""
    by_statement: dict[str, list[Row]] = {}
    for row in rows:
        if _item_id(row, "subject") and _item_id(row, "object"):
            by_statement.setdefault(row["statement"], []).append(row)
    for same in by_statement.values():
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
            is_start_unknown=_is_unknown(same, "start", "started")
            or _is_unknown(same, "point", "pointed"),
        )
        yield _item_id(row, "subject"), claim


def _find_fault(rows: list[Row]) -> str:
    """The reason why the dates of a statement with these rows are unusable; "" if they are fine."""
    if any(len({row.get(name) for row in rows}) > 1 for name in ("start", "end", "point")):
        return TWO_DATES
    return UNKNOWN_END if rows[0].get("ended") and _latest_date(rows, "end") is None else ""


def _is_unknown(rows: list[Row], name: str, value: str) -> bool:
    """Whether a statement has a date of this name that cannot be read and may lie in a window."""
    texts = {row[value] for row in rows if row.get(value)}
    return _latest_date(rows, name) is None and not all(map(is_before_christ, texts))


def _latest_date(rows: list[Row], name: str) -> PartialDate | None:
    """The latest of a statement's dates of this name."""
    times = [(row[name], int(row[f"{name}Precision"])) for row in rows if row.get(name)]
    return parse_time(*max(times)) if times else None
