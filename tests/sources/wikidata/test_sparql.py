"""Queries are valid SPARQL 1.1, and hints are added on request only."""

from datetime import date

import pytest

from fki.sources.wikidata import sparql

ox = pytest.importorskip("pyoxigraph")

WINDOW = date(2025, 10, 1), date(2026, 1, 1)
QUERIES = {
    "changed": sparql.select_changed("P6", *WINDOW, limit=10, offset=20),
    "changed, hints": sparql.select_changed("P6", *WINDOW, limit=10, hints=True),
    "unchanged": sparql.select_unchanged("P6", *WINDOW, limit=10),
    "statements": sparql.select_statements("P6", ["Q1", "Q2"]),
    "constant": sparql.select_constant(["P19", "P20"], ["Q1", "Q2"]),
    "labels": sparql.select_labels(["Q1", "Q2"]),
    "update": sparql.LAST_UPDATE,
}


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_is_valid_sparql(name: str) -> None:
    assert [*ox.Store().query(sparql.PREFIXES + QUERIES[name])] == []


def test_a_service_without_hints_denies_them() -> None:
    assert not ox.Store().query(sparql.PREFIXES + sparql.SUPPORTS_HINTS)


def test_hints_are_in_a_query_on_request_only() -> None:
    assert "rangeSafe" in QUERIES["changed, hints"]
    assert not any("hint:" in query for name, query in QUERIES.items() if "hints" not in name)


def test_queries_keep_their_text_since_journals_are_keyed_by_it() -> None:
    assert sparql.select_labels(["Q2", "Q1"]) == (
        "SELECT ?item ?label ?language {\n  VALUES ?item { wd:Q2 wd:Q1 }\n"
        "  ?item rdfs:label ?label . BIND(LANG(?label) AS ?language) "
        'FILTER(?language IN ("en", "mul"))\n}'
    )


@pytest.mark.parametrize(
    ("uri", "item"),
    [
        (f"{sparql.ENTITY}Q42", "Q42"),
        (f"{sparql.ENTITY}Q042", ""),
        (f"{sparql.ENTITY}P6", ""),
        ("_:b0", ""),
    ],
)
def test_an_item_is_recognized_by_its_uri(uri: str, item: str) -> None:
    match = sparql.ITEM_URI.fullmatch(uri)
    assert (match[1] if match else "") == item
