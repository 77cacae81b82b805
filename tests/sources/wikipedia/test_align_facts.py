"""Facts are asked about only where the changed or the unchanged text of an article tells them."""

from datetime import date
from pathlib import Path

import pytest

from fki.core.errors import DataError
from fki.core.types import Fact
from fki.sources.wikipedia.align_facts import (
    AlignedProbes,
    FactAligner,
    _objects_on,
    read_facts,
)
from fki.sources.wikipedia.xml_export import Page

BEFORE, AFTER = "2024-01-01", "2024-02-01"
NEW = ["In January the mayor Ann Stone was followed by Bo Quill.", "It joined the Long League."]
UNCHANGED = ["Avalon lies in Eden.", "Its river is the Quill."]


def fact(
    relation: str, *objects: str, start: str = "", end: str = "", subject: str = "Avalon"
) -> Fact:
    def day(text: str) -> date | None:
        return date.fromisoformat(text) if text else None

    wordings = (f"The {relation} of [X] is [Y].",)
    return Fact(subject, relation, objects, wordings, day(start), day(end))


def align(*facts: Fact, is_kept: bool = True, new: list[str] = NEW) -> AlignedProbes:
    aligner = FactAligner(facts)
    page = Page(7, "Avalon", 0, 70, 0, "2024-01-20T00:00:00Z", None, "")
    aligner.add_article(page, new, UNCHANGED)
    return aligner.build_probes(BEFORE, AFTER, lambda page: page == 7 and is_kept)


def test_an_updated_fact_has_its_old_answer() -> None:
    aligned = align(fact("mayor", "Ann Stone", start="2020-01-01"),
                  fact("mayor", "Bo Quill", start="2024-01-15"))  # fmt: skip
    assert aligned.tables == {
        "probes/updated": [
            {
                "prompt": "The mayor of Avalon is ___.",
                "answers": ["Bo Quill"],
                "subject": "Avalon",
                "relation": "mayor",
                "period": "2024-01-20",
                "old_answers": ["Ann Stone"],
            }
        ]
    }
    assert not aligned.dropped


def test_only_added_objects_of_several_are_answers() -> None:
    [row] = align(fact("mayors", "Ann Stone", "Dee Fen", start="2020-01-01"),
                  fact("mayors", "Ann Stone", "Bo Quill", start="2024-01-15"),
                  ).tables["probes/updated"]  # fmt: skip
    assert (row["answers"], row["old_answers"]) == (["Bo Quill"], ["Dee Fen"])


@pytest.mark.parametrize(("end", "holds"), [("2024-01-20", False), ("2024-01-21", True)])
def test_a_fact_no_longer_holds_on_the_day_of_its_end(end: str, holds: bool) -> None:
    ended = fact("mayor", "Ann Stone", start="2020-01-01", end=end)
    assert _objects_on([ended], "2024-01-20") == (("Ann Stone",) if holds else ())


def test_a_fact_without_an_earlier_object_is_new() -> None:
    [row] = align(fact("league", "Long League", start="2024-01-10")).tables["probes/new"]
    assert row["answers"] == ["Long League"] and row["period"] == "2024-01-20"
    assert "old_answers" not in row


@pytest.mark.parametrize("start", ["", "1990-01-01"])
def test_a_fact_valid_at_both_dates_is_aligned_with_unchanged_text(start: str) -> None:
    aligned = align(fact("country", "Eden", start=start))
    assert aligned.tables == {
        "probes/initial": [
            {
                "prompt": "The country of Avalon is ___.",
                "answers": ["Eden"],
                "subject": "Avalon",
                "relation": "country",
            }
        ]
    }


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ([fact("mayor", "Cy Moss", start="2024-01-15")], "the object is not in the text"),
        ([fact("country", "Utopia")], "the object is not in the text"),
        ([fact("league", "Long League")], "the object is not in the text"),  # in new text alone
        ([fact("river", "Quil")], "the object is not in the text"),
        ([fact("mayor", "Bo Quill", start="2024-03-01")], "not yet valid"),
        ([fact("mayor", "Bo Quill", start="2020-01-01", end="2023-12-31")], "no longer valid"),
        ([fact("country", "Eden", *map(str, range(15)))], "more than 15 objects"),
        ([fact("country", "Eden", subject="Camelot")], "no article about the subject"),
        ([fact("name", "Avalon")], "subject and object contain each other"),
        ([fact("part", "Avalon lies")], "subject and object contain each other"),
        (
            [fact("x", "the mayor Ann Stone was followed", start="2024-01-15")],
            "longer than 5 words",
        ),
    ],
)
def test_any_other_fact_is_skipped_and_counted(facts: list[Fact], why: str) -> None:
    aligned = align(*facts)
    assert aligned.tables == {}
    [(reason, count)] = aligned.dropped.items()
    assert why in reason and count == 1


