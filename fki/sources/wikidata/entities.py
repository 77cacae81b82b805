"""Parse an entity of Wikidata's JSON dump into its English label and its claims.

The format is described at https://doc.wikimedia.org/Wikibase/master/php/docs_topics_json.html. Only
the fields declared here are decoded; the rest is skipped without creating Python objects. The
claims equal those built from the query service's rows:

- "no value" as an end means that the statement is still valid; an end that is unknown, or coarser
  than a year, is a fault of the claim;
- two different values of one qualifier are a fault, since starts and ends cannot be paired;
- a start or a point in time that is unknown, or coarser than a year, is not read; the claim has a
  mark of it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from fki.sources.wikidata.relations import ALWAYS
from fki.sources.wikidata.scope import Scope, are_relevant
from fki.sources.wikidata.statements import (
    DEPRECATED,
    END,
    MALFORMED,
    MISSING_OR_REDIRECT,
    NO_LABEL,
    NO_VALUE,
    NOT_AN_ITEM,
    OUTSIDE_WINDOW,
    POINT,
    START,
    TWO_DATES,
    UNKNOWN_END,
    VALUE_NOT_AN_ITEM,
    Claim,
    PartialDate,
    Subject,
    is_before_christ,
    parse_time,
    to_gregorian,
)

ITEM_ID = re.compile(r"Q[1-9][0-9]{0,9}")  # Wikibase's ids are below 2 ** 31


class _Term(Struct):
    value: str


class _Labels(Struct):
    en: _Term | None = None
    mul: _Term | None = None  # for all languages


class _Value(Struct):
    """An entity's id, or a time."""

    kind: str = field(name="entity-type", default="")
    id: str = ""
    number: int = field(name="numeric-id", default=0)
    time: str = ""
    precision: int | float | None = 0  # a coordinate's precision is in degrees
    calendar: Any = field(name="calendarmodel", default="")  # an address


class _Data(Struct):
    value: _Value | str | float | list[Any]


class _Snak(Struct):
    snaktype: str
    datavalue: _Data | None = None


class _Qualifiers(Struct):
    start: list[_Snak] = field(name=START, default_factory=list)
    end: list[_Snak] = field(name=END, default_factory=list)
    point: list[_Snak] = field(name=POINT, default_factory=list)


class _Statement(Struct):
    mainsnak: _Snak
    rank: str = "normal"
    qualifiers: _Qualifiers | list[Any] = []  # PHP writes an empty map as a list


class _Entity(Struct):
    id: str = ""
    type: str = ""
    labels: _Labels | list[Any] = []
    claims: dict[str, Raw] | list[Any] = []
    redirect: Raw = Raw()
    missing: Raw = Raw()


_parse_time = lru_cache(2**15)(parse_time)  # few different dates, many statements
_decode_entity = msgspec.json.Decoder(_Entity).decode
_decode_statements = msgspec.json.Decoder(list[_Statement]).decode
_decode_each = msgspec.json.Decoder(list[Raw]).decode
_decode_statement = msgspec.json.Decoder(_Statement).decode


