"""A dataset is built from the query service, and its journal is deleted afterwards."""

from pathlib import Path

import pytest

pytest.importorskip("pyoxigraph")
from fki.core.paths import data_home
from fki.sources.request import WikidataRequest
from fki.sources.wikidata.from_query_service import dataset_name, open_draft, resolve_dates
from tests.support.sparql_server import sparql
from tests.support.wikidata_world import small_world


class Recorder:
    """Records notes and progress."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rounds: dict[str, tuple[int, int]] = {}

    def report_file(self, progress: object) -> None:
        raise AssertionError("no file is downloaded")

    def report_count(self, label: str, done: int, total: int) -> None:
        self.rounds[label] = done, total

    def note(self, text: str) -> None:
        self.notes.append(text)


def journals() -> list[Path]:
    folder = data_home() / "downloads"
    return [*folder.iterdir()] if folder.is_dir() else []


def request(endpoint: str = "") -> WikidataRequest:
    return WikidataRequest(
        name="wiki", source="wikidata", since="2025-10-01", until="2026-01-01", relations="P6,P19",
        endpoint=endpoint, contact="me@example.org",
    )  # fmt: skip


def test_a_journal_is_kept_until_the_dataset_is_in_place() -> None:
    reporter = Recorder()
    with sparql(small_world()) as site, open_draft(request(site.url), reporter) as draft:
        assert [row["object"] for row in draft.tables["stream"]] == ["Bo Bridge"]
        assert len(journals()) == 1
        assert site.url in draft.origins[0].url and "2026-01-02" in draft.origins[0].revision
    assert journals() == []
    assert f"At least 2 queries to {site.url}" in reporter.notes[0]
    assert all(done == total for done, total in reporter.rounds.values())
    assert len(reporter.rounds) == 5


def test_a_failure_leaves_the_journal_for_the_next_run() -> None:
    with (
        pytest.raises(OSError),
        sparql(small_world()) as site,
        open_draft(request(site.url), Recorder()),
    ):
        raise OSError("disk full")
    assert len(journals()) == 1


def test_a_request_is_named_by_its_window_and_settled_to_dates() -> None:
    assert dataset_name(request()) == "wiki-2025-Q4"
    assert resolve_dates(request()) == request()
    assert resolve_dates(WikidataRequest(name="wiki", until="2025-02-01")).since == "2025-01-01"
