"""What Wikidata's query service is asked, in SPARQL 1.1.

Each question is small enough to be answered: one relation and some days, or some subjects. The
only words beyond the standard are hints to Blazegraph, which let it read a range of dates from its
index; they are left out where the service does not know them.
https://www.mediawiki.org/wiki/Wikibase/Indexing/RDF_Dump_Format
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date

from fki.sources.wikidata.statements import END, POINT, START

ENTITY = "http://www.wikidata.org/entity/"
ITEM_URI = re.compile(re.escape(ENTITY) + r"(Q[1-9]\d*)")
LANGUAGES = ("en", "mul")  # mul: a label that holds for all languages, such as a person's name

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

SUPPORTS_HINTS = (
    'ASK { hint:Query hint:optimizer "None" }'  # a hint, or else no triple that is there
)
LAST_UPDATE = "SELECT ?when { <http://www.wikidata.org> schema:dateModified ?when }"


def select_changed(
    relation: str, since: date, until: date, *, most: int, after: int = 0, hints: bool = False
) -> str:
    """Subjects with a statement that starts, ends or is dated in [since, until), a page of them.

    What is dated by the year alone is not asked for: its first of January is no date.
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
}} ORDER BY ?subject LIMIT {most} OFFSET {after}"""


def select_unchanged(
    relation: str, since: date, until: date, *, most: int, hints: bool = False
) -> str:
    """Subjects with a statement that started in [since, until) and has no end, drawn by a hash."""
    return f"""SELECT ?subject {{
  {{ SELECT DISTINCT ?subject {{
    ?statement pq:{START} ?time . {_time_filter(since, until, hints)}
    {_statement_pattern(relation)}
    FILTER NOT EXISTS {{ ?statement pq:{END} ?end }}
  }} }}
}} ORDER BY SHA256(STR(?subject)) LIMIT {most}"""


def select_statements(relation: str, subjects: Iterable[str]) -> str:
    """All statements of a relation about some subjects, with their dates."""
    times = "\n".join(
        f"  OPTIONAL {{ ?statement pqv:{q} ?{n}Node . "
        f"?{n}Node wikibase:timeValue ?{n} ; wikibase:timePrecision ?{n}Precision }}"
        for n, q in (("start", START), ("end", END), ("point", POINT))
    )
    return f"""SELECT ?subject ?statement ?object ?rank ?ended
  ?start ?startPrecision ?end ?endPrecision ?point ?pointPrecision {{
  VALUES ?subject {{ {_list_items(subjects)} }}
  {_statement_pattern(relation)}
{times}
  OPTIONAL {{ ?statement pq:{END} ?ended }}
}}"""


def select_constant(relations: Sequence[str], subjects: Iterable[str]) -> str:
    """What some subjects are said to be by relations that never change: the best statements."""
    properties = " ".join(f"wdt:{relation}" for relation in relations)
    return f"""SELECT DISTINCT ?subject ?relation ?object {{
  VALUES ?subject {{ {_list_items(subjects)} }}
  VALUES ?relation {{ {properties} }}
  ?subject ?relation ?object
}}"""


def select_labels(items: Iterable[str]) -> str:
    """Labels that an English text can use."""
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
    first, behind = (f'"{day}T00:00:00Z"^^xsd:dateTime' for day in (since, until))
    hint = "hint:Prior hint:rangeSafe true . " if hints else ""
    return f"{hint}FILTER(?time >= {first} && ?time < {behind})"


def _list_items(items: Iterable[str]) -> str:
    return " ".join(f"wd:{item}" for item in items)
