"""Build a dataset of Wikidata facts; rows, wordings and card are the same for both sources."""

from collections import Counter
from collections.abc import Iterable, Sequence

from fki.core.errors import DataError
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import WindowRequest
from fki.sources.wikidata.relations import Relation, load_relations
from fki.sources.wikidata.select_facts import NO_ANSWER_LABEL, FactSelector
from fki.sources.wikidata.statements import Subject, Window

MAX_REASONS = 3  # in the error of a dataset without changes
NOTES = (
    "Wikidata is edited by volunteers: a change may be entered weeks after it happened, or never. "
    "Older windows are more complete.",
    "A key (subject and relation) is skipped as a whole if its statements have no clear order: two "
    "objects at once where only one is expected, a date known only to the year, an end without a "
    "successor.",
    "`precision` is the precision of the start date; a start of precision `month` is stored as the "
    "first day of the month, so do not split such a stream into days.",
    "The first day of a month or year has more facts than other days: some editors do not know the "
    "exact day.",
    "Unchanged facts (`base` rows whose key is not in `stream`) are a SHA-256 sample of the facts "
    "that started before the window and have not ended.",
)


def build_draft(
    subjects: Iterable[Subject],
    relations: Sequence[Relation],
    window: Window,
    request: WindowRequest,
    source: SourceRecord,
    dropped: Counter[str] | None = None,
) -> DatasetDraft:
    """Build the dataset of a window.

    Args:
        dropped: statements that the source skipped, by reason.
    Raises:
        DataError: no fact changed in the window.
    """
    selector = FactSelector(relations, window, request.limit)
    for subject in subjects:
        selector.add(subject)
    tables = selector.build_tables()
    if not tables["stream"]:
        raise _nothing_changed(relations, window, selector.dropped + (dropped or Counter()))
    used = {row["relation"] for rows in tables.values() for row in rows}
    return DatasetDraft(
        request.dataset_name,
        f"Wikidata facts that changed from {window.since} until {window.until}",
        f"Dated facts that started between {window.since} and {window.until} (exclusive), the "
        "facts valid on the day before the window, and facts that never change. Labels are the "
        "English ones.",
        "cc0-1.0",
        [source],
        tables,
        {r.id: {"label": r.label, "wordings": [*r.wordings]} for r in relations if r.id in used},
        selector.dropped + (dropped or Counter()),
        [*NOTES, *_describe_undated(selector)],
        request.command,
    )


def _nothing_changed(
    relations: Sequence[Relation], window: Window, dropped: Counter[str]
) -> DataError:
    """The error of a dataset without changes; it names the main reasons and a remedy."""
    reasons = [f"{why} ({count:,})" for why, count in dropped.most_common(MAX_REASONS)]
    skipped = f" Skipped: {'; '.join(reasons)}." if reasons else ""
    hint = "Try a longer window"
    if dropped.most_common(1) and dropped.most_common(1)[0][0] == NO_ANSWER_LABEL:
        hint = "The labels of objects are missing, as in a filtered dump: read a whole dump."
    elif len(relations) < len(load_relations()):
        hint += ", or --relations all"
    return DataError(
        f"No usable fact of the {len(relations)} requested relations changed from "
        f"{window.since} until {window.until}.{skipped}",
        hint=hint,
    )


def _describe_undated(selector: FactSelector) -> list[str]:
    """The note about undated statements that are answers, if there are any."""
    if not selector.undated:
        return []
    statements, keys = selector.undated["statements"], selector.undated["keys"]
    is_one = statements == 1
    return [
        f"{statements:,} undated {'statement' if is_one else 'statements'} of {keys:,} "
        f"{'key' if keys == 1 else 'keys'} {'is' if is_one else 'are'} taken as valid throughout "
        f"the window: no other statement of {'its' if is_one else 'their'} key has ended or is "
        f"preferred to {'it' if is_one else 'them'}."
    ]
