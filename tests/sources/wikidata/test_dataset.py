"""A draft has the rows of a window, and the wordings of the relations in use."""

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


@pytest.mark.parametrize("claims", [(), (leader("2025-09-01"),), (leader("2026-01-01"),)])
def test_a_window_without_changes_is_an_error(claims: tuple[Claim, ...]) -> None:
    with pytest.raises(DataError, match=r"2 requested relations .*2025-10-01 until 2026-01-01"):
        draft_of(*claims)
