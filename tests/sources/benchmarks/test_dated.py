"""TempLAMA and CFInjectBench: names, aliases, labels and dates."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.sources.benchmarks.dated import answer_names
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import DatasetDraft

Fki = Callable[..., Any]


def row(date: str, *answers: Any, subject: str = "Q1") -> dict[str, Any]:
    return {
        "query": "Ann plays for _X_.",
        "answer": [*answers],
        "date": date,
        "id": f"{subject}_P54_{date}",
        "relation": "P54",
    }


def club(name: Any, **more: Any) -> dict[str, Any]:
    return {"wikidata_id": "Q5", "name": name, **more}


def read(name: str, folder: Path, file: str, *rows: dict[str, Any]) -> DatasetDraft:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(r) + "\n" for r in rows)
    (folder / file).write_text(text, encoding="utf-8")
    return BENCHMARKS[name].draft(folder, "")


@pytest.mark.parametrize(
    ("answers", "names", "aliases"),
    [
        ([club("Lions")], ["Lions"], []),
        (club("Lions"), ["Lions"], []),
        ([club(["The Lions", "Lions"], original_name="Lions")], ["Lions"], ["The Lions"]),
        ([club(["Lions", "L."]), club(["Owls", "Lions", "O."])], ["Lions", "Owls"], ["L.", "O."]),
        ([club(["", 7, "Lions "]), None, "Owls", []], ["Lions", "Owls"], []),
    ],
)
def test_other_spellings_of_an_answer_are_aliases(
    answers: Any, names: list[str], aliases: list[str]
) -> None:
    assert answer_names({"answer": answers}) == (names, aliases)


def test_aliases_subject_and_relation_are_in_the_rows(tmp_path: Path) -> None:
    rows = [row("2011", club(["Lions", "L."])), row("2012", club("Owls"))]
    draft = read("templama", tmp_path, "test_with_aliases.json", *rows)
    labels = {"subject": "Q1", "relation": "P54"}
    question = {"prompt": "Ann plays for ___.", **labels}
    assert [*draft.tables["base"]] == [
        question | {"target": ["Lions"], "date": "2011", "aliases": ["L."]}
    ]
    assert [*draft.tables["stream"]] == [question | {"target": ["Owls"], "date": "2012"}]


def test_one_question_of_one_year_is_one_row(tmp_path: Path) -> None:
    rows = [row("2011", club("Lions")), row("2011", club(["Owls", "O."]), subject="Q2")]
    draft = read("templama", tmp_path, "test.json", *rows)
    [only] = draft.tables["stream"]
    assert only["target"] == ["Lions", "Owls"] and only["aliases"] == ["O."]
    assert sum(draft.dropped.values()) == 1


def test_the_first_period_has_one_date_in_two_spellings(tmp_path: Path) -> None:
    rows = [row("2019-01", club("Lions")), row("2019-1", club("Owls"), subject="Q2")]
    rows[1]["query"] = "Bo plays for _X_."
    later = row("2019-10", club("Foxes"))
    draft = read("cfinjectbench", tmp_path, "datesorted_test.jsonl", later, *rows)
    assert [r["date"] for r in draft.tables["base"]] == ["2019-01", "2019-1"]
    assert [r["date"] for r in draft.tables["stream"]] == ["2019-10"]


def test_without_a_readable_date_nothing_is_placed(fki: Fki, tmp_path: Path) -> None:
    rows = [row("2019_Q1", club("Lions")), row("soon", club("Owls"))]
    with pytest.raises(DataError, match=r"no date that fki reads, such as 2019-01-31.*: 2"):
        read("cfinjectbench", tmp_path / "files", "datesorted_test.jsonl", *rows)
    shown = fki("download", "cfinjectbench", "--from", "files")
    assert shown.code == 3 and "is now in" not in shown.words
    assert not (tmp_path / "home" / "datasets" / "cfinjectbench").exists()


def test_a_query_with_two_blanks_is_counted_as_such(tmp_path: Path) -> None:
    odd = row("2011", club("Lions")) | {"query": "_X_ plays for _X_."}
    draft = read("templama", tmp_path, "test.json", odd, row("2012", club("Owls")))
    assert draft.dropped == {"stream: a prompt with 2 blanks (_X_)": 1}


def test_dated_questions_of_templama_begin_with_their_year(tmp_path: Path) -> None:
    rows = [row("2011", club("Lions")), row("2012", club("Owls"))]
    read("templama", tmp_path, "test.json", *rows)
    draft = BENCHMARKS["templama"].draft(tmp_path, "", form="dated")
    assert [(r["prompt"], r["target"]) for r in draft.tables["stream"]] == [
        ("In 2011, Ann plays for ___.", ["Lions"]),
        ("In 2012, Ann plays for ___.", ["Owls"]),
    ]
    assert not draft.tables.get("base")


@pytest.mark.parametrize(("form", "taught"), [("base", 1), ("stream", 2)])
def test_the_first_month_of_cfinjectbench_is_base_or_taught(
    form: str, taught: int, tmp_path: Path
) -> None:
    rows = [row("2019-1", club("Lions")), row("2019-2", club("Owls"))]
    read("cfinjectbench", tmp_path, "datesorted_test.jsonl", *rows)
    draft = BENCHMARKS["cfinjectbench"].draft(tmp_path, "", form=form)
    assert len(draft.tables["stream"]) == taught
