"""What an entity of a Wikidata dump says, read off made-up ones with every odd statement."""

import json
from collections import Counter
from datetime import date
from typing import Any

import pytest

pytest.importorskip("msgspec")

from benchmarks.entities import item
from fki.sources.wikidata import entities
from fki.sources.wikidata.entities import read_entity
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.statements import (
    TWO_DATES,
    UNKNOWN_END,
    Claim,
    PartialDate,
    Subject,
    Window,
)

HOLDS = {"P6": "one", "P39": "several", "P166": "latest", "P19": "always"}
SCOPE = Scope(Window(date(2023, 1, 1), date(2025, 1, 1)), HOLDS)
BEGAN = {"snaktype": "value", "datavalue": {"value": {"time": "+2020-02-03T", "precision": 11}}}
Json = dict[str, Any]


def term(value: str, language: str = "en") -> Json:
    return {"language": language, "value": value}


def to(item: str = "Q7") -> Json:
    """A snak that names an item."""
    value = {"entity-type": "item", "numeric-id": int(item[1:]), "id": item}
    return {"snaktype": "value", "datavalue": {"value": value, "type": "wikibase-entityid"}}


def at(time: str, precision: int = 11) -> Json:
    """A snak that says when."""
    value = {"time": f"{time}T00:00:00Z", "precision": precision, "before": 0, "after": 0}
    return {"snaktype": "value", "datavalue": {"value": value, "type": "time"}}


def holds(value: Any) -> Json:
    """A snak of any other value."""
    return {"snaktype": "value", "datavalue": {"value": value}}


def make_statement(
    snak: Json | None = None, rank: str = "normal", **qualifiers: list[Json]
) -> Json:
    """A statement."""
    more = {"qualifiers": qualifiers} if qualifiers else {}
    return {"mainsnak": snak or to(), "type": "statement", "rank": rank, **more}


def read(entity: Json | bytes) -> tuple[Subject | None, Counter[str]]:
    dropped: Counter[str] = Counter()
    line = entity if isinstance(entity, bytes) else json.dumps(entity).encode()
    return read_entity(line, SCOPE, dropped), dropped


def land(*statements: Json, **more: Any) -> Json:
    """An item with heads of government."""
    parts = {"type": "item", "id": "Q1", "labels": {"en": term("Eden")}}
    return {**parts, "claims": {"P6": list(statements)}, **more}


def claims(*statements: Json) -> tuple[list[Claim], Counter[str]]:
    entity, dropped = read(land(*statements))
    assert entity is not None
    return entity.claims, dropped


def beside(*statements: Json) -> tuple[list[Claim], Counter[str]]:
    """What these are beside a good one, so that the window wants them."""
    [good, *own_claims], dropped = claims(make_statement(to("Q9"), P580=[BEGAN]), *statements)
    assert good.object == "Q9"
    return own_claims, dropped


def only(statement: Json) -> Claim:
    [claim], dropped = beside(statement)
    assert not dropped
    return claim


def test_a_statement_with_its_times_is_a_claim() -> None:
    statement = make_statement(
        to("Q8"), "preferred", P580=[at("+2023-05-00", 10)], P582=[at("+2024-00-00", 9)],
        P585=[at("+2023-05-06")], P1545=[{"snaktype": "value", "datavalue": {"value": "1"}}],
    )  # fmt: skip
    assert only(statement) == Claim(
        "P6", "Q8", "",
        start=PartialDate("2023-05-01", "month"),
        end=PartialDate("2024-01-01", "year"),
        point=PartialDate("2023-05-06", "day"),
        is_preferred=True,
    )  # fmt: skip


def test_the_order_of_an_entity_s_fields_has_no_effect() -> None:
    whole = land(make_statement(P580=[BEGAN]))
    assert read(whole) == read(dict(reversed(whole.items())))


def test_an_item_of_an_old_dump_has_a_number_only() -> None:
    snak = to("Q8")
    del snak["datavalue"]["value"]["id"]
    assert only(make_statement(snak)).object == "Q8"


def read_of(**make_statement: list[Json]) -> list[tuple[str, str]]:
    subject, _ = read(land(claims=make_statement))
    assert subject is not None
    return [(claim.relation, claim.object) for claim in subject.claims]


def test_only_relations_in_scope_are_read_in_the_order_of_their_numbers() -> None:
    one, two, three = (make_statement(to(f"Q{n}"), P580=[BEGAN]) for n in (1, 2, 3))
    own_claims = read_of(P39=[three], P31=[one], P6=[two, one])
    assert own_claims == [("P6", "Q2"), ("P6", "Q1"), ("P39", "Q3")]


