"""LAMA and PopQA: subjects with several objects, blanks and relations."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.core.probe_sets import find_like
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import DatasetDraft

MERGED = "asked again with another answer; each of the answers counts"
BIRTH = {"relation": "P19"}
BORN = {"predicate_id": "P19", "sub_label": "Ann", "obj_label": "Rome"}


def lama(folder: Path, *rows: dict[str, Any]) -> DatasetDraft:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "P19.jsonl").write_text(text, encoding="utf-8")
    return BENCHMARKS["lama"].draft(folder, "")


def popqa(folder: Path, *rows: tuple[str, ...]) -> DatasetDraft:
    head = ("subj", "prop", "obj", "question", "possible_answers")
    text = "".join("\t".join(row) + "\n" for row in (head, *rows))
    (folder / "popQA.tsv").write_text(text, encoding="utf-8")
    return BENCHMARKS["popqa"].draft(folder, "")


def test_objects_of_one_subject_and_relation_are_one_prompt(tmp_path: Path) -> None:
    draft = lama(tmp_path, BORN, BORN | {"obj_label": "Oslo"}, BORN | {"uuid": "other"})
    [row] = draft.tables["stream"]
    assert row["object"] == ["Rome", "Oslo"]
    assert draft.dropped == {f"stream: {MERGED}": 1, "stream: a duplicate": 1}
    assert "are one prompt" in draft.notes[0]


def test_what_lama_cannot_ask_has_its_own_reason(tmp_path: Path) -> None:
    two = {"masked_sentences": ["[MASK] and [MASK]."], "obj_label": "bread"}
    multilingual = {"lineid": 1, "sub_label": "Ann", "obj_label": "Rome"}
    draft = lama(tmp_path, BORN, two, multilingual)
    assert draft.dropped == {
        "stream: a prompt with 2 blanks ([MASK])": 1,
        "stream: a fact without a relation (predicate_id or pred)": 1,
    }
    with pytest.raises(DataError, match="a fact without a relation"):
        lama(tmp_path, multilingual)


def test_two_entities_of_one_name_are_one_question(tmp_path: Path) -> None:
    poet = ("Ann", "job", "poet", "What is Ann's job?", '["poet", "writer"]')
    draft = popqa(tmp_path, poet, ("Ann", "job", "king", "What is Ann's job?", '["king"]'))
    answers = [row["answers"] for row in draft.tables["probes/paraphrase"]]
    assert answers == [["poet", "writer", "king"]]
    assert [row["object"] for row in draft.tables["stream"]] == [["poet", "king"]]
    assert {row["subject"] for row in draft.tables["probes/new"]} == {"Ann"}
    assert draft.dropped[f"probes/new: {MERGED}"] == 1


def test_a_fact_that_is_skipped_has_no_probes(tmp_path: Path) -> None:
    sound = ("Bo", "job", "king", "What is Bo's job?", "['king']")
    draft = popqa(tmp_path, ("Ann", "job", "</s>", "What is Ann's job?", '["poet"]'), sound)
    assert [row["subject"] for row in draft.tables["probes/new"]] == ["Bo"]
    reason = "probes/new: possible_answers without a JSON list; only the object counts"
    assert draft.dropped[reason] == 1 and draft.dropped.total() == 2


def test_questions_by_popularity_are_a_probe_set_for_each_power_of_ten(tmp_path: Path) -> None:
    head = ("subj", "prop", "obj", "question", "possible_answers", "s_pop")
    views = ("9", "10", "99999", "", "100000", "0")
    rows = [(f"S{n}", "job", "poet", f"What is S{n}'s job?", "[]", v) for n, v in enumerate(views)]
    text = "".join("\t".join(row) + "\n" for row in (head, *rows))
    (tmp_path / "popQA.tsv").write_text(text, encoding="utf-8")
    draft = BENCHMARKS["popqa"].draft(tmp_path, "", form="popularity")
    asked = {
        name.rpartition("_")[2]: [row["subject"] for row in found]
        for name, found in draft.tables.items()
        if name.startswith("probes/paraphrase")
    }
    assert asked == {"0": ["S0", "S5"], "1": ["S1"], "4": ["S2"], "5": ["S4"]}
    assert draft.dropped["probes/paraphrase: no number of page views (s_pop)"] == 1
    assert "1,000 to 9,999 monthly page views" in draft.notes[-1]
    like = find_like("paraphrase_views_4")
    assert like is not None and like.name == "paraphrase"


def test_lama_as_probes_is_a_set_for_each_of_its_parts_and_no_stream(tmp_path: Path) -> None:
    template = {"relation": "P19", "template": "[X] was born in [Y] .", "label": "place of birth"}
    birth = {"pred": "/people/person/place_of_birth", "sub_label": "Cy", "obj_label": "Oslo"}
    eat = {"masked_sentences": ["You eat [MASK]."], "obj_label": "bread", "pred": "AtLocation"}
    squad = {"masked_sentences": ["Ann met [MASK]."], "obj_label": "Bo"}
    files = {
        "relations": [template],
        "TREx/P19": [BORN, BORN | {"obj_label": "Oslo"}, BORN | {"sub_label": "Bo"}],
        "TREx/P99": [BORN | {"predicate_id": "P99"}],
        "Google_RE/place_of_birth_test": [birth],
        "ConceptNet/test": [eat],
        "Squad/test": [squad],
        "own": [squad],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").parent.mkdir(exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    draft = BENCHMARKS["lama"].draft(tmp_path, "", form="probes")
    found = {name: [*rows] for name, rows in draft.tables.items() if any(rows)}
    assert found == {
        "probes/lama_trex": [
            {
                "prompt": "Ann was born in ___.",
                "answers": ["Rome", "Oslo"],
                **BIRTH,
                "subject": "Ann",
            },
            {"prompt": "Bo was born in ___.", "answers": ["Rome"], **BIRTH, "subject": "Bo"},
            {
                "prompt": "The P99 of Ann is ___.",
                "answers": ["Rome"],
                "relation": "P99",
                "subject": "Ann",
            },
        ],
        "probes/lama_google_re": [
            {
                "prompt": "Cy was born in ___.",
                "answers": ["Oslo"],
                "relation": "place of birth",
                "subject": "Cy",
            }
        ],
        "probes/lama_conceptnet": [
            {"prompt": "You eat ___.", "answers": ["bread"], "relation": "AtLocation"}
        ],
        "probes/lama_squad": [{"prompt": "Ann met ___.", "answers": ["Bo"]}],
        "probes/lama": [{"prompt": "Ann met ___.", "answers": ["Bo"]}],
    }
    assert not draft.wordings and "Nothing of them is trained on" in draft.notes[0]
    assert draft.dropped == {f"probes/lama_trex: {MERGED}": 1}
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "test.jsonl").write_text(json.dumps(squad | {"obj_label": ""}), encoding="utf-8")
    with pytest.raises(DataError, match="no usable row"):
        BENCHMARKS["lama"].draft(empty, "", form="probes")
