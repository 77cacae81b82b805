"""WikiBigEdit's steps are periods; a later step may change an answer again."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.core.types import ProbeSet
from fki.data.dataset_folder import read_folder
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import write_dataset

STEPS = ("20240201_20240220", "20240220_20240301")


def row(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "tag": "update",
        "subject": question.split()[-1],
        "update": question,
        "ans": answer,
        "rephrase": f"Tell me: {question}",
        "loc": f"Not {question}",
        "loc_ans": "same",
        **more,
    }


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, ProbeSet]:
    """The probe sets of two steps; the second changes an answer of the first."""
    steps = [
        [row("who leads A", "x", mhop="whose mother", mhop_ans="m"), row("who leads B", "y")],
        [row("who leads A", "z")],
    ]
    for name, rows in zip(STEPS, steps, strict=True):
        (tmp_path / f"wiki_big_edit_{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    made = tmp_path / "made"
    made.mkdir()
    write_dataset(made, BENCHMARKS["wikibigedit"].draft(tmp_path, ""))
    stream = read_folder(made, "day", "sentinel", name="made")
    assert [p.name for p in stream.periods] == ["2024-02-20", "2024-03-01"]
    return {s.name: s for s in stream.probe_sets}


def test_each_step_has_its_edits(sets: dict[str, ProbeSet]) -> None:
    found = {n: {p.source: p.answers for p in sets[n].probes} for n in ("new", "updated")}
    assert found["new"] == {"who leads A ___": ("x",), "who leads B ___": ("y",)}
    assert found["updated"] == {"who leads A ___": ("z",)}
    assert [p.answers for p in sets["multi_hop"].probes] == [("m",)]


def test_a_rephrasing_ends_where_a_later_step_answers_it_anew(sets: dict[str, ProbeSet]) -> None:
    found = [(p.answers, p.period, p.until) for p in sets["paraphrase"].probes]
    assert found == [
        (("x",), "2024-02-20", "2024-03-01"),
        (("y",), "2024-02-20", ""),
        (("z",), "2024-03-01", ""),
    ]


def test_a_file_without_dates_in_its_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "wiki_big_edit_x.json").write_text(json.dumps([row("a", "b")]), encoding="utf-8")
    with pytest.raises(DataError, match="has no dates"):
        BENCHMARKS["wikibigedit"].draft(tmp_path, "")
