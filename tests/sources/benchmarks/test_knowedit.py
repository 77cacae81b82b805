"""The files of EasyEdit, in each of their field names."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import DatasetDraft

RECENT = {
    "subject": "Ann Lee",
    "prompt": "The home of Ann Lee is",
    "target_new": "Zeta",
    "ground_truth": [["Alpha", "A."]],
    "portability": {
        "Logical_Generalization": [{"prompt": "Zeta is home to", "ground_truth": [["Ann"]]}]
    },
    "locality": {"Forgetfulness": [{"prompt": "The sex of Ann is", "ground_truth": [["f", "F."]]}]},
}
ZSRE = {
    "subject": "Hall A",
    "src": "Who built Hall A?",
    "rephrase": "Whose work is Hall A?",
    "alt": "Bo",
    "answers": ["Cy"],
    "loc": "nq question: who sang",
    "loc_ans": "Dee",
}
COUNTERFACT = {
    "case_id": 12,
    "prompt": "The tongue of Ann is",
    "target_new": "Zetan",
    "ground_truth": "Alphan",
    "subject": "Ann",
    "rephrase_prompt": "Ann speaks",
    "locality_prompt": "The tongue of Bo is",
    "locality_ground_truth": "Betan",
}
BIO = {"concept": "Ann", "text": "Ann was", "labels": "a poet.", "locality": {}}


def read(folder: Path, *rows: dict[str, Any], name: str = "a_test.json") -> DatasetDraft:
    (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return BENCHMARKS["knowedit"].draft(folder, "")


def rows(draft: DatasetDraft, table: str) -> list[dict[str, Any]]:
    return [*draft.tables.get(table, ())]


@pytest.mark.parametrize(
    ("row", "prompt", "target", "old", "paraphrase", "kept"),
    [
        (RECENT, "The home of Ann Lee is", ["Zeta"], ["Alpha"], [], ["f", "F."]),
        (ZSRE, "Who built Hall A?", ["Bo"], ["Cy"], ["Whose work is Hall A?"], ["Dee"]),
        (COUNTERFACT, "The tongue of Ann is", ["Zetan"], ["Alphan"], ["Ann speaks"], ["Betan"]),
        (BIO, "Ann was", ["a poet."], [], [], []),
    ],
)
def test_the_fields_of_each_part_are_read(
    row: dict[str, Any],
    prompt: str,
    target: list[str],
    old: list[str],
    paraphrase: list[str],
    kept: list[str],
    tmp_path: Path,
) -> None:
    draft = read(tmp_path, row)
    [stream] = rows(draft, "stream")
    assert (stream["prompt"], stream["target"]) == (prompt, target)
    assert [r["target"] for r in rows(draft, "base")] == ([old] if old else [])
    assert [r["prompt"] for r in rows(draft, "probes/paraphrase")] == paraphrase
    assert [r["answers"] for r in rows(draft, "probes/locality")] == ([kept] if kept else [])
    assert stream["case_id"] == str(row.get("case_id", 0))


def test_probes_have_distractors_the_case_and_the_kind_of_inference(tmp_path: Path) -> None:
    draft = read(tmp_path, RECENT)
    [kept], [follows] = (rows(draft, f"probes/{n}") for n in ("locality", "portability"))
    assert kept["distractors"] == ["Zeta"] and kept["case_id"] == follows["case_id"] == "0"
    assert follows["relation"] == "Logical_Generalization" and follows["answers"] == ["Ann"]
    assert "period" in follows and "period" not in kept


def test_further_targets_are_aliases(tmp_path: Path) -> None:
    draft = read(tmp_path, RECENT | {"target_new": ["Zeta", "Z."]})
    [stream] = rows(draft, "stream")
    assert stream["target"] == ["Zeta"] and stream["aliases"] == ["Z."]


def test_the_portability_of_zsre_is_one_question(tmp_path: Path) -> None:
    hop = {"Recalled Relation": "x", "New Question": "From where is Bo?", "New Answer": "Eden"}
    [follows] = rows(read(tmp_path, ZSRE | {"portability": hop}), "probes/portability")
    assert (follows["prompt"], follows["answers"]) == ("From where is Bo?", ["Eden"])


def test_lists_of_prompts_have_lists_of_answers(tmp_path: Path) -> None:
    both = {"prompt": ["Her pet is", "Her car is"], "ground_truth": [["Rex", "R."], "Volvo"]}
    draft = read(tmp_path, RECENT | {"locality": {"Relation_Specificity": [both]}})
    assert [(r["prompt"], r["answers"]) for r in rows(draft, "probes/locality")] == [
        ("Her pet is", ["Rex", "R."]),
        ("Her car is", ["Volvo"]),
    ]


def test_one_part_is_read_and_the_one_for_tests_first(tmp_path: Path) -> None:
    read(tmp_path, RECENT, name="a_train.json")
    assert len(rows(read(tmp_path, RECENT, RECENT | {"prompt": "x"}), "stream")) == 2
    with pytest.raises(DataError, match=r"2 parts: a_test.json, b_test.json"):
        read(tmp_path, ZSRE, name="b_test.json")
