"""A SPARQL service on loopback: Oxigraph behind HTTP, with data in Wikidata's form."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

import pyoxigraph as ox

from tests.support.web_server import serving

PREFIXES = """
@prefix wd: <http://www.wikidata.org/entity/> .
@prefix wds: <http://www.wikidata.org/entity/statement/> .
@prefix wdv: <http://www.wikidata.org/value/> .
@prefix wdt: <http://www.wikidata.org/prop/direct/> .
@prefix p: <http://www.wikidata.org/prop/> .
@prefix ps: <http://www.wikidata.org/prop/statement/> .
@prefix pq: <http://www.wikidata.org/prop/qualifier/> .
@prefix pqv: <http://www.wikidata.org/prop/qualifier/value/> .
@prefix wikibase: <http://wikiba.se/ontology#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix schema: <http://schema.org/> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""
UPDATED = '<http://www.wikidata.org> schema:dateModified "2026-01-02T03:04:05Z"^^xsd:dateTime .'
HINTS = """
<http://www.bigdata.com/queryHints#Query> <http://www.bigdata.com/queryHints#optimizer> "None" .
<http://www.bigdata.com/queryHints#Prior> <http://www.bigdata.com/queryHints#rangeSafe> true .
"""
PRECISIONS = {4: 9, 5: 8, 7: 10, 10: 11}  # by the length of 2025, 2020s, 2025-10, 2025-10-05
UNKNOWN, NONE = "?", "-"  # dates: an unknown value, and no value


@dataclass
class World:
    """Statements in the form of Wikidata's RDF export and of its JSON dumps."""

    parts: list[str] = field(default_factory=lambda: [UPDATED])
    count: int = 0
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    statements: list[dict[str, str]] = field(default_factory=list)

    def add_label(self, item: str, label: str, language: str = "en") -> None:
        """Add a label of an item."""
        self.labels.setdefault(item, {})[language] = label
        self.parts.append(f'wd:{item} rdfs:label "{label}"@{language} .')

    def add_statement(
        self,
        subject: str,
        relation: str,
        value: str,
        *,
        start: str = "",
        end: str = "",
        point: str = "",
        rank: str = "Normal",
        more: str = "",
    ) -> str:
        """Add a statement; `value` is an item's id, or any other term in Turtle's syntax."""
        self.count += 1
        dates = {"P580": start, "P582": end, "P585": point}
        entry = {"subject": subject, "relation": relation, "value": value, "rank": rank}
        self.statements.append(entry | {q: date for q, date in dates.items() if date})
        statement = f"wds:S{self.count}"
        term = f"wd:{value}" if value.startswith("Q") else value
        self.parts.append(
            f"wd:{subject} p:{relation} {statement} .\n"
            f"{statement} ps:{relation} {term} ; wikibase:rank wikibase:{rank}Rank ."
        )
        if rank != "Deprecated":
            self.parts.append(f"wd:{subject} wdt:{relation} {term} .")
        for qualifier, date in dates.items():
            if date:
                self.add_qualifier(statement, qualifier, date)
        if more:
            self.parts.append(f"{statement} {more} .")
        return statement

    def add_qualifier(self, statement: str, qualifier: str, date: str) -> None:
        """Add a date to a statement."""
        if date == NONE:
            self.parts.append(f"{statement} a <http://www.wikidata.org/prop/novalue/{qualifier}> .")
            return
        if date == UNKNOWN:
            self.parts.append(f"{statement} pq:{qualifier} _:unknown{self.count} .")
            return
        precision = PRECISIONS[len(date)]
        time = f'"{(date.rstrip("s") + "-01-01")[:10]}T00:00:00Z"^^xsd:dateTime'
        node = f"wdv:V{self.count}{qualifier}{date}"
        self.parts.append(
            f"{statement} pq:{qualifier} {time} ; pqv:{qualifier} {node} .\n"
            f"{node} wikibase:timeValue {time} ; wikibase:timePrecision {precision} ."
        )

    @property
    def turtle(self) -> str:
        return PREFIXES + "\n".join(self.parts)

    @property
    def dump(self) -> str:
        """The statements in the form of the JSON dumps."""
        return "[\n" + ",\n".join(json.dumps(self._entity(item)) for item in self.labels) + "\n]\n"

    def _entity(self, item: str) -> dict[str, Any]:
        claims: dict[str, list[dict[str, Any]]] = {}
        for entry in self.statements:
            if entry["subject"] == item:
                claims.setdefault(entry["relation"], []).append(_json_statement(entry))
        labels = {n: {"language": n, "value": text} for n, text in self.labels[item].items()}
        return {"type": "item", "id": item, "labels": labels, "claims": claims}


