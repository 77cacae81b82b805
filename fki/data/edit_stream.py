"""Cuts facts into periods of K edits each, for the versions `edits:K`.

An edit is a fact that changes an answer. A period has no two edits of one subject and relation: an
edit that contradicts an earlier one of its period begins the next period, or, where all edits are
one period, is left out and counted.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import date

from fki.core.edit_version import EditVersion
from fki.core.errors import DataError
from fki.core.types import Document, Fact
from fki.data.stream import find_old_answers, save_facts, set_base, start_of
from fki.data.stream_store import StreamStore

Row = tuple[Fact, tuple[str, ...]]  # with the answers before


def fill_store_with_edits(
    store: StreamStore,
    version: EditVersion,
    base: Iterable[Fact],
    items: Iterable[Fact | Document],
) -> None:
    """Cut facts into the periods of a store. Raises DataError for a document."""
    store.add_items((start_of(item), item) for item in _only_facts(items))
    set_base(store, base)
    periods = _Periods(store, version, store.item_count())
    for fact in _iter_facts(store, version.seed):
        periods.add(fact)
    periods.close()
    store.save_notes(periods.notes())
    store.finish()


def find_edits(store: StreamStore) -> Mapping[str, str]:
    """The name of the period of each edit, by its case; edits without a case are left out."""
    return {
        row.fact.case: name
        for number, _, name, _ in store.periods()
        for row in store.iter_rows(number)
        if row.fact.case
    }


def _only_facts(items: Iterable[Fact | Document]) -> Iterator[Fact]:
    for item in items:
        if isinstance(item, Document):
            raise DataError(
                "A version of edits has facts alone; this dataset has documents.",
                hint="Use another version, such as --version all",
            )
        yield item


def _iter_facts(store: StreamStore, seed: int | None) -> Iterator[Fact]:
    """The facts by date and place, or in a random order."""
    places = store.item_places()
    if seed is not None:
        random.Random(f"{seed}|edits").shuffle(places)
    return map(store.get_fact, places)


class _Periods:
    """The periods so far, and the edits of the current one."""

    def __init__(self, store: StreamStore, version: EditVersion, total: int) -> None:
        """`total`: at least the number of all edits."""
        self.store, self.version, self.total = store, version, total
        self.rows: list[Row] = []
        self.number = self.edits = self.refused = 0

    def add(self, fact: Fact) -> None:
        """Add a fact, if it changes an answer."""
        if any(fact.key == other.key for other, _ in self.rows):
            if not self.version.size:
                self.refused += 1
                return
            self.close()
        old = find_old_answers(self.store, fact, start_of(fact))
        if old is None:
            return
        self.rows.append((fact, old))
        if len(self.rows) == self.version.size:
            self.close()

    def close(self) -> None:
        """Save the current period, and begin the next one."""
        if not self.rows:
            return
        first, self.edits = self.edits + 1, self.edits + len(self.rows)
        name = self.version.period_name(first, self.edits, self.total)
        save_facts(self.store, self.number, self._days(), name, self.rows, [])
        self.number, self.rows = self.number + 1, []

    def _days(self) -> tuple[date, date]:
        days = [start_of(fact) for fact, _ in self.rows]
        return min(days), max(days)

    def notes(self) -> list[str]:
        """A note on the edits that are left out."""
        if not self.refused:
            return []
        edits = "edit contradicts" if self.refused == 1 else "edits contradict"
        return [
            f"{self.refused:,} {edits} an earlier edit of the same subject and relation, and "
            f"{'is' if self.refused == 1 else 'are'} left out. With edits:1 they are periods of "
            "their own."
        ]
