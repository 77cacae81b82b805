"""The SPARQL 1.1 queries for Wikidata's query service.

Each query is small: one relation and some days, or some subjects. Query hints for Blazegraph, which
let it read a date range from its index, are added only if the service supports them.
https://www.mediawiki.org/wiki/Wikibase/Indexing/RDF_Dump_Format
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date

from fki.sources.wikidata.statements import END, POINT, START

ENTITY = "http://www.wikidata.org/entity/"
ITEM_URI = re.compile(re.escape(ENTITY) + r"(Q[1-9]\d*)")
LANGUAGES = ("en", "mul")  # mul: a label for all languages, such as a person's name

PREFIXES = """\
PREFIX wd: <http://www.wikidata.org/entity/>
PREFIX wdt: <http://www.wikidata.org/prop/direct/>
PREFIX p: <http://www.wikidata.org/prop/>
PREFIX ps: <http://www.wikidata.org/prop/statement/>
PREFIX pq: <http://www.wikidata.org/prop/qualifier/>
PREFIX pqv: <http://www.wikidata.org/prop/qualifier/value/>
PREFIX wikibase: <http://wikiba.se/ontology#>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
PREFIX schema: <http://schema.org/>
PREFIX xsd: <http://www.w3.org/2001/XMLSchema#>
PREFIX hint: <http://www.bigdata.com/queryHints#>
"""

# True on Blazegraph, which reads it as a hint; false elsewhere, where the triple does not exist.
SUPPORTS_HINTS = 'ASK { hint:Query hint:optimizer "None" }'
LAST_UPDATE = "SELECT ?when { <http://www.wikidata.org> schema:dateModified ?when }"


def select_changed(
    relation: str, since: date, until: date, *, limit: int, offset: int = 0, hints: bool = False
) -> str:
    """Select a page of subjects with a statement that starts, ends or is dated in [since, until).

    Dates known only to the year are excluded: Wikidata stores them as January 1.
    """
    qualifiers = " UNION ".join(
        f"{{ ?statement pq:{q} ?time . {_time_filter(since, until, hints)} "
        f"?statement pqv:{q}/wikibase:timePrecision ?precision }}"
        for q in (START, END, POINT)
    )
    return f"""SELECT DISTINCT ?subject {{
  {qualifiers}
  FILTER(?precision > 9)
  {_statement_pattern(relation)}
}} ORDER BY ?subject LIMIT {limit} OFFSET {offset}"""


def select_unchanged(
    relation: str, since: date, until: date, *, limit: int, hints: bool = False
) -> str:
    """Select a hash sample of subjects with a statement that started in [since, until) and has no
    end."""
    return f"""SELECT ?subject {{
  {{ SELECT DISTINCT ?subject {{
    ?statement pq:{START} ?time . {_time_filter(since, until, hints)}
    {_statement_pattern(relation)}
    FILTER NOT EXISTS {{ ?statement pq:{END} ?end }}
  }} }}
}} ORDER BY SHA256(STR(?subject)) LIMIT {limit}"""


def select_statements(relation: str, subjects: Iterable[str]) -> str:
    """Select all statements of a relation about some subjects, with their dates."""
    times = "\n".join(
        f"  OPTIONAL {{ ?statement pqv:{q} ?{n}Node . "
        f"?{n}Node wikibase:timeValue ?{n} ; wikibase:timePrecision ?{n}Precision }}"
        for n, q in (("start", START), ("end", END), ("point", POINT))
    )
    values = "\n".join(
        f"  OPTIONAL {{ ?statement pq:{q} ?{n} }}"  # also of an unknown value, which has no time
        for n, q in (("started", START), ("ended", END), ("pointed", POINT))
    )
    return f"""SELECT ?subject ?statement ?object ?rank ?started ?ended ?pointed
  ?start ?startPrecision ?end ?endPrecision ?point ?pointPrecision {{
  VALUES ?subject {{ {_list_items(subjects)} }}
  {_statement_pattern(relation)}
{times}
{values}
}}"""


def select_constant(relations: Sequence[str], subjects: Iterable[str]) -> str:
    """Select the best-ranked values of relations that never change, for some subjects."""
    properties = " ".join(f"wdt:{relation}" for relation in relations)
    return f"""SELECT DISTINCT ?subject ?relation ?object {{
  VALUES ?subject {{ {_list_items(subjects)} }}
  VALUES ?relation {{ {properties} }}
  ?subject ?relation ?object
}}"""


def select_labels(items: Iterable[str]) -> str:
    """Select the labels in English and for all languages."""
    languages = ", ".join(f'"{language}"' for language in LANGUAGES)
    return f"""SELECT ?item ?label ?language {{
  VALUES ?item {{ {_list_items(items)} }}
  ?item rdfs:label ?label . BIND(LANG(?label) AS ?language) FILTER(?language IN ({languages}))
}}"""


def _statement_pattern(relation: str) -> str:
    return (
        f"?subject p:{relation} ?statement . "
        f"?statement ps:{relation} ?object ; wikibase:rank ?rank . "
        "FILTER(?rank != wikibase:DeprecatedRank)"
    )


def _time_filter(since: date, until: date, hints: bool) -> str:
    first, end = (f'"{day}T00:00:00Z"^^xsd:dateTime' for day in (since, until))
    hint = "hint:Prior hint:rangeSafe true . " if hints else ""
    return f"{hint}FILTER(?time >= {first} && ?time < {end})"


def _list_items(items: Iterable[str]) -> str:
    return " ".join(f"wd:{item}" for item in items)
