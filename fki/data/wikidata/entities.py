"""An entity of Wikidata's JSON dump: its English label, and its statements as claims.

Its form is described at https://doc.wikimedia.org/Wikibase/master/php/docs_topics_json.html; only
what is named here is read, and the rest is passed over without becoming Python objects. What a
statement's qualifiers mean:

- no start, or a start before the window that is known to a decade or less: it holds since long ago;
- no end, or an end that has "no value": it still holds;
- an end that lies before the window and is known to a decade or less: it is left out;
- any other time that is unknown, or known to less than a year: the statement is left out;
- several values of one qualifier: where all say the same, more or less exactly, the most exact one;
  otherwise nobody knows which start belongs to which end, and the statement is left out.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct, field

from fki.data.wikidata.claims import END, POINT, START, Claim, When, Window, read_time

BLUR = {8: 9, 7: 99, 6: 999}  # years that a time may lie later than its number says, by precision
UNITS = {"year": 4, "month": 7, "day": 10}  # characters of a day that a precision vouches for

ITEM = re.compile(r"Q[1-9][0-9]{0,9}")  # Wikibase's ids are below 2 ** 31

BROKEN = "a line that is no entity"
OTHER = "an entity that is no item"
GONE = "an entity that is missing or was merged into another"
NAMELESS = "an item without an English label"
DEPRECATED = "a deprecated statement"
UNKNOWN = "a statement whose value is unknown or that there is none"
NO_ITEM = "a statement whose value is no item"
STRANGE = "a statement that is not in Wikidata's form"
UNCLEAR = "a statement with a time that is unknown or known to less than a year"
SEVERAL = "a statement with several starts, ends or points in time"
PAST = "a statement that ended before the window, known to less than a year"
AWAY = "a statement that does not matter for the window"


class Wanted(NamedTuple):
    """Which claims are asked for."""

    window: Window
    relations: frozenset[str]  # ids, such as "P6"


class Entity(NamedTuple):
    """An item with an English label, and its claims that matter, if any."""

    id: str
    label: str
    claims: list[Claim]


class _Term(Struct):
    value: str


class _Labels(Struct):
    en: _Term | None = None
    mul: _Term | None = None  # the default for all languages


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


_read_time = lru_cache(2**15)(read_time)  # dates are few
_read_entity = msgspec.json.Decoder(_Entity).decode
_read_statements = msgspec.json.Decoder(list[_Statement]).decode
_read_each = msgspec.json.Decoder(list[Raw]).decode
_read_statement = msgspec.json.Decoder(_Statement).decode


def read_entity(line: bytes, wanted: Wanted, dropped: Counter[str]) -> Entity | None:
    """The item of a line of the dump, without its comma; None, counted, for what is none.

    Raises ValueError where the line is no entity.
    """
    try:
        entity = _read_entity(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if bytes(entity.redirect) or bytes(entity.missing):
        dropped[GONE] += 1
        return None
    if not entity.id:
        raise ValueError("it has no id")
    if entity.type != "item" or not _is_item(entity.id):
        dropped[OTHER] += 1
        return None
    labels = entity.labels
    term = (labels.en or labels.mul) if isinstance(labels, _Labels) else None
    label = " ".join(term.value.split()) if term else ""
    if not label:
        dropped[NAMELESS] += 1
        return None
    claims: list[Claim] = []
    if isinstance(entity.claims, dict):
        for relation in entity.claims.keys() & wanted.relations:
            raw = entity.claims[relation]
            claims += _of_relation(entity.id, label, relation, raw, wanted.window, dropped)
    claims.sort(key=lambda claim: int(claim.relation[1:]))
    return Entity(entity.id, label, claims)


def _is_item(text: str) -> bool:
    return ITEM.fullmatch(text) is not None


def _of_relation(
    subject: str, label: str, relation: str, raw: Raw, window: Window, dropped: Counter[str]
) -> list[Claim]:
    """The claims of one subject and relation, all of them or, where none matters, none."""
    found = []
    for statement in _statements(raw, dropped):
        claim = _claim(subject, label, relation, statement, window)
        if isinstance(claim, Claim):
            found.append(claim)
        else:
            dropped[claim] += 1
    if not matter(found, window):
        dropped[AWAY] += len(found)
        return []
    return found


def _statements(raw: Raw, dropped: Counter[str]) -> Iterator[_Statement]:
    """The statements of a relation; where one is strange, the others."""
    try:
        yield from _read_statements(raw)
        return
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        texts = _read_each(raw)
    except (msgspec.DecodeError, RecursionError):
        texts = [Raw()]
    for text in texts:
        try:
            yield _read_statement(text)
        except (msgspec.DecodeError, RecursionError):
            dropped[STRANGE] += 1


def _claim(
    subject: str, label: str, relation: str, statement: _Statement, window: Window
) -> Claim | str:
    """A statement as a claim, or why it is none."""
    if statement.rank == "deprecated":
        return DEPRECATED
    snak = statement.mainsnak
    if snak.snaktype != "value":
        return UNKNOWN
    value = snak.datavalue.value if snak.datavalue else None
    named = (value.id or f"Q{value.number}") if isinstance(value, _Value) else ""
    if not isinstance(value, _Value) or value.kind != "item" or not _is_item(named):
        return NO_ITEM
    said = statement.qualifiers
    start = end = point = None
    if isinstance(said, _Qualifiers):
        try:
            start, end = _when(said.start, window), _when(said.end, window, is_end=True)
            point = _when(said.point, window)
        except _Unusable as why:
            return str(why)
    return Claim(subject, relation, named, start, end, point, statement.rank == "preferred", label)


class _Unusable(Exception):
    """Why a statement's times say nothing."""


