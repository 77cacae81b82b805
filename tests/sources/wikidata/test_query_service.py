"""What Wikidata says is crawled from a real SPARQL engine, politely, and not twice."""

import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyoxigraph")
from fki.core.errors import DataError
from fki.net.http import HttpClient, RetryPolicy
from fki.sources.wikidata import query_crawl
from fki.sources.wikidata.query_crawl import QueryCrawl, split_window
from fki.sources.wikidata.query_service import (
    JOURNAL_LIFETIME,
    START_FILE,
    CrawlStopped,
    QueryService,
    interruptible_sleep,
)
from fki.sources.wikidata.relations import Relation
from fki.sources.wikidata.select_facts import FactSelector
from fki.sources.wikidata.statements import (
    TWO_DATES,
    UNKNOWN_END,
    Claim,
    PartialDate,
    Subject,
    Window,
)
from tests.support.sparql_server import Sparql, World, page, sparql

WINDOW = Window(date(2025, 10, 1), date(2026, 1, 1))
LEADER = Relation("P6", "head of government", "one", ("The head of [X] is [Y].", "[Y] leads [X]."))
TEAM = Relation("P54", "member of team", "several", ("[X] plays for [Y].", "[Y] has [X]."))
PRIZE = Relation("P166", "award", "latest", ("[X]'s last prize is [Y].", "[Y] went to [X]."))
BIRTH = Relation("P19", "place of birth", "always", ("[X] was born in [Y].", "[Y] bore [X]."))
RELATIONS = [LEADER, TEAM, PRIZE, BIRTH]


def world() -> World:
    """Avalon changes its leader in the window, Borduria does not; Cy moves and wins."""
    it = World()
    names = {
        "Q1": "Avalon",
        "Q2": "Borduria",
        "Q3": "Ada Quill",
        "Q4": "Bo Bridge",
        "Q5": "Cy Crane",
        "Q6": "Reds",
        "Q7": "Blues",
        "Q8": "Grand Prize",
        "Q9": "Town",
    }
    for item, label in names.items():
        it.name(item, label, "mul" if item == "Q3" else "en")
    it.name("Q4", "Bo der Brücke", "de")
    it.name("Q4", "Bo", "mul")
    it.say("Q1", "P6", "Q3", start="2020-05-01", end="2025-11-03")
    it.say("Q1", "P6", "Q4", start="2025-11-03", rank="Preferred")
    it.say("Q1", "P6", "Q5", start="2025-11-04", rank="Deprecated")
    it.say("Q2", "P6", "Q5", start="2025-03-05")
    it.say("Q5", "P54", "Q6", start="2023-01-01", end="2025-12-01")
    it.say("Q5", "P54", "Q7", start="2025-12-01")
    it.say("Q5", "P166", "Q8", point="2025-10-15")
    it.say("Q5", "P19", "Q9")
    return it


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def open_crawl(tmp_path: Path, pauses: list[float]) -> Iterator[Callable[..., QueryCrawl]]:
    clients: list[HttpClient] = []

    def open_(site: Sparql, journal: str = "journal", **more: Any) -> QueryCrawl:
        clients.append(
            HttpClient(
                contact="me@example.org",
                retry_policy=RetryPolicy(read_timeout=10.0),
                sleep=pauses.append,
            )
        )
        service = QueryService(clients[-1], tmp_path / journal, site.url)
        return QueryCrawl(service, WINDOW, more.pop("relations", RELATIONS), **more)

    yield open_
    for client in clients:
        client.__exit__()


def told(subjects: list[Subject]) -> dict[tuple[str, str], list[tuple[str, str, str]]]:
    """(subject, relation) -> its objects with their dates, by name."""
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for subject in subjects:
        for c in subject.claims:
            when = c.point or c.start
            row = (c.object_label, when.day if when else "", c.end.day if c.end else "")
            found.setdefault((subject.label, c.relation), []).append(row)
    return {key: sorted(rows) for key, rows in found.items()}


ALL = {
    ("Avalon", "P6"): [("Ada Quill", "2020-05-01", "2025-11-03"), ("Bo Bridge", "2025-11-03", "")],
    ("Borduria", "P6"): [("Cy Crane", "2025-03-05", "")],
    ("Cy Crane", "P54"): [("Blues", "2025-12-01", ""), ("Reds", "2023-01-01", "2025-12-01")],
    ("Cy Crane", "P166"): [("Grand Prize", "2025-10-15", "")],
    ("Cy Crane", "P19"): [("Town", "", "")],
}


@pytest.mark.parametrize("hints", [False, True])
def test_what_changed_comes_with_what_held_before_and_what_stands(
    open_crawl: Callable[..., QueryCrawl], hints: bool
) -> None:
    with sparql(world(), hints=hints) as site:
        assert told([*open_crawl(site).iter_subjects()]) == ALL
        asked = [q for q in site.queries if "pq:P580 ?time" in q]
        assert asked and all(("rangeSafe" in q) == hints for q in asked)


