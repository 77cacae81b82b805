"""Facts of a window from a query service, in one command, and trained on with the next."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyoxigraph")
from fki.core.paths import data_home
from fki.data import open_dataset
from tests.support.sparql_server import World, sparql

Fki = Callable[..., Any]
QUARTER = ("--since", "2025-10-01", "--until", "2026-01-01")
WHO = ("--contact", "me@example.org")
LIVE = ("download", "wiki", "--from", "wikidata")


@pytest.fixture
def world() -> World:
    """Twenty countries with new heads of government, as many whose heads stay."""
    it = World()
    for n in range(20):
        it.add_label(f"Q{100 + n}", f"Country {n}A")
        it.add_label(f"Q{200 + n}", f"Realm {n}B")
        for kind, first in (("Old", 300), ("New", 400), ("Same", 500)):
            it.add_label(f"Q{first + n}", f"{kind} Leader {n}")
        day = f"2025-{10 + n % 3}-{n + 1:02}"
        it.add_statement(f"Q{100 + n}", "P6", f"Q{300 + n}", start="2020-01-15", end=day)
        it.add_statement(f"Q{100 + n}", "P6", f"Q{400 + n}", start=day)
        it.add_statement(f"Q{200 + n}", "P6", f"Q{500 + n}", start="2025-02-03")
    it.add_statement("Q119", "P6", "Q418", start="2025-11-30")  # two at once
    return it


def rows(folder: Path, stem: str) -> list[dict[str, Any]]:
    text = (folder / f"{stem}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_facts_of_a_quarter_are_downloaded_and_trained_in_two_commands(
    fki: Fki, world: World, short: list[str]
) -> None:
    with sparql(world) as site:
        shown = fki(*LIVE, *QUARTER, *WHO, "--endpoint", site.url, "--relations", "P6")
    assert shown.code == 0, shown.err
    assert "At least 2 queries" in shown.words and "two objects at once" in shown.words
    assert "fki train --preset t5_recadam --version quarter --dataset wiki-2025-Q4" in shown.words
    folder = open_dataset.dataset_folder("wiki-2025-Q4")
    assert [len(rows(folder, s)) for s in ("base", "stream")] == [19 + 20, 19]
    assert rows(folder, "stream")[0] == {
        "subject": "Country 0A",
        "relation": "P6",
        "object": "New Leader 0",
        "start": "2025-10-01",
        "end": None,
        "precision": "day",
        "source": "wikidata",
        "subject_id": "Q100",
        "object_id": "Q400",
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "2026-01-02T03:04:05Z" in card and site.url in card and "cc0-1.0" in card
    assert not [*(data_home() / "downloads").iterdir()]  # the journal has done its work
    assert fki("download", "--check", folder).code == 0
    trained = fki("train", "--version", "month", "--dataset", "wiki-2025-Q4", *short, "--json")
    assert trained.code == 0, trained.err
    assert trained.rows[-1]["summary"]["learning_gain"] is not None


def test_a_live_dataset_has_the_columns_of_the_embedded_one(
    fki: Fki, world: World, wiki: Path
) -> None:
    from datasets import load_dataset

    with sparql(world) as site:
        fki(*LIVE, *QUARTER, *WHO, "--endpoint", site.url, "--relations", "P6")
    folder = open_dataset.dataset_folder("wiki-2025-Q4")
    stream = open_dataset.open_stream("wiki-2025-Q4", "month", "sentinel")
    assert {s.name for s in stream.probe_sets} >= {"initial", "updated", "paraphrase"}
    ours = load_dataset(str(folder), "stream", split="train", cache_dir=str(folder.parent / "c"))
    assert set(rows(wiki, "stream")[0]) <= set(ours.column_names)
    assert ours.num_rows == 19


def test_a_second_download_sends_no_query(fki: Fki, world: World) -> None:
    with sparql(world) as site:
        command = (*LIVE, *QUARTER, "--endpoint", site.url, "--relations", "P6")
        assert fki(*command, *WHO).code == 0
        query_count = len(site.queries)
        again = fki(*command, *WHO)
        assert (
            again.code == 0 and "is already in" in again.words and len(site.queries) == query_count
        )
        other = fki(*command, *WHO, "--limit", "3")
        assert other.code == 3 and "was made by another command" in other.words
        mine = fki(*command, *WHO, "--limit", "3", "--output", "mine")
        assert mine.code == 0 and len(rows(Path("mine"), "stream")) <= 3


def test_a_failed_command_resumes(fki: Fki, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (*LIVE, *QUARTER, *WHO, "--relations", "P6")
    with sparql(world) as site:
        monkeypatch.setattr("fki.net.http.HttpClient._backoff", lambda *_: 0.0)
        site.is_slow = lambda query: "rdfs:label ?label" in query
        failed = fki(*command, "--endpoint", site.url)
        assert failed.code == 3 and "resume" in failed.words
        assert open_dataset.list_datasets() == []
        site.is_slow, query_count = (lambda _: False), len(site.queries)
        assert fki(*command, "--endpoint", site.url).code == 0
        assert len(site.queries) - query_count <= 3  # hints, labels, and how far the data reach


def test_an_interrupted_command_exits_with_75_and_resumes(
    fki: Fki, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    command = (*LIVE, *QUARTER, *WHO, "--relations", "P6")
    with sparql(world) as site:
        with monkeypatch.context() as patch:
            patch.setattr("fki.sources.wikidata.query_crawl.QueryCrawl._fetch_labels", stop)
            stopped = fki(*command, "--endpoint", site.url)
        assert stopped.code == 75 and "same command" in stopped.words
        query_count = len(site.queries)
        assert fki(*command, "--endpoint", site.url).code == 0
        assert len(site.queries) - query_count <= 3


def test_two_processes_with_one_command_query_once(fki: Fki, world: World) -> None:
    with sparql(world) as site:
        site.delay = 0.1
        command = [sys.executable, "-m", "fki", *LIVE, *QUARTER, *WHO, "--relations", "P6"]
        both = [
            subprocess.Popen([*command, "--endpoint", site.url], stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        words = sorted(process.communicate()[1] for process in both)
        query_count = len(site.queries)
        assert [process.returncode for process in both] == [0, 0], words
        assert sum("is now in" in text for text in words) == 1
        assert sum("is already in" in text for text in words) == 1
        alone = fki(*command[3:], "--endpoint", site.url, "--output", "mine")
        assert alone.code == 0 and len(site.queries) == 2 * query_count


def test_the_default_window_is_recorded_as_dates(
    fki: Fki, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class December(date):
        @classmethod
        def today(cls) -> "December":
            return cls(2025, 12, 5)

    command = (*LIVE, *WHO, "--relations", "P6", "--output", "mine")
    with sparql(world) as site:
        with monkeypatch.context() as patch:
            patch.setattr("fki.sources.request.date", December)
            assert fki(*command, "--endpoint", site.url).code == 0
        later = fki(*command, "--endpoint", site.url)
    assert later.code == 3 and "--since 2025-11-01 --until 2025-12-01" in later.words


def test_a_window_without_changes_is_an_error_and_leaves_no_dataset(fki: Fki, world: World) -> None:
    with sparql(world) as site:
        shown = fki(*LIVE, *QUARTER, *WHO, "--endpoint", site.url, "--relations", "P35")
    assert shown.code == 3 and "No usable fact" in shown.words
    assert open_dataset.list_datasets() == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (QUARTER, "--contact you@example.org"),
        ((*QUARTER, "--contact", "nobody"), "--contact you@example.org"),
        ((*QUARTER, "--contact", "mü@example.org"), "--contact you@example.org"),
        ((*WHO, "--until", "0001-01-01"), "begins in the year 2 or later"),
        ((*WHO, "--since", "2026-01-01", "--until", "2025-01-01"), "--since must be before"),
        ((*WHO, "--since", "tomorrow"), "'tomorrow' is not a date"),
        ((*WHO, "--until", "2999-01-01"), "must not be after today"),
        ((*WHO, "--relations", "head of goverment"), "Did you mean 'head of government'"),
        ((*WHO, "--date", "2020"), "does not read --date"),
        ((*WHO, "more.json"), "does not read more than one place"),
    ],
)
def test_an_invalid_request_is_an_error_with_a_hint(
    fki: Fki, more: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FKI_CONTACT", raising=False)
    shown = fki(*LIVE, *more)
    assert shown.code == 2 and words in shown.words


def test_options_of_live_sources_are_refused_for_the_embedded_dataset(fki: Fki) -> None:
    shown = fki("download", "wiki", "--since", "2025-01-01")
    assert shown.code == 2 and "'wiki' does not read --since" in shown.words