def read_entity(line: bytes, scope: Scope, dropped: Counter[str]) -> Subject | None:
    """Parse a line of the dump, without its comma, into an item with its claims in the scope.

    Objects have no labels yet (""). Returns None, and counts the reason in `dropped`, for an entity
    that is not an item with a label. Raises ValueError if the line is not an entity.
    """
    try:
        entity = _decode_entity(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if bytes(entity.redirect) or bytes(entity.missing):
        dropped[MISSING_OR_REDIRECT] += 1
        return None
    if not entity.id:
        raise ValueError("it has no id")
    if entity.type != "item" or not ITEM_ID.fullmatch(entity.id):
        dropped[NOT_AN_ITEM] += 1
        return None
    labels = entity.labels
    term = (labels.en or labels.mul) if isinstance(labels, _Labels) else None
    label = " ".join(term.value.split()) if term else ""
    if not label:
        dropped[NO_LABEL] += 1
        return None
    statements = entity.claims if isinstance(entity.claims, dict) else {}
    return Subject(entity.id, label, [*_iter_claims(statements, scope, dropped)])


def _iter_claims(
    statements: dict[str, Raw], scope: Scope, dropped: Counter[str]
) -> Iterator[Claim]:
    """Yield all claims of each relation with a relevant one, then those that never change.

    Claims that never change are relevant only next to a relevant dated one.
    """
    rules = scope.update_rules
    relations = sorted(statements.keys() & rules.keys(), key=lambda relation: int(relation[1:]))
    has_relevant = False
    for relation in relations:
        if rules[relation] != ALWAYS:
            claims = [*_iter_relation(relation, statements[relation], dropped)]
            if are_relevant(claims, rules[relation], scope.window):
                has_relevant = True
                yield from claims
            else:
                dropped[OUTSIDE_WINDOW] += len(claims)
    for relation in relations if has_relevant else ():
        if rules[relation] == ALWAYS:
            yield from _iter_relation(relation, statements[relation], dropped)


def _iter_relation(relation: str, raw: Raw, dropped: Counter[str]) -> Iterator[Claim]:
    """Yield the claims of one subject and relation; count other statements by reason."""
    for statement in _iter_statements(raw, dropped):
        snak = statement.mainsnak
        value = snak.datavalue.value if snak.datavalue else None
        if statement.rank == "deprecated":
            dropped[DEPRECATED] += 1
        elif snak.snaktype != "value":
            dropped[NO_VALUE] += 1
        elif not isinstance(value, _Value) or not (item := _item_id(value)):
            dropped[VALUE_NOT_AN_ITEM] += 1
        else:
            yield _parse_claim(relation, item, statement)


def _iter_statements(raw: Raw, dropped: Counter[str]) -> Iterator[_Statement]:
    """Yield the statements of a relation; malformed ones are skipped and counted."""
    try:
        yield from _decode_statements(raw)
        return
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        texts = _decode_each(raw)
    except (msgspec.DecodeError, RecursionError):
        texts = [Raw()]
    for text in texts:
        try:
            yield _decode_statement(text)
        except (msgspec.DecodeError, RecursionError):
            dropped[MALFORMED] += 1


def _item_id(value: _Value) -> str:
    """The id of the item that a value names, "" for other values; old dumps have numbers only."""
    item = value.id or f"Q{value.number}"
    return item if value.kind == "item" and ITEM_ID.fullmatch(item) else ""


def _parse_claim(relation: str, item: str, statement: _Statement) -> Claim:
    is_preferred = statement.rank == "preferred"
    qualifiers = statement.qualifiers
    if not isinstance(qualifiers, _Qualifiers):
        return Claim(relation, item, "", is_preferred=is_preferred)
    all_times = (qualifiers.start, qualifiers.end, qualifiers.point)
    start, end, point = map(_latest_time, all_times)
    fault = ""
    if any(len(snaks) > 1 and _are_different(snaks) for snaks in all_times):
        fault = TWO_DATES
    elif end is None and any(snak.snaktype != "novalue" for snak in qualifiers.end):
        fault = UNKNOWN_END
    unread = [
        snaks for snaks, when in ((qualifiers.start, start), (qualifiers.point, point)) if not when
    ]
    is_unknown = any(_is_unknown(snak) for snaks in unread for snak in snaks)
    return Claim(relation, item, "", start, end, point, is_preferred, fault, is_unknown)


def _is_unknown(snak: _Snak) -> bool:
    """Whether a date that cannot be read may lie in a window."""
    return snak.snaktype != "novalue" and not any(map(_is_early, _iter_times([snak])))


def _is_early(value: _Value) -> bool:
    return is_before_christ(value.time)


def _latest_time(snaks: list[_Snak]) -> PartialDate | None:
    """The latest time among a qualifier's values; None if it is unknown or too coarse."""
    times = [(_plain_time(value), int(value.precision or 0)) for value in _iter_times(snaks)]
    return _parse_time(*max(times)) if times else None


def _iter_times(snaks: list[_Snak]) -> Iterator[_Value]:
    for snak in snaks:
        if snak.datavalue and isinstance(snak.datavalue.value, _Value):
            yield snak.datavalue.value


def _are_different(snaks: list[_Snak]) -> bool:
    """Whether the values are different days; as in RDF, a year is its January 1 here."""
    return len({_plain_time(value) for value in _iter_times(snaks)}) > 1


def _plain_time(value: _Value) -> str:
    """A time as RDF has it."""
    time = to_gregorian(value.time, int(value.precision or 0), str(value.calendar))
    return time.lstrip("+").replace("-00", "-01")