def _json_statement(entry: dict[str, str]) -> dict[str, Any]:
    item = {"entity-type": "item", "numeric-id": int(entry["value"][1:]), "id": entry["value"]}
    qualifiers = {q: [_date_snak(q, entry[q])] for q in entry if q[:2] == "P5"}
    return {
        "type": "statement",
        "rank": entry["rank"].lower(),
        "mainsnak": _snak(entry["relation"], "wikibase-entityid", item),
        "qualifiers": qualifiers,
    }


def _snak(relation: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    datavalue = {"value": value, "type": kind}
    return {"snaktype": "value", "property": relation, "datavalue": datavalue}


def _date_snak(qualifier: str, date: str) -> dict[str, Any]:
    if date in (UNKNOWN, NONE):
        return {"snaktype": "somevalue" if date == UNKNOWN else "novalue", "property": qualifier}
    return _snak(qualifier, "time", _time(date))


def _time(date: str) -> dict[str, Any]:
    day = (date.rstrip("s") + "-00-00")[:10]
    calendar = "http://www.wikidata.org/entity/Q1985727"
    return {
        "time": f"+{day}T00:00:00Z",
        "timezone": 0,
        "before": 0,
        "after": 0,
        "precision": PRECISIONS[len(date)],
        "calendarmodel": calendar,
    }


@dataclass
class Sparql:
    """The running service, its failures and its log; tests may change it."""

    store: ox.Store
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # answered first
    is_slow: Callable[[str], bool] = lambda _: False  # queries that time out
    breaks_off: bool = False  # a timeout returns half an answer with status 200
    delay: float = 0.0
    queries: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def _handler(site: Sparql) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            query = parse_qs(body)["query"][0]
            with site.lock:
                site.queries.append(query)
                site.agents.add(self.headers["User-Agent"])
                site.times.append(time.monotonic())
                site.at_once += 1
                site.most_at_once = max(site.most_at_once, site.at_once)
                failure = site.failures.pop(0) if site.failures else None
            try:
                time.sleep(site.delay)
                self._respond(query, failure)
            finally:
                with site.lock:
                    site.at_once -= 1

        def _respond(self, query: str, failure: tuple[int, dict[str, str]] | None) -> None:
            if failure:
                return self._send(failure[0], b"", failure[1])
            if site.is_slow(query) and not site.breaks_off:
                return self._send(500, b"java.util.concurrent.TimeoutException", {})
            solutions = site.store.query(query)
            answer = solutions.serialize(format=ox.QueryResultsFormat.JSON)
            assert answer is not None
            if site.is_slow(query):
                answer = answer[: len(answer) // 2] + b"\njava.util.concurrent.TimeoutException"
            self._send(200, answer, {"Content-Type": "application/sparql-results+json"})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@contextmanager
def sparql(world: World, *, hints: bool = False) -> Iterator[Sparql]:
    """Serve the statements of a world for as long as the block runs."""
    store = ox.Store()
    store.load(world.turtle.encode(), format=ox.RdfFormat.TURTLE)
    if hints:
        store.load(HINTS.encode(), format=ox.RdfFormat.TURTLE)
    site = Sparql(store)
    with serving(_handler(site)) as base:
        site.url = f"{base}/sparql"
        yield site


@contextmanager
def page(content: bytes) -> Iterator[str]:
    """Serve one page as the answer to every request."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with serving(Handler) as base:
        yield base
