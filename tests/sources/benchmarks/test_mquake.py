"""MQuAKE's questions follow from all edits of their case."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.data.dataset_folder import read_folder
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import DatasetDraft, write_dataset


def rewrite(subject: str, new: str) -> dict[str, Any]:
    return {
        "prompt": "{} is led by",
        "subject": subject,
        "relation_id": "P6",
        "question": f"Who leads {subject}?",
        "target_new": {"str": new},
        "target_true": {"str": f"old {subject}"},
    }


def case(number: int, *edits: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "case_id": number,
        "requested_rewrite": [*edits],
        "questions": [f"question {number} a", f"question {number} b"],
        "answer": "Eve",
        "new_answer": "Dee",
        "new_answer_alias": ["D."],
        **more,
    }


def read(folder: Path, *cases: dict[str, Any], name: str = "MQuAKE-T.json") -> DatasetDraft:
    (folder / name).write_text(json.dumps(cases), encoding="utf-8")
    return BENCHMARKS["mquake"].draft(folder, "")


def asked(draft: DatasetDraft, table: str) -> list[tuple[str, list[str]]]:
    return [(row["prompt"], row["answers"]) for row in draft.tables.get(table, ())]


def test_a_case_has_its_edits_and_its_questions(tmp_path: Path) -> None:
    draft = read(tmp_path, case(1, rewrite("A", "x"), rewrite("B", "y")))
    assert [row["prompt"] for row in draft.tables["stream"]] == ["A is led by", "B is led by"]
    assert {row["case_id"] for row in draft.tables["stream"]} == {"1"}
    assert asked(draft, "probes/multi_hop") == [
        ("question 1 a", ["Dee", "D."]),
        ("question 1 b", ["Dee", "D."]),
    ]
    assert asked(draft, "probes/paraphrase") == [("Who leads A?", ["x"]), ("Who leads B?", ["y"])]


def test_questions_of_a_case_with_a_skipped_edit_are_skipped(tmp_path: Path) -> None:
    draft = read(
        tmp_path, case(1, rewrite("A", "x")), case(2, rewrite("A", "z"), rewrite("B", "y"))
    )
    assert [q for q, _ in asked(draft, "probes/multi_hop")] == ["question 1 a", "question 1 b"]
    assert draft.dropped == {
        "stream: an edit that contradicts an earlier edit": 1,
        "probes/multi_hop: it follows from an edit that is skipped": 2,
    }


def test_the_questions_are_asked_when_all_edits_of_the_case_are_learned(tmp_path: Path) -> None:
    draft = read(
        tmp_path, case(1, rewrite("A", "x"), rewrite("B", "y")), case(2, rewrite("C", "z"))
    )
    made = tmp_path / "made"
    made.mkdir()
    write_dataset(made, draft)
    stream = read_folder(made, "edits:1", "sentinel", name="made")
    [hop] = [s for s in stream.probe_sets if s.name == "multi_hop"]
    assert {p.case: p.period for p in hop.probes} == {"1": "edit-2", "2": "edit-3"}


def test_a_list_of_new_answers_is_that_of_remastered(tmp_path: Path) -> None:
    draft = read(tmp_path, case(1, rewrite("A", "x"), new_answer=["Dee", "Di"]))
    assert asked(draft, "probes/multi_hop")[0][1] == ["Dee", "Di", "D."]


def test_one_part_is_read(tmp_path: Path) -> None:
    read(tmp_path, case(1, rewrite("A", "x")))
    with pytest.raises(DataError, match="2 parts"):
        read(tmp_path, case(1, rewrite("A", "x")), name="MQuAKE-CF.json")