def _when(snaks: list[_Snak], window: Window, is_end: bool = False) -> When | None:
    """What the values of one qualifier say together. Raises _Unusable where that is nothing."""
    if not snaks:
        return None
    found = {_one(snak, window, is_end) for snak in snaks}
    known = [when for when in found if when]
    exact = max(known, key=lambda when: UNITS[when.precision], default=None)
    if exact and (None in found or any(_cut(exact, w) != _cut(w, w) for w in known)):
        raise _Unusable(SEVERAL)
    return exact


def _cut(when: When, other: When) -> str:
    """As much of a day as another date vouches for."""
    return when.day[: UNITS[other.precision]]


def _one(snak: _Snak, window: Window, is_end: bool) -> When | None:
    value = snak.datavalue.value if snak.datavalue else None
    if snak.snaktype == "novalue":
        return None
    if snak.snaktype != "value" or not isinstance(value, _Value):
        raise _Unusable(UNCLEAR)
    when = _read_time(value.time, int(value.precision or 0))
    if when is None and not _is_long_ago(value, window):
        raise _Unusable(UNCLEAR)
    if when is None and is_end:
        raise _Unusable(PAST)
    return when


def _is_long_ago(value: _Value, window: Window) -> bool:
    """Does a time that is known to less than a year lie before the window?"""
    year = value.time.lstrip("+").partition("-")[0]
    if value.time.startswith("-"):
        return True
    return (
        year.isdigit()
        and int(year) + BLUR.get(int(value.precision or 0), 10**9) < window.since.year
    )


def matter(claims: Iterable[Claim], window: Window) -> bool:
    """May one of a subject's claims by one relation hold within the window, or begin, end or happen
    in it?

    Where one does, all of them are kept, since the one before it may be the old answer.
    """
    since, until = window.since.isoformat(), window.until.isoformat()
    for claim in claims:
        begins, end = claim.start or claim.point, claim.end
        has_begun = begins is None or begins.day < until
        if has_begun and (end is None or _cut(end, end) >= since[: UNITS[end.precision]]):
            return True
    return False
