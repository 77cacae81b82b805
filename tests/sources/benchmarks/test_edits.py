"""CounterFact and ZsRE, whose edits are learned together."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import ConfigError
from fki.data.dataset_folder import read_folder
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import DatasetDraft, write_dataset

Fki = Callable[..., Any]


def rewrite(subject: str, new: str, true: str, relation: str = "P30", **more: Any) -> Any:
    edit = {
        "prompt": "{} is located in",
        "relation_id": relation,
        "target_new": {"str": new},
        "target_true": {"str": true},
        "subject": subject,
    }
    return {"case_id": subject, "requested_rewrite": edit, **more}


def counterfact(folder: Path, rows: list[Any], name: str = "counterfact.json") -> DatasetDraft:
    (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return BENCHMARKS["counterfact"].draft(folder, "")


def asked(draft: DatasetDraft, table: str) -> list[tuple[str, list[str]]]:
    key = "answers" if table.startswith("probes/") else "target"
    return [(row["prompt"], row[key]) for row in draft.tables.get(table, ())]


BLAND, CLAND = "Bland is located in", "Cland is located in"
NEIGHBORS = [
    rewrite("Aland", "Zeta", "Alpha", neighborhood_prompts=[BLAND, CLAND]),
    rewrite("Bland", "Zeta", "Alpha", neighborhood_prompts=[CLAND, "Bland lies in"]),
    rewrite("Dland", "Theta", "Beta", "P131", neighborhood_prompts=[CLAND]),
]


def test_a_neighbor_that_an_edit_changes_is_no_neighbor(tmp_path: Path) -> None:
    draft = counterfact(tmp_path, NEIGHBORS)
    assert asked(draft, "probes/neighborhood") == [
        ("Cland is located in", ["Alpha", "Beta"]),  # both are true
        ("Cland is located in", ["Alpha", "Beta"]),  # each edit has its own neighbors
        ("Bland lies in", ["Alpha"]),
        ("Cland is located in", ["Alpha", "Beta"]),
    ]
    rows = [*draft.tables["probes/neighborhood"]]
    assert [row["case_id"] for row in rows] == ["Aland", "Bland", "Bland", "Dland"]
    assert [row["distractors"] for row in rows] == [["Zeta"], ["Zeta"], ["Zeta"], ["Theta"]]
    assert draft.dropped == {"probes/neighborhood: an edit changes its answer": 1}


def test_a_fact_is_recognized_in_every_template_of_its_relation(tmp_path: Path) -> None:
    other = rewrite("Eland", "Zeta", "Alpha")
    other["requested_rewrite"]["prompt"] = "{} lies in"
    draft = counterfact(tmp_path, [*NEIGHBORS, other])
    assert ("Bland lies in", ["Alpha"]) not in asked(draft, "probes/neighborhood")


def test_the_first_of_two_targets_is_taught_with_its_probes(tmp_path: Path) -> None:
    rows = [
        rewrite("Aland", "Zeta", "Alpha", paraphrase_prompts=["Aland, in"]),
        rewrite("Aland", "Theta", "Alpha", paraphrase_prompts=["Aland, inside"]),
    ]
    draft = counterfact(tmp_path, rows)
    assert asked(draft, "stream") == [("Aland is located in", ["Zeta"])]
    assert asked(draft, "probes/paraphrase") == [("Aland, in", ["Zeta"])]
    assert draft.dropped == {"stream: an edit that contradicts an earlier edit": 1}


def test_subject_relation_and_case_are_kept(tmp_path: Path) -> None:
    draft = counterfact(tmp_path, NEIGHBORS)
    for table in ("base", "stream", "probes/neighborhood"):
        row = next(iter(draft.tables[table]))
        assert (row["subject"], row["relation"], row["case_id"]) == ("Aland", "P30", "Aland")


def test_an_edit_that_cannot_be_learned_leaves_no_base_fact(tmp_path: Path) -> None:
    rows = [rewrite("Aland", "<extra_id_3>", "Alpha"), rewrite("Bland", "Zeta", "Alpha")]
    draft = counterfact(tmp_path, rows)
    assert asked(draft, "base") == [("Bland is located in", ["Alpha"])]
    assert draft.dropped.total() == 1


def test_multi_counterfact_is_read_and_prompts_without_answers_are_counted(tmp_path: Path) -> None:
    row = rewrite(
        "Aland", "Zeta", "Alpha", attribute_prompts=["Z is in"], generation_prompts=["a", "b"]
    )
    draft = counterfact(tmp_path, [row], "multi_counterfact.json")
    assert len(asked(draft, "stream")) == 1
    assert draft.dropped == {
        "attribute_prompts: a prompt without an answer": 1,
        "generation_prompts: a prompt without an answer": 2,
    }


def zsre(folder: Path, target: str = "") -> DatasetDraft:
    who = {
        "subject": "Hall A",
        "answers": ["Zoe", "Z."],
        "loc": "nq question: who sang",
        "loc_ans": "Kim",
    }
    rows = [
        who | {"src": "Who designed Hall A?", "rephrase": "Who was its architect?", "alt": "Ann"},
        who | {"src": "Who was its architect?", "rephrase": "Which person?", "alt": "Bob"},
    ]
    (folder / "zsre_mend_eval.json").write_text(json.dumps(rows), encoding="utf-8")
    return BENCHMARKS["zsre"].draft(folder, "", target=target)


def test_zsre_teaches_the_alternative_once_for_each_subject_and_answer(tmp_path: Path) -> None:
    draft = zsre(tmp_path)
    assert asked(draft, "stream") == [("Who designed Hall A?", ["Ann"])]
    assert asked(draft, "base") == [("Who designed Hall A?", ["Zoe"])]
    assert asked(draft, "probes/paraphrase") == [("Who was its architect?", ["Ann"])]
    assert draft.dropped == {"stream: an edit that contradicts an earlier edit": 1}


def test_zsre_teaches_the_answer_as_rome_does(tmp_path: Path) -> None:
    draft = zsre(tmp_path, "answers")
    prompts = ["Who designed Hall A?", "Who was its architect?"]
    assert asked(draft, "stream") == [(prompt, ["Zoe"]) for prompt in prompts]
    assert asked(draft, "base") == []
    assert asked(draft, "probes/paraphrase") == [("Which person?", ["Zoe"])]
    assert asked(draft, "probes/locality") == [("who sang", ["Kim"])] * 2
    assert [row["case_id"] for row in draft.tables["probes/locality"]] == ["0", "1"]
    assert draft.dropped == {"probes/paraphrase: itself the prompt of an edit": 1}
    assert any("--target answers" in note for note in draft.notes)


def test_the_target_is_an_option_of_zsre_alone(fki: Fki, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alt or answers"):
        zsre(tmp_path, "answer")
    zsre(tmp_path)
    shown = fki("download", "zsre", "--from", tmp_path, "--target", "answers")
    assert shown.code == 0, shown.err
    for name, target in (("zsre", "answer"), ("counterfact", "alt")):
        assert fki("download", name, "--from", tmp_path, "--target", target).code == 2
    assert fki("download", "wiki", "--target", "alt").code == 2


def test_probes_of_one_edit_share_a_subject_with_its_prompt(tmp_path: Path) -> None:
    row = rewrite("Aland", "Zeta", "Alpha", paraphrase_prompts=["Aland, in"])
    rows = [row | {"neighborhood_prompts": [BLAND, CLAND]}, rewrite("Eland", "Zeta", "Alpha")]
    (tmp_path / "made").mkdir()
    write_dataset(tmp_path / "made", counterfact(tmp_path, rows))
    stream = read_folder(tmp_path / "made", "month", "sentinel", name="made")
    labels = {
        s.name: [(p.subject, p.relation) for p in s.probes if p.subject == "Aland"]
        for s in stream.probe_sets
    }
    assert labels == {
        "updated": [("Aland", "P30")],
        "paraphrase": [("Aland", "P30")],
        "neighborhood": [("Aland", "P30")] * 2,
    }


def test_targets_and_answers_in_other_layouts_are_read(tmp_path: Path) -> None:
    row = rewrite("Aland", "Zeta", "Alpha")
    row["requested_rewrite"] |= {"target_new": "Zeta", "target_true": "Alpha"}
    assert asked(counterfact(tmp_path, [row]), "stream") == [("Aland is located in", ["Zeta"])]
    item = {
        "src": "Who?",
        "alt": ["Ann", "Di"],
        "answers": "Bo",
        "loc": "when?",
        "loc_ans": ["1", "2"],
    }
    (tmp_path / "zsre.json").write_text(json.dumps([item]), encoding="utf-8")
    draft = BENCHMARKS["zsre"].draft(tmp_path, "")
    assert asked(draft, "stream") == [("Who?", ["Ann"])]
    assert asked(draft, "probes/locality") == [("when?", ["1", "2"])]


def test_a_second_edition_is_listed_as_not_read(tmp_path: Path) -> None:
    counterfact(tmp_path, NEIGHBORS, "multi_counterfact.json")
    draft = counterfact(tmp_path, NEIGHBORS[:1])
    assert draft.dropped["multi_counterfact.json: a file of another setting, not read"] == 3
    assert [origin.name for origin in draft.origins] == ["counterfact.json"]
