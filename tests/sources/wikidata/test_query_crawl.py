"""A crawl of a real SPARQL engine returns the changed subjects with all their claims."""

from collections.abc import Callable
from datetime import date

import pytest

pytest.importorskip("pyoxigraph")
from fki.sources.wikidata import query_crawl
from fki.sources.wikidata.query_crawl import QueryCrawl, split_window
from fki.sources.wikidata.statements import (
    TWO_DATES,
    UNKNOWN_END,
    PartialDate,
    Window,
)
from tests.support.sparql_server import World, sparql
from tests.support.wikidata_world import ALL, LEADER, TEAM, by_label, small_world


@pytest.mark.parametrize("hints", [False, True])
def test_a_crawl_returns_changed_previous_and_unchanged_objects(
    open_crawl: Callable[..., QueryCrawl], hints: bool
) -> None:
    with sparql(small_world(), hints=hints) as site:
        assert by_label([*open_crawl(site).iter_subjects()]) == ALL
        date_queries = [q for q in site.queries if "pq:P580 ?time" in q]
        assert date_queries and all(("rangeSafe" in q) == hints for q in date_queries)


def test_many_subjects_are_fetched_page_by_page(
    open_crawl: Callable[..., QueryCrawl], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = small_world()
    for n in range(20, 45):
        it.add_label(f"Q{n}", f"Person {n}")
        it.add_statement(f"Q{n}", "P54", "Q6", start="2025-10-20")
    monkeypatch.setattr(query_crawl, "PAGE_SIZE", 10)
    monkeypatch.setattr(query_crawl, "SUBJECTS_PER_QUERY", 7)
    monkeypatch.setattr(query_crawl, "LABELS_PER_QUERY", 6)
    with sparql(it) as site:
        claims_by_label = by_label([*open_crawl(site).iter_subjects()])
        assert len(claims_by_label) == 5 + 25 and claims_by_label["Person 44", "P54"] == [
            ("Reds", "2025-10-20", "")
        ]


def test_a_limit_samples_the_same_subjects_each_time(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    it = small_world()
    for n in range(20, 45):
        it.add_label(f"Q{n}", f"Person {n}")
        it.add_statement(f"Q{n}", "P54", "Q6", start="2025-10-20")
    with sparql(it) as site:
        draws = [
            by_label(
                [
                    *open_crawl(
                        site, j, max_changed=5, max_unchanged=0, relations=[TEAM]
                    ).iter_subjects()
                ]
            )
            for j in ("one", "two")
        ]
    assert draws[0] == draws[1] and len(draws[0]) == 5


def test_odd_statements_are_skipped_or_have_a_fault(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    it = small_world()
    it.add_statement("Q2", "P6", '"a text"', start="2025-11-11")
    it.add_statement("Q2", "P6", "_:somebody", start="2025-11-12")
    it.add_statement("Q2", "P6", "Q3", start="2010-01-01", end="?")
    twice = it.add_statement("Q2", "P6", "Q4", start="2025-12-01")
    it.add_qualifier(twice, "P580", "2025-12-05")
    with sparql(it) as site:
        claims = {
            (c.object_label, c.fault): c
            for s in open_crawl(site, relations=[LEADER]).iter_subjects()
            if s.id == "Q2"
            for c in s.claims
        }
    assert [*sorted(claims)] == [
        ("Ada Quill", UNKNOWN_END),
        ("Bo Bridge", TWO_DATES),
        ("Cy Crane", ""),
    ]
    assert claims["Cy Crane", ""].start == PartialDate("2025-03-05", "day")
    assert claims["Bo Bridge", TWO_DATES].start == PartialDate(
        "2025-12-05", "day"
    )  # the last of them


def test_a_label_has_plain_spaces_only(open_crawl: Callable[..., QueryCrawl]) -> None:
    it = small_world()
    it.add_label("Q10", "Di\u00a0 Dove")
    it.add_statement("Q2", "P6", "Q10", start="2025-12-01")
    with sparql(it) as site:
        claims_by_label = by_label([*open_crawl(site, relations=[LEADER]).iter_subjects()])
    assert ("Di Dove", "2025-12-01", "") in claims_by_label["Borduria", "P6"]


def test_dates_known_to_the_year_only_are_not_queried(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    it = World()
    it.add_label("Q1", "Avalon")
    it.add_label("Q3", "Ada")
    it.add_statement("Q1", "P6", "Q3", start="2025")
    window = Window(date(2025, 1, 1), date(2025, 4, 1))
    with sparql(it) as site:
        crawl = open_crawl(site, max_unchanged=0)
        object.__setattr__(crawl, "window", window)
        assert [*crawl.iter_subjects()] == []


def test_a_long_window_is_queried_in_parts() -> None:
    window = Window(date(2025, 10, 15), date(2026, 3, 5))
    assert [(str(m.since), str(m.until)) for m in split_window(window)] == [
        ("2025-10-15", "2026-01-15"),
        ("2026-01-15", "2026-03-05"),
    ]
