"""A draft has the rows of a window, and the wordings of the relations in use."""

from collections import Counter
from datetime import date

import pytest

from fki.core.errors import DataError
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import DumpRequest
from fki.sources.wikidata.dataset import build_draft
from fki.sources.wikidata.relations import select_relations
from fki.sources.wikidata.statements import Claim, PartialDate, Subject, Window

WINDOW = Window(date(2025, 10, 1), date(2026, 1, 1))
REQUEST = DumpRequest(name="wiki", source="dump", since=str(WINDOW.since), until=str(WINDOW.until))
SOURCE = SourceRecord("latest-all.json.bz2", "cc0-1.0", "1 byte")


def draft_of(*claims: Claim) -> DatasetDraft:
    subject = Subject("Q1", "Avalon", [*claims])
    return build_draft([subject], select_relations("P6,P35"), WINDOW, REQUEST, SOURCE)


def leader(day: str) -> Claim:
    return Claim("P6", "Q2", "Ada Quill", start=PartialDate(day, "day"))


def test_a_draft_has_the_wordings_of_the_relations_in_use() -> None:
    draft = draft_of(leader("2025-11-01"))
    assert [row["object"] for row in draft.tables["stream"]] == ["Ada Quill"]
    assert [*draft.wordings] == ["P6"]
    assert draft.name == "wiki-2025-Q4" and draft.command == REQUEST.command


def test_the_error_names_the_reasons_and_no_remedy_that_is_followed_already() -> None:
    unlabeled = Claim("P6", "Q2", "", start=PartialDate("2025-11-01", "day"))
    with pytest.raises(DataError, match=r"Skipped: no English label \(1\)") as caught:
        draft_of(unlabeled)
    assert "whole dump" in (caught.value.hint or "")
    two = [leader("2025-11-01"), Claim("P6", "Q3", "Bo", start=PartialDate("2025-11-01", "day"))]
    with pytest.raises(DataError, match=r"two objects at once") as caught:
        draft_of(*two)
    assert caught.value.hint == "Try a longer window, or --relations all"
    with pytest.raises(DataError) as caught:
        build_draft([], select_relations("all"), WINDOW, REQUEST, SOURCE, Counter({"a reason": 2}))
    assert "a reason (2)" in str(caught.value) and caught.value.hint == "Try a longer window"


@pytest.mark.parametrize("claims", [(), (leader("2025-09-01"),), (leader("2026-01-01"),)])
def test_a_window_without_changes_is_an_error(claims: tuple[Claim, ...]) -> None:
    with pytest.raises(DataError, match=r"2 requested relations .*2025-10-01 until 2026-01-01"):
        draft_of(*claims)


@pytest.mark.parametrize(
    ("undated", "expected"),
    [
        ("A", "1 undated statement of 1 key is taken as valid throughout the window: no other "
         "statement of its key has ended or is preferred to it."),
        ("AB", "2 undated statements of 1 key are taken as valid throughout the window: no other "
         "statement of their key has ended or is preferred to them."),
    ],
)  # fmt: skip
def test_the_note_about_undated_statements_counts_in_words(undated: str, expected: str) -> None:
    teams = [Claim("P54", f"Q{n}", f"Team {name}") for n, name in enumerate(undated, 10)]
    for n, day in enumerate(("1990-05-26", "2025-11-01"), 20):
        teams.append(Claim("P54", f"Q{n}", f"Club {n}", start=PartialDate(day, "day")))
    subject = Subject("Q1", "Ada Quill", teams)
    draft = build_draft([subject], select_relations("P54"), WINDOW, REQUEST, SOURCE)
    assert [note for note in draft.notes if "undated" in note] == [expected]
