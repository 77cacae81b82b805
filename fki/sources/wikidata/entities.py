"""An entity of Wikidata's JSON dump: its English label, and its statements as claims.

Its form is described at https://doc.wikimedia.org/Wikibase/master/php/docs_topics_json.html; only
what is named here is read, and the rest is passed over without becoming Python objects. A statement
becomes the claim that the query service's answers would make of it:

- "no value" as an end means that it still holds; an end that is unknown, or known to less than a
  year, is a fault of the claim;
- two different values of one qualifier are a fault, since nobody knows which start belongs to which
  end;
- a start or a point in time that is unknown, or known to less than a year, is none.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from fki.sources.wikidata.relations import ALWAYS, Relation
from fki.sources.wikidata.statements import (
    END,
    POINT,
    START,
    TWO_DATES,
    UNKNOWN_END,
    Claim,
    PartialDate,
    Subject,
    Window,
    parse_time,
)

ITEM_ID = re.compile(r"Q[1-9][0-9]{0,9}")  # Wikibase's ids are below 2 ** 31
PRECISION_CHARS = {
    "year": 4,
    "month": 7,
    "day": 10,
}  # characters of a day that a precision vouches for

NOT_AN_ENTITY = "a line that is no entity"
NOT_AN_ITEM = "an entity that is no item"
MISSING_OR_REDIRECT = "an entity that is missing or was merged into another"
NO_LABEL = "an item without an English label"
DEPRECATED = "a deprecated statement"
NO_VALUE = "a statement whose value is unknown, or that there is none"
VALUE_NOT_AN_ITEM = "a statement whose value is no item"
MALFORMED = "a statement that is not in Wikidata's form"
OUTSIDE_WINDOW = "a statement that does not matter for the window"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which claims are asked for."""

    window: Window
    holds: Mapping[str, str]  # by the number of a relation, such as "P6": how it holds

    @classmethod
    def of(cls, window: Window, relations: Iterable[Relation]) -> "Scope":
        """Of these relations in a window."""
        return cls(window, {relation.id: relation.holds for relation in relations})


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
    precision: int | float | None = 0  # of a place it is in degrees


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


_parse_time = lru_cache(2**15)(parse_time)  # dates are few
_decode_entity = msgspec.json.Decoder(_Entity).decode
_decode_statements = msgspec.json.Decoder(list[_Statement]).decode
_decode_each = msgspec.json.Decoder(list[Raw]).decode
_decode_statement = msgspec.json.Decoder(_Statement).decode


def read_entity(line: bytes, scope: Scope, dropped: Counter[str]) -> Subject | None:
    """The item of a line of the dump, without its comma, with its claims that matter, if any.

    Their objects' labels are "". None, counted by reason, for what is no item that has a name.
    Raises ValueError where the line is no entity.
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
    said = entity.claims if isinstance(entity.claims, dict) else {}
    return Subject(entity.id, label, [*_iter_claims(said, scope, dropped)])


def _iter_claims(said: dict[str, Raw], scope: Scope, dropped: Counter[str]) -> Iterator[Claim]:
    """All claims of each relation of which one matters; with any, also of what never changes."""
    holds = scope.holds
    wanted = sorted(said.keys() & holds.keys(), key=lambda relation: int(relation[1:]))
    is_any = False
    for relation in wanted:
        if holds[relation] != ALWAYS:
            found = [*_iter_relation(relation, said[relation], dropped)]
            if are_relevant(found, holds[relation], scope.window):
                is_any = True
                yield from found
            else:
                dropped[OUTSIDE_WINDOW] += len(found)
    for relation in wanted if is_any else ():
        if holds[relation] == ALWAYS:
            yield from _iter_relation(relation, said[relation], dropped)


def _iter_relation(relation: str, raw: Raw, dropped: Counter[str]) -> Iterator[Claim]:
    """The statements of one subject and relation that are claims; the others are counted."""
    for statement in _iter_statements(raw, dropped):
        snak = statement.mainsnak
        value = snak.datavalue.value if snak.datavalue else None
        if statement.rank == "deprecated":
            dropped[DEPRECATED] += 1
        elif snak.snaktype != "value":
            dropped[NO_VALUE] += 1
        elif not isinstance(value, _Value) or not (named := _item_id(value)):
            dropped[VALUE_NOT_AN_ITEM] += 1
        else:
            yield _parse_claim(relation, named, statement)


def _iter_statements(raw: Raw, dropped: Counter[str]) -> Iterator[_Statement]:
    """The statements of a relation; where one is strange, the others."""
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
    """The item that a value names, "" where it names none; old dumps give its number only."""
    named = value.id or f"Q{value.number}"
    return named if value.kind == "item" and ITEM_ID.fullmatch(named) else ""


def _parse_claim(relation: str, item: str, statement: _Statement) -> Claim:
    is_preferred = statement.rank == "preferred"
    said = statement.qualifiers
    if not isinstance(said, _Qualifiers):
        return Claim(relation, item, "", is_preferred=is_preferred)
    start, end, point = _latest_time(said.start), _latest_time(said.end), _latest_time(said.point)
    fault = ""
    if any(
        len(snaks) > 1 and _are_different(snaks) for snaks in (said.start, said.end, said.point)
    ):
        fault = TWO_DATES
    elif end is None and any(snak.snaktype != "novalue" for snak in said.end):
        fault = UNKNOWN_END
    return Claim(relation, item, "", start, end, point, is_preferred, fault)


def _latest_time(snaks: list[_Snak]) -> PartialDate | None:
    """The time that a qualifier names, the last of several, as far as it can be read."""
    told = [
        (value.time.replace("-00", "-01"), int(value.precision or 0))
        for value in _iter_times(snaks)
    ]
    return _parse_time(*max(told)) if told else None


def _iter_times(snaks: list[_Snak]) -> Iterator[_Value]:
    for snak in snaks:
        if snak.datavalue and isinstance(snak.datavalue.value, _Value):
            yield snak.datavalue.value


def _are_different(snaks: list[_Snak]) -> bool:
    """Do they name different days? A year is its first of January here, as in RDF."""
    return len({value.time.replace("-00", "-01") for value in _iter_times(snaks)}) > 1


def are_relevant(claims: Iterable[Claim], holds: str, window: Window) -> bool:
    """May what one relation says of a subject change in the window, or hold on its eve?

    All that is said matters then, since the holder before is the old answer. Statements without a
    readable date alone say nothing of a time.
    """
    since, until = window.since.isoformat(), window.until.isoformat()
    for claim in claims:
        begins = [when.day for when in (claim.start, claim.point) if when]
        end = None if holds == "latest" else claim.end  # the last of those holds until another
        has_begun = min(begins) < until if begins else end is not None
        if has_begun and not _is_before(end, since):
            return True
    return False


def _is_before(end: PartialDate | None, since: str) -> bool:
    size = PRECISION_CHARS[end.precision] if end else 0
    return end is not None and end.day[:size] < since[:size]
