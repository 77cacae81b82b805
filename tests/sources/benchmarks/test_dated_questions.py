"""Questions of the present: each answer has its date, and wrong choices are distractors."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import DatasetDraft


def lines(file: Path, *rows: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rows(draft: DatasetDraft, table: str, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row.get(c) for c in columns) for row in draft.tables.get(table, ())]


def test_the_snapshots_of_pat_questions_are_a_stream(tmp_path: Path) -> None:
    for folder, head in (("Dec2021", "Ann"), ("Dec2023", "Bo"), ("March2024", "Bo")):
        question = {"question": "Who leads A now?", "text answers": [head]}
        file = tmp_path / folder / "PAT-singlehop.json"
        file.parent.mkdir()
        file.write_text(json.dumps({"x": question}), encoding="utf-8")
    draft = BENCHMARKS["pat_questions"].draft(tmp_path, "")
    assert rows(draft, "base", "target", "date") == [(["Ann"], "2021-12")]
    assert rows(draft, "stream", "target", "date") == [(["Bo"], "2023-12")]
    assert draft.dropped == {"stream: the answer of the snapshot before": 1}


def test_a_snapshot_without_a_date_is_named(tmp_path: Path) -> None:
    (tmp_path / "singlehop.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="the date of its snapshot"):
        BENCHMARKS["pat_questions"].draft(tmp_path, "")


def test_the_other_choices_of_realtimeqa_are_distractors(tmp_path: Path) -> None:
    row = {
        "question_id": "20200103_0",
        "question_date": "2020/01/03",
        "question_sentence": "Who won?",
        "choices": ["Ann", "Bo", "Cy"],
        "answer": ["2"],
    }
    lines(tmp_path / "20200103_qa.jsonl", row)
    draft = BENCHMARKS["realtimeqa"].draft(tmp_path, "")
    assert rows(draft, "stream", "target", "date") == [(["Cy"], "2020-01-03")]
    assert rows(draft, "probes/new", "answers", "distractors", "period") == [
        (["Cy"], ["Ann", "Bo"], "2020-01-03")
    ]


def test_false_premises_are_asked_and_never_taught(tmp_path: Path) -> None:
    header = "id,question,false_premise,fact_type,answer_0,answer_1\n"
    (tmp_path / "FreshQA_v05132024.csv").write_text(
        "Warning,,,,,\n,,,,,\n" + header + "0,Who leads A?,FALSE,fast-changing,Ann,A. L.\n"
        "1,Who was on Mars?,TRUE,never-changing,Nobody was.,\n2,Who?,FALSE,x,,\n",
        encoding="utf-8",
    )
    draft = BENCHMARKS["freshqa"].draft(tmp_path, "")
    assert rows(draft, "stream", "prompt", "target", "aliases", "date", "relation") == [
        ("Who leads A?", ["Ann"], ["A. L."], "2024-05-13", "fast-changing")
    ]
    assert rows(draft, "probes/keep_false_premise", "prompt", "answers") == [
        ("Who was on Mars?", ["Nobody was."])
    ]
    assert draft.dropped == {"stream: a question without an answer": 1}


def test_an_edition_without_a_date_in_its_name_has_that_of_the_option(tmp_path: Path) -> None:
    text = "id,question,false_premise,answer_0\n0,Who leads A?,FALSE,Ann\n"
    (tmp_path / "freshqa.csv").write_text(text, encoding="utf-8")
    draft = BENCHMARKS["freshqa"].draft(tmp_path, "", "2025-02-03")
    assert rows(draft, "stream", "date") == [("2025-02-03",)]


def test_situatedqa_has_a_date_for_each_answer(tmp_path: Path) -> None:
    def asked(answer: str, date: str) -> dict[str, Any]:
        return {"question": "who leads a", "date": date, "answer": [answer] * 2}

    lines(tmp_path / "temp.train.jsonl", asked("Ann", "2018"), asked("Bo", "December 13, 1999"))
    lines(tmp_path / "geo.train.jsonl", asked("Cy", "2018"))
    draft = BENCHMARKS["situatedqa"].draft(tmp_path, "")
    expected = [(["Ann"], "2018"), (["Bo"], "1999-12-13")]
    assert rows(draft, "stream", "target", "date") == expected
    assert draft.dropped == {"geo.train.jsonl: a file of another setting, not read": 1}


def test_the_questions_of_streamingqa_have_the_date_of_their_article(tmp_path: Path) -> None:
    row = {"question": "Who won?", "answers": ["Ann", "A."], "evidence_ts": 1578009600}
    lines(tmp_path / "streaminqa_train.jsonl", row)
    eval = row | {"question": "Who lost?", "answers_additional": ["Z"], "recent_or_past": "past"}
    lines(tmp_path / "streaminqa_eval.jsonl", eval)
    draft = BENCHMARKS["streamingqa"].draft(tmp_path, "")
    assert rows(draft, "stream", "target", "aliases", "date") == [(["Ann"], ["A."], "2020-01-03")]
    assert rows(draft, "probes/learn_past", "prompt", "answers") == [
        ("Who lost?", ["Ann", "A.", "Z"])
    ]
