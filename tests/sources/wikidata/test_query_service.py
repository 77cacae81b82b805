"""Queries are polite, stored in a journal, and split if they time out."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyoxigraph")
from fki.core.errors import DataError
from fki.net.http import HttpClient
from fki.sources.wikidata.query_crawl import QueryCrawl
from fki.sources.wikidata.query_service import (
    JOURNAL_LIFETIME,
    START_FILE,
    CrawlStopped,
    QueryService,
    interruptible_sleep,
)
from tests.support.sparql_server import page, sparql
from tests.support.wikidata_world import (
    ALL,
    RELATIONS,
    WINDOW,
    by_label,
    small_world,
)


def test_a_second_crawl_with_the_same_journal_only_asks_for_hints(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    with sparql(small_world()) as site:
        first = by_label([*open_crawl(site).iter_subjects()])
        query_count = len(site.queries)
        assert by_label([*open_crawl(site).iter_subjects()]) == first
        assert len(site.queries) == query_count + 1  # whether it knows hints


def test_a_crawl_killed_anywhere_resumes(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    with sparql(small_world()) as site:
        [*open_crawl(site, "whole").iter_subjects()]
        whole = len(site.queries)
        for stop in range(2, whole - 1, 5):
            site.queries.clear()
            crawl = open_crawl(site, f"cut{stop}")
            lock, count = threading.Lock(), [0]
            select = crawl.service._select

            def dying(
                query: str, select: Any = select, lock: Any = lock, count: Any = count
            ) -> Any:
                with lock:
                    count[0] += 1
                    if count[0] > stop:  # noqa: B023
                        raise KeyboardInterrupt
                return select(query)

            crawl.service._select = dying  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                [*crawl.iter_subjects()]
            assert by_label([*open_crawl(site, f"cut{stop}").iter_subjects()]) == ALL
            assert len(site.queries) <= whole + 1 + 3  # hints twice, and what was on its way


def test_an_outdated_journal_is_replaced(
    open_crawl: Callable[..., QueryCrawl], tmp_path: Path
) -> None:
    with sparql(small_world()) as site:
        [*open_crawl(site).iter_subjects()]
        query_count = len(site.queries)
        began = tmp_path / "journal" / START_FILE
        began.write_text(str(float(began.read_text()) - JOURNAL_LIFETIME - 1))
        [*open_crawl(site).iter_subjects()]
        assert len(site.queries) == 2 * query_count


def test_a_damaged_answer_in_the_journal_is_queried_again(
    open_crawl: Callable[..., QueryCrawl], tmp_path: Path
) -> None:
    with sparql(small_world()) as site:
        [*open_crawl(site).iter_subjects()]
        kept = [f for f in (tmp_path / "journal").iterdir() if f.name != START_FILE]
        kept[0].write_text("[{")
        assert by_label([*open_crawl(site).iter_subjects()]) == ALL


def test_at_most_three_queries_run_at_once_with_a_contact(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    with sparql(small_world()) as site:
        site.delay = 0.02
        [*open_crawl(site).iter_subjects()]
        assert 1 < site.most_at_once <= 3
        assert all("me@example.org" in agent for agent in site.agents)


def test_pauses_are_as_long_as_a_busy_service_requests(
    open_crawl: Callable[..., QueryCrawl], pauses: list[float]
) -> None:
    with sparql(small_world()) as site:
        site.failures = [(429, {"Retry-After": "17"}), (503, {}), (500, {})]
        assert by_label([*open_crawl(site).iter_subjects()]) == ALL
        assert max(pauses) == 17


@pytest.mark.parametrize("breaks_off", [False, True])
def test_a_query_that_times_out_is_split(
    open_crawl: Callable[..., QueryCrawl], breaks_off: bool
) -> None:
    def is_slow(query: str) -> bool:
        head = query.rpartition("PREFIX")[2]
        return "P580 ?time" in head and '"2025-10-01T' in head and '"2025-11-01T' in head

    with sparql(small_world()) as site:
        site.is_slow, site.breaks_off = is_slow, breaks_off
        assert by_label([*open_crawl(site).iter_subjects()]) == ALL


def test_a_timeout_for_a_single_subject_is_an_error_that_names_it(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    with sparql(small_world()) as site:
        site.is_slow = lambda query: "VALUES ?subject" in query and "wd:Q1 " in query
        with pytest.raises(DataError, match="Q1 alone"):
            [*open_crawl(site).iter_subjects()]


@pytest.mark.parametrize("answer", [b"<html>Welcome</html>", b"[1]", b"[" * 100_000])
def test_an_endpoint_without_sparql_is_an_error(
    open_crawl: Callable[..., QueryCrawl], answer: bytes
) -> None:
    with sparql(small_world()) as site, page(answer) as other:
        crawl = open_crawl(site)
        crawl.service.endpoint = other
        with pytest.raises(DataError, match="is not a SPARQL service") as caught:
            [*crawl.iter_subjects()]
        assert repr(answer[:80]) in str(caught.value)


def test_an_answer_without_the_requested_variables_is_an_error(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    answer_body = b'{"head": {"vars": ["x"]}, "boolean": true, "results": {"bindings": []}}'
    with sparql(small_world()) as site, page(answer_body) as other:
        crawl = open_crawl(site)
        crawl.service.endpoint = other
        with pytest.raises(DataError, match="variables subject"):
            [*crawl.iter_subjects()]


def test_an_interruption_ends_a_long_pause(
    tmp_path: Path,
) -> None:
    stop = threading.Event()
    with (
        sparql(small_world()) as site,
        HttpClient(contact="me@example.org", sleep=interruptible_sleep(stop)) as web,
    ):
        service = QueryService(web, tmp_path / "journal", site.url, stop)

        def report(name: str, done: int, total: int) -> None:
            if not done:
                site.failures = [(200, {"MediaWiki-API-Error": "maxlag", "Retry-After": "500"})] * 9
                threading.Timer(0.2, stop.set).start()

        with pytest.raises(CrawlStopped):
            [*QueryCrawl(service, WINDOW, RELATIONS, report=report).iter_subjects()]