def test_rows_are_those_of_the_embedded_dataset(open_crawl: Callable[..., QueryCrawl]) -> None:
    with sparql(world()) as site:
        selector = FactSelector(RELATIONS, WINDOW)
        for subject in open_crawl(site).iter_subjects():
            selector.add(subject)
    tables = {
        name: [list(row.values())[:5] for row in rows]
        for name, rows in selector.build_tables().items()
    }
    assert tables == {
        "base": [
            ["Avalon", "P6", "Ada Quill", "2020-05-01", "2025-11-03"],
            ["Cy Crane", "P54", "Reds", "2023-01-01", "2025-12-01"],
            ["Borduria", "P6", "Cy Crane", "2025-03-05", None],
        ],
        "stream": [
            ["Cy Crane", "P166", "Grand Prize", "2025-10-15", None],
            ["Avalon", "P6", "Bo Bridge", "2025-11-03", None],
            ["Cy Crane", "P54", "Blues", "2025-12-01", None],
        ],
        "invariant": [["Cy Crane", "P19", "Town", None, None]],
    }
    assert not selector.dropped


def test_a_second_crawl_of_one_journal_asks_nothing_but_what_the_service_can(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    with sparql(world()) as site:
        first = told([*open_crawl(site).iter_subjects()])
        asked = len(site.queries)
        assert told([*open_crawl(site).iter_subjects()]) == first
        assert len(site.queries) == asked + 1  # whether it knows hints


def test_a_crawl_killed_anywhere_goes_on_where_it_was(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    with sparql(world()) as site:
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
            assert told([*open_crawl(site, f"cut{stop}").iter_subjects()]) == ALL
            assert len(site.queries) <= whole + 1 + 3  # hints twice, and what was on its way


def test_a_journal_that_is_too_old_is_begun_anew(
    open_crawl: Callable[..., QueryCrawl], tmp_path: Path
) -> None:
    with sparql(world()) as site:
        [*open_crawl(site).iter_subjects()]
        asked = len(site.queries)
        began = tmp_path / "journal" / START_FILE
        began.write_text(str(float(began.read_text()) - JOURNAL_LIFETIME - 1))
        [*open_crawl(site).iter_subjects()]
        assert len(site.queries) == 2 * asked


def test_a_damaged_answer_in_the_journal_is_asked_for_again(
    open_crawl: Callable[..., QueryCrawl], tmp_path: Path
) -> None:
    with sparql(world()) as site:
        [*open_crawl(site).iter_subjects()]
        kept = [f for f in (tmp_path / "journal").iterdir() if f.name != START_FILE]
        kept[0].write_text("[{")
        assert told([*open_crawl(site).iter_subjects()]) == ALL


def test_at_most_three_questions_are_asked_at_once_by_a_named_client(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    with sparql(world()) as site:
        site.delay = 0.02
        [*open_crawl(site).iter_subjects()]
        assert 1 < site.most_at_once <= 3
        assert all("me@example.org" in agent for agent in site.agents)


def test_a_busy_service_is_waited_for_as_long_as_it_says(
    open_crawl: Callable[..., QueryCrawl], pauses: list[float]
) -> None:
    with sparql(world()) as site:
        site.failures = [(429, {"Retry-After": "17"}), (503, {}), (500, {})]
        assert told([*open_crawl(site).iter_subjects()]) == ALL
        assert max(pauses) == 17


@pytest.mark.parametrize("breaks_off", [False, True])
def test_a_question_that_takes_too_long_is_divided(
    open_crawl: Callable[..., QueryCrawl], breaks_off: bool
) -> None:
    def is_slow(query: str) -> bool:
        head = query.rpartition("PREFIX")[2]
        return "P580 ?time" in head and '"2025-10-01T' in head and '"2025-11-01T' in head

    with sparql(world()) as site:
        site.is_slow, site.breaks_off = is_slow, breaks_off
        assert told([*open_crawl(site).iter_subjects()]) == ALL


def test_one_subject_that_is_too_much_is_named(open_crawl: Callable[..., QueryCrawl]) -> None:
    with sparql(world()) as site:
        site.is_slow = lambda query: "VALUES ?subject" in query and "wd:Q1 " in query
        with pytest.raises(DataError, match="Q1 alone"):
            [*open_crawl(site).iter_subjects()]


def test_many_subjects_come_page_by_page(
    open_crawl: Callable[..., QueryCrawl], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = world()
    for n in range(20, 45):
        it.name(f"Q{n}", f"Person {n}")
        it.say(f"Q{n}", "P54", "Q6", start="2025-10-20")
    monkeypatch.setattr(query_crawl, "PAGE_SIZE", 10)
    monkeypatch.setattr(query_crawl, "SUBJECTS_PER_QUERY", 7)
    monkeypatch.setattr(query_crawl, "LABELS_PER_QUERY", 6)
    with sparql(it) as site:
        found = told([*open_crawl(site).iter_subjects()])
        assert len(found) == 5 + 25 and found["Person 44", "P54"] == [("Reds", "2025-10-20", "")]


def test_a_limit_draws_the_same_subjects_again(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    it = world()
    for n in range(20, 45):
        it.name(f"Q{n}", f"Person {n}")
        it.say(f"Q{n}", "P54", "Q6", start="2025-10-20")
    with sparql(it) as site:
        draws = [
            told(
                [
                    *open_crawl(
                        site, j, max_changed=5, max_unchanged=0, relations=[TEAM]
                    ).iter_subjects()
                ]
            )
            for j in ("one", "two")
        ]
    assert draws[0] == draws[1] and len(draws[0]) == 5


def test_odd_statements_are_left_out_or_said_to_be_unclear(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    it = world()
    it.say("Q2", "P6", '"a text"', start="2025-11-11")
    it.say("Q2", "P6", "_:somebody", start="2025-11-12")
    it.say("Q2", "P6", "Q3", start="2010-01-01", end="?")
    twice = it.say("Q2", "P6", "Q4", start="2025-12-01")
    it._qualify(twice, "P580", "2025-12-05")
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


def test_a_name_has_no_spaces_but_plain_ones(open_crawl: Callable[..., QueryCrawl]) -> None:
    it = world()
    it.name("Q10", "Di\u00a0 Dove")
    it.say("Q2", "P6", "Q10", start="2025-12-01")
    with sparql(it) as site:
        found = told([*open_crawl(site, relations=[LEADER]).iter_subjects()])
    assert ("Di Dove", "2025-12-01", "") in found["Borduria", "P6"]


def test_a_subject_that_comes_twice_is_told_once() -> None:
    selector = FactSelector([LEADER], WINDOW)
    for day in ("2025-11-03", "2025-11-03", "2025-12-04"):
        new = Claim("P6", "Q4", "Bo Bridge", start=PartialDate(day, "day"))
        selector.add(Subject("Q1", "Avalon", [new]))
    assert [row["start"] for row in selector.build_tables()["stream"]] == ["2025-11-03"]


def test_what_is_dated_by_the_year_alone_is_not_asked_for(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    it = World()
    it.name("Q1", "Avalon")
    it.name("Q3", "Ada")
    it.say("Q1", "P6", "Q3", start="2025")
    window = Window(date(2025, 1, 1), date(2025, 4, 1))
    with sparql(it) as site:
        crawl = open_crawl(site, max_unchanged=0)
        object.__setattr__(crawl, "window", window)
        assert [*crawl.iter_subjects()] == []


@pytest.mark.parametrize("answer", [b"<html>Welcome</html>", b"[1]", b"[" * 100_000])
def test_something_that_is_no_sparql_service_is_said_to_be_none(
    open_crawl: Callable[..., QueryCrawl], answer: bytes
) -> None:
    with sparql(world()) as site, page(answer) as other:
        crawl = open_crawl(site)
        crawl.service.endpoint = other
        with pytest.raises(DataError, match="is not a SPARQL service") as caught:
            [*crawl.iter_subjects()]
        assert repr(answer[:80]) in str(caught.value)


def test_an_answer_without_what_was_asked_for_is_refused(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    told = b'{"head": {"vars": ["x"]}, "boolean": true, "results": {"bindings": []}}'
    with sparql(world()) as site, page(told) as other:
        crawl = open_crawl(site)
        crawl.service.endpoint = other
        with pytest.raises(DataError, match="variables subject"):
            [*crawl.iter_subjects()]


def test_the_order_of_subjects_decides_nothing(
    open_crawl: Callable[..., QueryCrawl], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = world()
    for n in range(20, 60):
        it.name(f"Q{n}", f"Person {n}")
        it.say(f"Q{n}", "P54", "Q6", start="2025-03-20")
        it.say(f"Q{n}", "P19", "Q9")
    monkeypatch.setattr("fki.sources.wikidata.select_facts.KEYS_PER_RELATION", 7)
    with sparql(it) as site:
        subjects = [*open_crawl(site).iter_subjects()]
    tables = []
    for some in (subjects, subjects[::-1]):
        selector = FactSelector(RELATIONS, WINDOW)
        for subject in some:
            selector.add(subject)
        tables.append({name: [*rows] for name, rows in selector.build_tables().items()})
    assert tables[0] == tables[1] and len(tables[0]["invariant"]) == 7


def test_an_interruption_does_not_wait_for_a_server_that_wants_to_be_left_alone(
    tmp_path: Path,
) -> None:
    stop = threading.Event()
    with (
        sparql(world()) as site,
        HttpClient(contact="me@example.org", sleep=interruptible_sleep(stop)) as web,
    ):
        service = QueryService(web, tmp_path / "journal", site.url, stop)

        def report(name: str, done: int, total: int) -> None:
            if not done:
                site.failures = [(200, {"MediaWiki-API-Error": "maxlag", "Retry-After": "500"})] * 9
                threading.Timer(0.2, stop.set).start()

        with pytest.raises(CrawlStopped):
            [*QueryCrawl(service, WINDOW, RELATIONS, report=report).iter_subjects()]


def test_a_long_window_is_asked_about_in_parts() -> None:
    window = Window(date(2025, 10, 15), date(2026, 3, 5))
    assert [(str(m.since), str(m.until)) for m in split_window(window)] == [
        ("2025-10-15", "2026-01-15"),
        ("2026-01-15", "2026-03-05"),
    ]