def test_a_change_outside_the_stream_has_no_probe() -> None:
    facts = fact("mayor", "Bo Quill", start="2024-01-15"), fact("country", "Eden")
    aligned = align(*facts, is_kept=False)
    assert [*aligned.tables] == ["probes/initial"]
    assert aligned.dropped == {"facts: the article's changes are not in the stream": 1}


def test_no_subject_and_no_relation_exceeds_its_share() -> None:
    facts = [fact(f"r{n % 50}", "Eden", subject=f"S{n}") for n in range(1000)]
    facts += [fact(f"r{n}", "Eden", subject="Everything") for n in range(50)]
    facts += [fact("common", "Eden", subject=f"T{n}") for n in range(950)]
    aligner = FactAligner(facts)
    for title in [*aligner.facts]:
        aligner.add_article(Page(1, title, 0, 1, 0, "2024-01-20", None, ""), [], UNCHANGED)
    aligned = aligner.build_probes(BEFORE, AFTER, lambda _: True)
    rows = aligned.tables["probes/initial"]
    assert sum(row["relation"] == "common" for row in rows) == 2000 * 0.05
    assert sum(row["subject"] == "Everything" for row in rows) == 2000 * 0.01
    assert len(rows) == 1000 + 100 + 20
    assert aligned.dropped == {
        "facts: a relation with more than 5% of a set": 850,
        "facts: a subject with more than 1% of a set": 30,
    }


def test_the_title_of_a_subject_starts_with_a_capital() -> None:
    aligner = FactAligner([fact("maker", "Eden", subject="iAvalon")])
    assert aligner.has_facts("IAvalon") and not aligner.has_facts("iAvalon")


def test_facts_of_a_dataset_are_read_and_its_documents_ignored(tmp_path: Path) -> None:
    (tmp_path / "stream.jsonl").write_text(
        '{"subject": "Avalon", "relation": "P6", "object": "Bo", "start": "2024-01-15"}\n'
        '{"text": "A document of words.", "date": "2024-01-15"}\n'
        '{"prompt": "The sky is", "target": "blue", "date": "2024-01-15"}\n'
    )
    (tmp_path / "base.jsonl").write_text(
        '{"subject": "Avalon", "relation": "P6", "object": ["Ann"], "start": "2020-01-15"}\n'
    )
    (tmp_path / "relations.json").write_text('{"P6": {"wordings": ["[Y] heads [X]."]}}')
    aligned = [*read_facts(str(tmp_path))]
    assert [f.objects for f in aligned] == [("Ann",), ("Bo",)]
    assert aligned[0].wordings == ("[Y] heads [X].",)


def test_a_missing_dataset_or_a_bad_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No facts .*'nothing'"):
        [*read_facts("nothing")]
    (tmp_path / "stream.jsonl").write_text('{"subject": "Avalon"}\n')
    with pytest.raises(DataError, match="'relation' is missing"):
        [*read_facts(str(tmp_path))]


def test_a_fact_without_an_object_now_has_ended_or_not_begun() -> None:
    ended = fact("mayor", "Ann Stone", start="2020-01-01", end="2024-01-15")
    later = fact("league", "Long League", start="2024-03-01")
    both = [fact("river", "Quill", end="2020-01-01"), fact("river", "Fen", start="2024-03-01")]
    assert align(ended, later, *both).dropped == {
        "facts: no longer valid": 2,
        "facts: not yet valid": 1,
    }
