"""Rows are selected by key, and the order of the subjects has no effect."""

from collections.abc import Callable

import pytest

pytest.importorskip("pyoxigraph")
from fki.sources.wikidata.query_crawl import QueryCrawl
from fki.sources.wikidata.select_facts import SHARED_LABEL, FactSelector
from fki.sources.wikidata.statements import (
    Claim,
    PartialDate,
    Subject,
)
from tests.support.sparql_server import sparql
from tests.support.wikidata_world import LEADER, RELATIONS, WINDOW, small_world


def test_rows_are_split_into_base_stream_and_invariant(
    open_crawl: Callable[..., QueryCrawl],
) -> None:
    with sparql(small_world()) as site:
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


def test_a_subject_added_twice_has_its_rows_once() -> None:
    selector = FactSelector([LEADER], WINDOW)
    for day in ("2025-11-03", "2025-11-03", "2025-12-04"):
        new = Claim("P6", "Q4", "Bo Bridge", start=PartialDate(day, "day"))
        selector.add(Subject("Q1", "Avalon", [new]))
    assert [row["start"] for row in selector.build_tables()["stream"]] == ["2025-11-03"]


def test_the_order_of_subjects_has_no_effect(
    open_crawl: Callable[..., QueryCrawl], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = small_world()
    for n in range(20, 60):
        it.add_label(f"Q{n}", f"Person {n}")
        it.add_statement(f"Q{n}", "P54", "Q6", start="2025-03-20")
        it.add_statement(f"Q{n}", "P19", "Q9")
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


@pytest.mark.parametrize(
    ("subject", "answer", "reason"),
    [
        ("", "Ada Quill", "no English label"),
        ("Avalon", " ", "no English label"),
        ("Avalon", "one two three four five six", "answer longer than 5 words"),
        ("A" * 180, "Ada Quill", "prompt longer than 180 characters"),
        ("Avalon", "avalon City", "answer contained in its prompt, or the reverse"),
        ("Avalon City", "Avalon", "answer contained in its prompt, or the reverse"),
        ("Avalon", "Ada <extra_id_0>", "label contains a token reserved by fki or T5"),
        ("Avalon", "Ada \x1b[31m", "label contains a control character"),
        ("Ava\x00lon", "Ada", "label contains a control character"),
        ("Avalon", "Ada \ud800", "label contains a control character"),
        ("Avalon", "[X]", "label contains a token reserved by fki or T5"),
        ("Avalon", "Ada \x1b[31m", "label contains a control character"),
        ("Ava\x00lon", "Ada", "label contains a control character"),
    ],
)
def test_a_key_with_an_unusable_label_is_skipped_and_counted(
    subject: str, answer: str, reason: str
) -> None:
    selector = FactSelector([LEADER], WINDOW)
    claim = Claim("P6", "Q4", answer, start=PartialDate("2025-11-03", "day"))
    selector.add(Subject("Q1", subject, [claim]))
    assert not any(len(rows) for rows in selector.build_tables().values())
    assert selector.dropped == {reason: 1}


def test_two_subjects_with_one_label_are_both_skipped() -> None:
    selector = FactSelector([LEADER], WINDOW)
    for id, answer in (("Q1", "Ada Quill"), ("Q2", "Bo Bridge")):
        claim = Claim("P6", "Q4", answer, start=PartialDate("2025-11-03", "day"))
        selector.add(Subject(id, "Avalon", [claim]))
    assert len(selector.build_tables()["stream"]) == 0
    assert selector.dropped == {SHARED_LABEL: 2}


def test_a_limit_applies_to_the_changed_keys_of_each_relation() -> None:
    selector = FactSelector([LEADER], WINDOW, max_changed=3)
    for number in range(9):
        claim = Claim("P6", "Q4", "Ada Quill", start=PartialDate("2025-11-03", "day"))
        selector.add(Subject(f"Q{number}", f"Realm {number}", [claim]))
    assert len(selector.build_tables()["stream"]) == 3
