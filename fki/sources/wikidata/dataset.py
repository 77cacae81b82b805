"""A dataset of Wikidata's facts, whichever way they came: the same rows, wordings and card."""

from collections.abc import Iterable, Sequence

from fki.core.errors import DataError
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import DownloadRequest
from fki.sources.wikidata.relations import Relation
from fki.sources.wikidata.select_facts import FactSelector
from fki.sources.wikidata.statements import Subject, Window

NOTES = (
    "Wikidata is written by everybody: a change may be entered weeks after it happened, or never. "
    "A window that closed long ago is told more completely.",
    "A key (subject and relation) with statements that cannot be put in order is left out as a "
    "whole: two objects at once where one is meant, a date known to the year only, an end without "
    "a successor.",
    "`precision` says how exactly a start is known; one of `month` stands at the month's first "
    "day, so do not cut such a stream by the day.",
    "A month's first day, and a year's, hold more than others: some who enter facts know no better "
    "day.",
    "Unchanged facts (`base` rows whose key is not in `stream`) are a draw by SHA-256 from those "
    "that began before the window and stand.",
)


def build_draft(
    subjects: Iterable[Subject],
    relations: Sequence[Relation],
    window: Window,
    wanted: DownloadRequest,
    origin: SourceRecord,
) -> DatasetDraft:
    """The dataset of a window. Raises DataError where nothing changed in it."""
    sieve = FactSelector(relations, window, wanted.limit)
    for subject in subjects:
        sieve.add(subject)
    tables = sieve.tables()
    if not tables["stream"]:
        raise DataError(
            f"Nothing that can be told changed from {window.since} until {window.until} in the "
            f"{len(relations)} relations that were asked for.",
            hint="Try a longer window, or --relations all",
        )
    used = {row["relation"] for rows in tables.values() for row in rows}
    return DatasetDraft(
        wanted.dataset,
        f"what changed in Wikidata from {window.since} until {window.until}",
        f"Dated facts that began within {window.since} and {window.until} (exclusive), what held "
        "on the eve of the window, and facts that never change, with the labels of English texts.",
        "cc0-1.0",
        [origin],
        tables,
        {r.id: {"label": r.label, "wordings": [*r.wordings]} for r in relations if r.id in used},
        sieve.dropped,
        [*NOTES],
        wanted.typed,
    )