def test_constant_facts_are_read_only_next_to_relevant_dated_ones() -> None:
    born, head = make_statement(to("Q5")), make_statement(to("Q2"), P580=[BEGAN])
    assert read_of(P19=[born]) == [] == read_of(P19=[born], P6=[make_statement()])
    assert read_of(P19=[born], P6=[head]) == [("P6", "Q2"), ("P19", "Q5")]


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        ({"en": term("Eden"), "mul": term("Hedena", "mul")}, "Eden"),
        ({"de": term("Garten", "de"), "mul": term("Hedena", "mul")}, "Hedena"),
        ({"en": term(" E\tden\n ")}, "E den"),
    ],
)
def test_a_label_is_the_english_one_or_that_of_all_languages(labels: Json, label: str) -> None:
    subject, _ = read(land(labels=labels))
    assert subject == Subject("Q1", label, [])


@pytest.mark.parametrize("labels", [{"de": term("Garten", "de")}, {}, [], {"en": term(" ")}])
def test_an_item_without_an_english_label_is_counted(labels: Any) -> None:
    assert read(land(make_statement(), labels=labels)) == (None, Counter({entities.NO_LABEL: 1}))


@pytest.mark.parametrize(
    ("entity", "why"),
    [
        ({"type": "property", "id": "P6", "labels": {"en": term("head")}}, entities.NOT_AN_ITEM),
        ({"type": "lexeme", "id": "L1", "lemmas": {"en": term("run")}}, entities.NOT_AN_ITEM),
        ({"entity": "Q1", "redirect": "Q2"}, entities.MISSING_OR_REDIRECT),
        ({"id": "Q1", "missing": ""}, entities.MISSING_OR_REDIRECT),
    ],
)
def test_an_entity_that_is_not_an_item_is_counted(entity: Json, why: str) -> None:
    assert read(entity) == (None, Counter({why: 1}))


@pytest.mark.parametrize(
    "line",
    [b"", b"[", b"null", b"[]", b"{}", b'{"type": "item"', b'{"id": 5}', b"[" * 100_000,
     b'{"type":"item","id":"Q1","labels":{"en":{"value":"\\ud800"}}}',
     b'{"type":"item","id":"Q1","labels":{"en":{"value":"\xff"}}}'],
)  # fmt: skip
def test_a_line_that_is_not_an_entity_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(line)


def test_an_item_may_have_no_claims() -> None:
    for none in ({}, []):  # PHP writes an empty map as a list
        assert read(land(claims=none)) == (Subject("Q1", "Eden", []), Counter())


HUGE = "Q" + "9" * 40
PLACE = {"latitude": 1.5, "longitude": 2, "precision": 0.01, "globe": "http://example.org/Q2"}


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (make_statement(rank="deprecated"), entities.DEPRECATED),
        (make_statement({"snaktype": "somevalue"}), entities.NO_VALUE),
        (make_statement({"snaktype": "novalue"}), entities.NO_VALUE),
        (make_statement({"snaktype": "value"}), entities.VALUE_NOT_AN_ITEM),
        (make_statement(holds("Ann")), entities.VALUE_NOT_AN_ITEM),
        (make_statement(holds(3.5)), entities.VALUE_NOT_AN_ITEM),
        (make_statement(holds(PLACE)), entities.VALUE_NOT_AN_ITEM),
        (make_statement(holds(PLACE | {"precision": None})), entities.VALUE_NOT_AN_ITEM),
        (
            make_statement(holds({"entity-type": "property", "id": "P6"})),
            entities.VALUE_NOT_AN_ITEM,
        ),
        (make_statement(holds({"entity-type": "item", "id": "Q"})), entities.VALUE_NOT_AN_ITEM),
        (make_statement(holds({"entity-type": "item", "id": HUGE})), entities.VALUE_NOT_AN_ITEM),
        ({"mainsnak": 5}, entities.MALFORMED),
        ({"rank": "normal"}, entities.MALFORMED),
    ],
)
def test_an_unusable_statement_is_counted_by_reason(statement: Json, why: str) -> None:
    assert beside(statement) == ([], Counter({why: 1}))


def test_a_relation_that_is_not_a_list_is_counted() -> None:
    assert read(land(claims={"P6": 5}))[1] == Counter({entities.MALFORMED: 1})


SOME, NONE = {"snaktype": "somevalue"}, {"snaktype": "novalue"}


