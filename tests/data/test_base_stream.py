"""The base stream has what is known before the stream, and asks what is to be kept."""

from dataclasses import replace
from datetime import date

import pytest

from fki.core.errors import DataError
from fki.core.probe_sets import BASE
from fki.core.types import Fact, Stream
from fki.data.base_stream import PERIOD, base_examples, to_base_stream
from fki.data.stream import cut_stream


def fact(subject: str, object: str, start: str = "", relation: str = "head") -> Fact:
    return Fact(
        subject=subject,
        relation=relation,
        objects=(object,),
        start=date.fromisoformat(start) if start else None,
        wordings=("The head of {} is ___.",),
    )


@pytest.fixture
def stream() -> Stream:
    base = [
        fact("Eden", "Gil"),
        fact("Utopia", "Cy", "2019-01-01"),
        fact("Oz", "Hal", "2023-09-01"),
    ]
    changes = [fact("Utopia", "Di", "2023-02-01"), fact("Utopia", "Ed", "2023-05-01")]
    return cut_stream("toy", "quarter", base, changes, prompt="sentinel", digest="d")


def test_the_only_period_is_what_was_known_before_the_stream(stream: Stream) -> None:
    taught = to_base_stream(stream, "sentinel")
    [period] = taught.periods
    assert period.name == PERIOD and period.end < stream.periods[0].start
    assert {(f.subject, f.objects[0]) for f in period.facts} == {("Eden", "Gil"), ("Utopia", "Cy")}
    assert [(e.source, e.target) for e in period.examples] == [
        (e.source, e.target) for e in base_examples(stream, "sentinel", 1)
    ]
    assert len([*period.examples]) == 2 and taught.digest == stream.digest


def test_only_facts_to_keep_are_asked(stream: Stream) -> None:
    taught = to_base_stream(stream, "sentinel")
    assert {s.name for s in taught.probe_sets} <= {"invariant", "initial"}
    assert all(set(s.by_period) == {BASE} for s in taught.probe_sets)


def test_without_base_knowledge_there_is_nothing_to_teach(stream: Stream) -> None:
    with pytest.raises(DataError, match="toy has no base knowledge"):
        to_base_stream(replace(stream, base=()), "sentinel")