@pytest.mark.parametrize(
    ("qualifiers", "start", "end", "fault"),
    [
        ({}, "", "", ""),
        ({"P580": [SOME]}, "", "", ""),
        ({"P580": [at("-0100-00-00", 7)]}, "", "", ""),
        ({"P580": [at("+1950-00-00", 8)], "P582": [NONE]}, "", "", ""),
        ({"P582": [SOME]}, "", "", UNKNOWN_END),
        ({"P582": [at("+1950-00-00", 8)]}, "", "", UNKNOWN_END),
        ({"P582": [at("+2024-02-31")]}, "", "", UNKNOWN_END),
        ({"P580": [at("+2020-01-01"), at("+2023-01-01")]}, "2023-01-01", "", TWO_DATES),
        ({"P580": [at("+2020-01-01"), at("+2020-01-00", 10)]}, "2020-01-01", "", ""),
        ({"P582": [at("+2024-02-03"), at("+2024-00-00", 9)]}, "", "2024-02-03", TWO_DATES),
        ({"P582": [at("+2024-02-03"), at("+2024-02-03")]}, "", "2024-02-03", ""),
        ({"P582": [SOME, at("+2024-02-03")]}, "", "2024-02-03", ""),
        ({"P585": [at("+2020-00-00", 9), at("+2021-00-00", 9)]}, "", "", TWO_DATES),
    ],
)
def test_unusable_times_are_none_or_a_fault(
    qualifiers: Json, start: str, end: str, fault: str
) -> None:
    claim = only(make_statement(**qualifiers))
    assert (claim.start.day if claim.start else "") == start
    assert (claim.end.day if claim.end else "") == end
    assert claim.fault == fault


def since(day: str, precision: int = 11) -> dict[str, list[Json]]:
    return {"P580": [at(day, precision)]}


def until(day: str, precision: int = 11) -> dict[str, list[Json]]:
    return {"P582": [at(day, precision)]}


@pytest.mark.parametrize(
    "statement",
    [
        make_statement(**since("+1999-01-01")),
        make_statement(**since("+2024-12-31")),
        make_statement(**until("+2023-01-01")),
        make_statement(**until("+2023-00-00", 9)),
        make_statement(**until("+2023-01-00", 10)),
        make_statement(**since("+2000-01-01"), **until("+2030-01-01")),
        make_statement(P585=[at("+2024-05-05")]),
        make_statement(P585=[at("+2010-05-05")]),
    ],
)
def test_a_claim_that_may_affect_the_window_is_kept(statement: Json) -> None:
    assert len(claims(statement)[0]) == 1


@pytest.mark.parametrize(
    "statement",
    [
        make_statement(),
        make_statement(**until("+2022-12-31")),
        make_statement(**until("+2022-00-00", 9)),
        make_statement(**since("+2000-00-00", 9), **until("+2022-12-00", 10)),
        make_statement(**since("+2025-01-01")),
        make_statement(P585=[at("+2025-01-01")]),
    ],
)
def test_a_claim_outside_the_window_is_kept_next_to_one_inside(statement: Json) -> None:
    assert claims(statement) == ([], Counter({entities.OUTSIDE_WINDOW: 1}))
    assert len(claims(statement, make_statement(**since("+2023-06-01")))[0]) == 2


def test_the_latest_counts_although_it_has_ended() -> None:
    over = make_statement(**since("+2000-01-01"), **until("+2010-01-01"))
    assert read_of(P39=[over]) == [] and read_of(P166=[over]) == [("P166", "Q7")]


def test_the_point_in_time_of_the_latest_precedes_its_start() -> None:
    assert read_of(P166=[make_statement(**since("+2030-01-01"), P585=[at("+2023-05-01")])])


def test_a_malformed_statement_leaves_the_others() -> None:
    own_claims, dropped = beside(
        make_statement(to("Q2")), {"mainsnak": []}, make_statement(to("Q3"))
    )
    assert [claim.object for claim in own_claims] == ["Q2", "Q3"] and dropped[
        entities.MALFORMED
    ] == 1


def test_synthetic_items_have_the_fields_of_real_ones() -> None:
    whole = [item(number, 200) for number in range(1, 201)]
    assert whole == [item(number, 200) for number in range(1, 201)]
    assert {len(json.dumps(entity)) > 5000 for entity in whole} == {True}
    one = whole[0]
    assert {"labels", "descriptions", "aliases", "claims", "sitelinks", "lastrevid"} <= set(one)
    statement = next(iter(one["claims"].values()))[0]
    assert {"mainsnak", "type", "id", "rank", "references"} <= set(statement)
    labelled = [{"en", "mul"} & set(entity["labels"]) for entity in whole]
    assert set() in labelled and {"mul"} in labelled and {"en"} in labelled


def test_a_day_of_the_julian_calendar_is_a_gregorian_one() -> None:
    julian = at("+2024-01-05")
    julian["datavalue"]["value"]["calendarmodel"] = "http://www.wikidata.org/entity/Q1985786"
    [[claim], _] = claims(make_statement(P580=[julian]))
    assert claim.start == PartialDate("2024-01-18", "day")
    [[claim], _] = claims(make_statement(P580=[julian, at("+2024-01-18")]))
    assert claim.fault == ""
