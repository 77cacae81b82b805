"""Each dataset of the field is read from its original layout, and can be trained on at once.

The files are written here, in the layouts that the authors ship, with facts that are made up.
"""

import csv
import hashlib
import json
import shlex
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.data import open_dataset
from fki.sources.benchmarks.ckl import fill_spans
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import write_dataset
from tests.support.web_server import site

Fki = Callable[..., Any]
Rows = list[dict[str, Any]]


def table(file: Path, rows: Rows, delimiter: str = ",") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, [*rows[0]], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def lines(file: Path, rows: Rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def whole_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def ckl(folder: Path) -> None:
    news = "Ada Quill won the prize of Avalon in 2021. Bo Bridge came second."
    gap = {"input": "<extra_id_0> leads Avalon.", "output": "<extra_id_0> Cy <extra_id_1>"}
    table(
        folder / "recent_news_small.csv",
        [{**gap, "original": news}, {**gap, "original": ""}, {**gap, "input": "", "original": ""}],
    )
    invariant = {"id": "1", "input": "Ann was born in <extra_id_0> .", "output": "Paris"}
    table(folder / "invariantLAMA.csv", [invariant, invariant])
    updated = {"unique_id": "7", "statement": "<extra_id_0> leads Avalon.", "new_answer": "Cy"}
    table(folder / "updatedlama" / "updatedLAMA.csv", [updated])
    both = {"7": [{"old": ["Dee", "Di"], "new": ["Cy", "Cyrus"]}]}
    whole_json(folder / "updatedlama_val_answers.json", both)
    for name, stem in (("newLAMA", "recentlama_h"), ("newLAMA_easy", "recentlama")):
        row = {"unique_id": "9", "statement": "<extra_id_0> won the prize.", "answer": "Ada"}
        table(folder / "newlama" / f"{name}.csv", [row])
        whole_json(folder / f"{stem}_val_answers.json", {"9": ["Ada", "Ada Quill"]})


def temporalwiki(folder: Path) -> None:
    text = {"title": "Avalon", "text": "Avalon was enlarged in August 2021 by King Arthur."}
    table(folder / "TWiki_Diffsets" / "wikipedia_0809_gpt2.csv", [text])
    later = text | {"text": "Utopia was enlarged in September 2021 by Queen Ann."}
    table(folder / "TWiki_Diffsets" / "wikipedia_0910_gpt2.csv", [later])
    fact = {"subject": "Avalon", "relation": "head of state", "object": "Arthur"}
    other = {"subject": "Eden", "relation": "capital", "object": "Arbor"}
    table(folder / "twiki_probes" / "0801-0901_changed.csv", [fact])
    table(folder / "twiki_probes" / "0901-1001_unchanged.csv", [other, fact])


def dated(year: int, name: str, subject: str = "Q1") -> dict[str, Any]:
    return {
        "query": f"{subject} plays for _X_.",
        "answer": [{"wikidata_id": "Q5", "name": name}],
        "date": f"{year}",
        "id": f"{subject}_P54_{year}",
        "relation": "P54",
    }


def cfinjectbench(folder: Path) -> None:
    here = folder / "dataset_from_2019-1-1_to_2023-5-31_per_month"
    rows = [dated(2019, "Lions"), dated(2019, "Bears", "Q2"), dated(2019, "Owls")]
    for row, month in zip(rows, ("2019-1", "2019-1", "2019-10"), strict=True):
        row["date"], row["id"] = month, f"{row['id'][:6]}_{month}"
    lines(here / "datesorted_test_no_redundancy.jsonl", rows)
    said = [{"corpus": [r["query"].replace("_X_", "Lions")], **r} for r in rows]
    extra = {"corpus": ["Q9 is new."], "date": "2019-2", "id": "Q9_P1_2019-2", "relation": "P1"}
    lines(here / "datesorted_train_no_redundancy.jsonl", [*said, extra])
    lines(here / "datesorted_test.jsonl", [dated(2019, "Not me")])


def templama(folder: Path) -> None:
    lines(folder / "train.json", [dated(2010, "Lions"), dated(2012, "Owls")])
    lines(folder / "val.json", [dated(2010, "Bears", "Q2")])
    lines(folder / "test.json", [dated(2011, "Foxes"), dated(2011, "", "Q3")])


def lama(folder: Path) -> None:
    lines(
        folder / "relations.jsonl",
        [{"relation": "P19", "template": "[X] was born in [Y] .", "label": "place of birth"}],
    )
    born = {"predicate_id": "P19", "sub_label": "Ann", "obj_label": "Paris", "uuid": "1"}
    lines(folder / "TREx" / "P19.jsonl", [born, born | {"sub_label": "Bo", "obj_label": "Rome"}])
    google = {"pred": "/people/person/place_of_birth", "sub_label": "Cy", "obj_label": "Oslo"}
    lines(folder / "Google_RE" / "place_of_birth_test.jsonl", [google])
    masked = [{"masked_sentences": ["You eat [MASK]."], "obj_label": "bread"}]
    masked.append({"masked_sentences": ["[MASK] and [MASK]."], "obj_label": "bread"})
    lines(folder / "ConceptNet" / "test.jsonl", masked)


def popqa(folder: Path) -> None:
    row = {
        "id": "1",
        "subj": "Ann Lee",
        "prop": "occupation",
        "obj": "poet",
        "question": "What is Ann Lee's occupation?",
        "possible_answers": json.dumps(["poet", "writer of verse"]),
    }
    cap = row | {"subj": "Oslo", "prop": "capital of", "obj": "Norway", "question": "What is Oslo?"}
    table(folder / "popQA.tsv", [row, cap | {"possible_answers": '["Norway"]'}], "\t")


def zsre(folder: Path) -> None:
    row = {
        "subject": "Watts Hall",
        "src": "Who built Watts Hall?",
        "rephrase": "Whose work is Watts Hall?",
        "alt": "Ann Lee",
        "answers": ["Bo Ray"],
        "loc": "nq question: who sings of rain",
        "loc_ans": "Cy",
    }
    whole_json(folder / "zsre_mend_eval.json", [row, row | {"src": "Who?", "alt": "Bo Ray"}])


def counterfact(folder: Path) -> None:
    edit = {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Ann Lee",
    }
    row = {
        "case_id": 0,
        "requested_rewrite": edit,
        "paraphrase_prompts": ["Ann Lee was brought up in"],
        "neighborhood_prompts": ["The mother tongue of Bo Ray is"],
    }
    whole_json(folder / "counterfact.json", [row])


def knowedit(folder: Path) -> None:
    row = {
        "subject": "Ann Lee",
        "prompt": "The home of Ann Lee is",
        "target_new": ["Zeta", "Z."],
        "ground_truth": [["Alpha"]],
        "rephrase_prompt": "Where does Ann Lee live?",
        "portability": {
            "Reasoning": [{"prompt": "The land of Ann Lee's home is", "ground_truth": [["Eden"]]}],
            "Subject_Aliasing": [{"prompt": "The home of A. Lee is", "ground_truth": ["Zeta"]}],
        },
        "locality": {
            "Relation_Specificity": [
                {"prompt": "The gender of Ann Lee is", "ground_truth": [["female", "woman"]]}
            ]
        },
    }
    same = row | {"target_new": "Alpha"}
    whole_json(folder / "benchmark" / "recent_test.json", [row, same])


def mquake(folder: Path) -> None:
    def rewrite(subject: str, new: str, old: str) -> dict[str, Any]:
        return {
            "prompt": "{} is led by",
            "subject": subject,
            "relation_id": "P6",
            "question": f"Who leads {subject}?",
            "target_new": {"str": new},
            "target_true": {"str": old},
        }

    case = {
        "case_id": 1,
        "requested_rewrite": [rewrite("Aland", "Zed", "Ann"), rewrite("Bland", "Yves", "Bo")],
        "questions": ["Who is the mother of the head of Aland?", "Whose child leads Aland?"],
        "new_answer": "Dee",
        "new_answer_alias": ["D."],
    }
    other = case | {"case_id": 2, "questions": ["Who is Ed's mother?"], "new_answer": "Flo"}
    other["requested_rewrite"] = [rewrite("Aland", "Ed", "Ann")]
    whole_json(folder / "MQuAKE-CF-3k-v2.json", [case, other])


def rippleedits(folder: Path) -> None:
    def test(prompt: str, *answers: str) -> dict[str, Any]:
        found = [{"value": answers[0], "aliases": [*answers[1:]]}] if answers else []
        return {"test_queries": [{"prompt": prompt, "answers": found}], "test_condition": "OR"}

    entry = {
        "example_type": "popular",
        "edit": {
            "prompt": "The name of the head of Aland is Zed the Great.",
            "subject_id": "Q1",
            "relation": "HEAD",
            "previous_fact": {"prompt": "The name of the head of Aland is Ann."},
        },
        "Relation_Specificity": [test("The name of the capital of Aland is", "Arbor", "Arborton")],
        "Logical_Generalization": [test("Zed the Great is the head of", "Aland")],
        "Subject_Aliasing": [],
        "Compositionality_I": [
            test("The mother of the head of Aland is", "Eve")
            | {"condition_queries": test("The mother of Zed is", "Eve")["test_queries"]},
            test("Who is"),
        ],
        "Compositionality_II": [],
        "Forgetfulness": [],
    }
    whole_json(folder / "popular.json", [entry])
    new = {"prompt": "The name of the child of Bo is Cy.", "subject_id": "Q2", "relation": "CHILD"}
    whole_json(folder / "recent.json", [{"example_type": "recent", "edit": new}])


def wikibigedit(folder: Path) -> None:
    row = {
        "tag": "new",
        "subject": "Aland",
        "update": "Who leads Aland?",
        "ans": "Zed",
        "rephrase": "Aland is led by whom?",
        "personas": "Pray tell, who leads Aland?",
        "loc": "Who leads Bland?",
        "loc_ans": "Bo",
    }
    hop = {"mhop": "Who is the mother of the head of Aland?", "mhop_ans": "Eve"}
    whole_json(folder / "wiki_big_edit_20240201_20240220.json", [row | hop])
    eden = {"update": "Who leads Eden?", "rephrase": "Eden, led by?", "personas": "Eden's head?"}
    later = [row | {"tag": "update", "ans": "Yves"}, row | eden]
    whole_json(folder / "wiki_big_edit_20240220_20240301.json", later)


def pat_questions(folder: Path) -> None:
    def asked(answer: str, question: str = "Who is the head of Aland currently?") -> dict[str, Any]:
        subject = {"subject": "Q1", "subLabel": "Aland"}
        row = {"question": question, "subject": subject, "text answers": [answer]}
        return {question: row | {"relations": ["P6"]}}

    unlabeled = asked("http://www.wikidata.org/.well-known/genid/1", "Who is x currently?")
    for month, answer in (("Dec2021", "Ann"), ("Dec2023", "Bo"), ("March2024", "Bo")):
        whole_json(folder / month / "PAT-singlehop.json", asked(answer) | unlabeled)
        hop = asked(f"mother of {answer}", "Who is the mother of the head of Aland?")
        whole_json(folder / month / "PAT-multihop.json", hop)


def realtimeqa(folder: Path) -> None:
    row = {
        "question_id": "20200103_0",
        "question_date": "2020/01/03",
        "question_sentence": "Who won the prize?",
        "choices": ["Ann", "Bo", "Cy", "Dee"],
        "answer": ["1"],
    }
    lines(folder / "2020" / "20200103_qa.jsonl", [row, row | {"answer": ["9"]}])
    later = row | {"question_date": "2020/02/07", "question_sentence": "Who lost?"}
    lines(folder / "2020" / "20200207_qa.jsonl", [later])
    lines(folder / "2020" / "20200207_qa_nota.jsonl", [later])


def freshqa(folder: Path) -> None:
    folder.mkdir(parents=True)
    head = "Warning: do not click,,,,\n,,,,\n"
    names = "id,split,question,effective_year,false_premise,fact_type,answer_0,answer_1,note\n"
    for date, leader in (("05062024", "Ann"), ("05132024", "Bo")):
        rows = (
            f"0,TEST,Who leads Aland?,2024,FALSE,fast-changing,{leader},{leader} Lee,\n"
            "1,TEST,Who was first on Mars?,before 2022,TRUE,never-changing,Nobody was there.,,\n"
            ",,,,,,,,\n"
        )
        (folder / f"FreshQA_v{date}.csv").write_text(head + names + rows, encoding="utf-8")


def situatedqa(folder: Path) -> None:
    def asked(answer: str, date: str) -> dict[str, Any]:
        more = {"edited_question": f"who leads aland as of {date}", "date_type": "start"}
        return {"question": "who leads aland", "date": date, "answer": [answer, answer], **more}

    lines(folder / "temp.train.jsonl", [asked("Ann", "2018"), asked("Ann", "2019")])
    lines(folder / "temp.test.jsonl", [asked("Bo", "December 13, 2020"), asked("Bo", "soon")])


def streamingqa(folder: Path) -> None:
    row = {
        "question": "Who won the prize?",
        "answers": ["Ann", "A. Lee"],
        "answers_additional": "",
        "evidence_ts": 1578009600,
        "recent_or_past": "recent",
    }
    lines(folder / "streaminqa_train.jsonl", [row])
    lines(folder / "streaminqa_valid.jsonl", [row | {"question": "Who lost?", "answers": ["Bo"]}])
    lines(folder / "streaminqa_eval.jsonl", [row | {"question": "Who was there?"}])


WRITERS = {
    f.__name__: f
    for f in (
        *(ckl, temporalwiki, cfinjectbench, lama, zsre, counterfact, popqa, templama),
        *(knowedit, mquake, rippleedits, wikibigedit),
        *(pat_questions, realtimeqa, freshqa, situatedqa, streamingqa),
    )
}
SETS = {  # periods, and probes by set
    "ckl": (1, {"invariant": 1, "updated": 1, "new": 1, "new_easy": 1}),
    "temporalwiki": (2, {"new": 1, "initial": 1}),
    "cfinjectbench": (1, {"initial": 1, "updated": 1}),
    "lama": (1, {"new": 4}),
    "zsre": (1, {"updated": 1, "paraphrase": 1, "locality": 1}),
    "counterfact": (1, {"updated": 1, "paraphrase": 1, "neighborhood": 1}),
    "popqa": (1, {"new": 2, "paraphrase": 2}),
    "templama": (2, {"initial": 1, "updated": 2}),
    "knowedit": (1, {"updated": 1, "paraphrase": 1, "portability": 2, "locality": 1}),
    "mquake": (1, {"updated": 2, "paraphrase": 2, "multi_hop": 2}),
    "rippleedits": (
        1,
        {"updated": 1, "new": 1, "portability": 1, "multi_hop": 1, "locality": 1}
        | {"condition": 1},
    ),
    "wikibigedit": (
        2,
        {"updated": 1, "new": 2, "paraphrase": 3, "paraphrase_personas": 3, "multi_hop": 1}
        | {"locality": 3},
    ),
    "pat_questions": (1, {"updated": 1, "multi_hop": 1}),
    "realtimeqa": (2, {"new": 2}),
    "freshqa": (1, {"updated": 1, "keep_false_premise": 1}),
    "situatedqa": (2, {"new": 1, "updated": 1}),
    "streamingqa": (1, {"new": 2, "learn_recent": 1}),
}
DROPPED = {
    "ckl": {"stream: an empty prompt, answer or text": 1, "probes/invariant: a duplicate": 1},
    "temporalwiki": {"probes/initial: added by an earlier month of the stream": 1},
    "cfinjectbench": {"train: a sentence without a probe": 1},
    "lama": {"stream: a prompt with 2 blanks ([MASK])": 1},
    "zsre": {"stream: the new answer is the old one": 1},
    "counterfact": {},
    "popqa": {},
    "templama": {"stream: an empty prompt, answer or text": 1},
    "knowedit": {"stream: the new answer is the old one": 1},
    "mquake": {
        "stream: an edit that contradicts an earlier edit": 1,
    },
    "rippleedits": {"probes/multi_hop: an empty prompt, answer or text": 1},
    "wikibigedit": {},
    "pat_questions": {
        "stream: an empty prompt, answer or text": 3,
        "stream: the answer of the snapshot before": 1,
        "probes/multi_hop: of the first snapshot, before the stream": 1,
        "probes/multi_hop: a duplicate": 1,
    },
    "realtimeqa": {
        "stream: an answer that is the number of no choice": 1,
        "20200207_qa_nota.jsonl: a file of another setting, not read": 1,
    },
    "freshqa": {"probes/keep_false_premise: a duplicate": 1},
    "situatedqa": {"stream: an unreadable date": 1},
    "streamingqa": {},
}


@pytest.fixture(params=WRITERS)
def original(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The name of a dataset and the folder with its files."""
    WRITERS[request.param](tmp_path / "files")
    return request.param, tmp_path / "files"


def manifest(name: str) -> Any:
    file = open_dataset.dataset_folder(name) / "manifest.json"
    return json.loads(file.read_text(encoding="utf-8"))


def probes(name: str, set_name: str) -> list[dict[str, Any]]:
    file = open_dataset.dataset_folder(name) / "probes" / f"{set_name}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_every_dataset_of_the_field_is_made_checked_and_learned(
    fki: Fki, original: tuple[str, Path], short: list[str]
) -> None:
    name, files = original
    shown = fki("download", name, "--from", files, "--json")
    assert shown.code == 0, shown.err
    month = next(row for row in shown.rows if row.get("version") == "month")
    periods, sets = SETS[name]
    assert month["periods"] == periods
    assert {k: n for k, n in month["probes"].items() if k != "cloze" and (k in sets or n)} == {
        **{k: n for k, n in month["probes"].items() if k == "paraphrase"},
        **sets,
    }
    dropped = {why: n for why, n in manifest(name)["made"]["dropped"].items() if n}
    assert dropped == DROPPED[name]
    assert all(f"{n:,}" in shown.words and why in shown.words for why, n in dropped.items())
    assert fki("download", "--check", open_dataset.dataset_folder(name)).code == 0
    trained = fki("train", "--dataset", name, "--version", "month", *short, "--json")
    assert trained.code == 0, trained.err
    assert trained.rows[-1]["summary"]["learning_gain"] is not None


def test_a_second_time_it_is_there_and_other_files_are_refused(fki: Fki, tmp_path: Path) -> None:
    counterfact(tmp_path / "files")
    fki("download", "counterfact", "--from", "files")
    assert "is already in" in fki("download", "counterfact", "--from", "files").words
    shown = fki("download", "counterfact", "--from", "files", "--date", "2023-01-01")
    assert shown.code == 3 and "--output" in shown.words
    again = fki(
        "download", "counterfact", "--from", "files", "--date", "2023-01-01", "--output", "mine"
    )
    assert again.code == 0 and "--dataset mine" in again.words
    assert "2023-01-01" in (tmp_path / "mine" / "stream.jsonl").read_text(encoding="utf-8")


def test_all_answers_of_ckl_count_and_old_ones_are_kept(fki: Fki, tmp_path: Path) -> None:
    ckl(tmp_path / "files")
    fki("download", "ckl", "--from", "files")
    [updated] = probes("ckl", "updated")
    assert updated["answers"] == ["Cy", "Cyrus"] and updated["old_answers"] == ["Dee", "Di"]
    assert [p["answers"] for p in probes("ckl", "new_easy")] == [["Ada", "Ada Quill"]]
    stream = open_dataset.open_stream("ckl", "month", "sentinel")
    sets = {s.name: s for s in stream.probe_sets}
    assert sets["updated"].probes[0].old_answers == ("Dee", "Di")
    assert sets["new_easy"].asks == "learn"


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("<extra_id_0> leads <extra_id_1>.", "<extra_id_0> Cy <extra_id_1> Ava", "Cy leads Ava."),
        ("<extra_id_0> leads.", "", " leads."),
        ("Nobody leads.", "<extra_id_0> Cy", "Nobody leads."),
    ],
)
def test_a_text_with_spans_is_put_together(source: str, target: str, text: str) -> None:
    assert fill_spans(source, target) == text


def test_several_answers_of_one_question_are_told_apart(fki: Fki, tmp_path: Path) -> None:
    ckl(tmp_path / "files")
    row = {
        "unique_id": "8",
        "statement": "<extra_id_0> won.",
        "question": "Who?",
        "answer": "Bo;Di",
    }
    table(tmp_path / "files" / "newlama" / "newLAMA_easy.csv", [row])
    fki("download", "ckl", "--from", "files")
    assert [p["answers"] for p in probes("ckl", "new_easy")] == [["Bo", "Di"]]


def wiki_probes(folder: Path, name: str, *facts: tuple[str, str, str]) -> None:
    rows = [dict(zip(("subject", "relation", "object"), fact, strict=True)) for fact in facts]
    table(folder / "twiki_probes" / f"{name}.csv", rows)


def test_changed_facts_are_new_and_older_answers_stay_in_initial(fki: Fki, tmp_path: Path) -> None:
    files = tmp_path / "files"
    temporalwiki(files)
    head, sea, river = ("Eden", "head"), ("Eden", "sea"), ("Eden", "river")
    wiki_probes(files, "0801-0901_unchanged", (*head, "Ann"), (*sea, "Styx"), (*sea, "Mare"))
    wiki_probes(files, "0801-0901_changed", ("Utopia", "head", "Cy"), (*river, "Lethe"))
    wiki_probes(files, "0901-1001_changed", (*head, "Bo"), (*head, "Di"), ("Utopia", "head", "Ed"))
    wiki_probes(files, "0901-1001_unchanged", (*sea, "Styx"), (*river, "Lethe"))
    wiki_probes(files, "1001-1101_changed", (*head, "Flo"), (*sea, "Dead Sea"))
    fki("download", "temporalwiki", "--from", "files")
    new, initial = (probes("temporalwiki", n) for n in ("new", "initial"))
    assert [(p["period"], p["prompt"], p["answers"]) for p in new] == [
        ("2021-08-31", "Utopia head ___.", ["Cy"]),
        ("2021-08-31", "Eden river ___.", ["Lethe"]),
        ("2021-09-30", "Eden head ___.", ["Bo", "Di"]),
        ("2021-09-30", "Utopia head ___.", ["Ed"]),
    ]
    assert [p["answers"] for p in initial] == [["Ann"], ["Styx", "Mare"]]
    assert manifest("temporalwiki")["made"]["dropped"] == {
        "1001-1101_changed.csv: a fact of a month without its diffset, wikipedia_*.csv": 2,
        "probes/initial: added by an earlier month of the stream": 1,
        "probes/initial: a duplicate": 1,
    }


def test_a_file_that_states_updates_has_old_answers(fki: Fki, tmp_path: Path) -> None:
    files = tmp_path / "files"
    temporalwiki(files)
    head = ("Eden", "head")
    wiki_probes(files, "0801-0901_unchanged", (*head, "Ann"), (*head, "Bo"))
    wiki_probes(files, "0901-1001_updated", (*head, "Cy"))
    wiki_probes(files, "0901-1001_unchanged", (*head, "Bo"))
    fki("download", "temporalwiki", "--from", "files")
    [updated] = probes("temporalwiki", "updated")
    assert updated["answers"] == ["Cy"] and updated["old_answers"] == ["Ann"]  # Bo still holds
    dropped = manifest("temporalwiki")["made"]["dropped"]
    assert dropped == {"probes/initial: updated in a month of the stream": 2}


def test_probes_without_a_diffset_are_refused_with_what_to_type(fki: Fki, tmp_path: Path) -> None:
    wiki_probes(tmp_path / "files", "0801-0901_changed", ("Eden", "head", "Ann"))
    shown = fki("download", "temporalwiki", "--from", "files")
    assert shown.code == 3 and "wikipedia_????_gpt2.csv" in shown.words
    assert "fki download temporalwiki --from hub:seonghyeonye/TemporalWiki" in shown.words


def test_editions_that_tell_updated_from_new_are_believed(fki: Fki, tmp_path: Path) -> None:
    temporalwiki(tmp_path / "files")
    row = {"subject": "Eden", "relation": "head", "objective": "Ann"}
    table(tmp_path / "files" / "0901-1001_updated.csv", [row])
    fki("download", "temporalwiki", "--from", "files")
    assert [p["answers"] for p in probes("temporalwiki", "updated")] == [["Ann"]]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("test.json", {"wikidata_id": "Q5", "name": "Lions"}),
        ("test.json", [{"wikidata_id": "Q5", "name": "Lions"}]),
        ("test_with_aliases.json",
         [{"wikidata_id": "Q5", "name": ["The Lions", "Lions"], "original_name": ["Lions"]}]),
    ],
)  # fmt: skip
def test_answers_of_templama_are_read_in_every_edition(
    fki: Fki, tmp_path: Path, name: str, answer: Any
) -> None:
    lines(tmp_path / "files" / name, [dated(2010, "Owls"), dated(2011, "") | {"answer": answer}])
    assert fki("download", "templama", "--from", "files").code == 0
    stream = (open_dataset.dataset_folder("templama") / "stream.jsonl").read_text(encoding="utf-8")
    assert [json.loads(row)["target"] for row in stream.splitlines()] == [["Lions"]]


def test_zsre_as_mend_trains_on_it_is_read_too(fki: Fki, tmp_path: Path) -> None:
    asked = "Who built Watts Hall?"
    row = {
        "input": asked,
        "output": [{"answer": "Bo Ray", "provenance": []}],
        "prediction": "Cy",
        "alternatives": ["Ann Lee", "Di"],
        "filtered_rephrases": [asked, "Whose work is Watts Hall?"],
    }
    lines(tmp_path / "files" / "structured_zeroshot-dev-new_annotated_final.jsonl", [row])
    fki("download", "zsre", "--from", "files")
    assert [p["prompt"] for p in probes("zsre", "paraphrase")] == ["Whose work is Watts Hall?"]
    [probe] = dict.fromkeys(
        p for s in open_dataset.open_stream("zsre", "month", "sentinel").probe_sets
        if s.name == "updated" for p in s.probes
    )  # fmt: skip
    assert probe.answers == ("Ann Lee",) and probe.old_answers == ("Bo Ray",)


def test_relations_of_lama_are_worded_as_its_authors_ask_them(fki: Fki, tmp_path: Path) -> None:
    lama(tmp_path / "files")
    fki("download", "lama", "--from", "files")
    file = open_dataset.dataset_folder("lama") / "relations.json"
    wordings = {k: v["wordings"] for k, v in json.loads(file.read_text(encoding="utf-8")).items()}
    assert wordings["P19"] == wordings["place of birth"] == ["[X] was born in [Y]."]


def test_every_reader_says_what_may_be_done_with_its_data_and_where_that_is_said(
    fki: Fki, original: tuple[str, Path]
) -> None:
    name, files = original
    fki("download", name, "--from", files)
    card = (open_dataset.dataset_folder(name) / "README.md").read_text(encoding="utf-8")
    assert (
        f"license: {BENCHMARKS[name].dataset.license}\n" in card and BENCHMARKS[name].terms in card
    )
    assert BENCHMARKS[name].dataset.license != "other"


def test_a_corpus_is_never_in_memory_whole(tmp_path: Path) -> None:
    text = "Ada Quill won the prize of Avalon. " * 200
    rows = [{"input": "", "output": "", "original": f"{text}{n}"} for n in range(2000)]
    table(tmp_path / "recent_news_full.csv", rows)
    del rows
    tracemalloc.start()
    made = BENCHMARKS["ckl"].draft(tmp_path, "")
    write_dataset(tmp_path, made)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(made.tables["stream"]) == 2000 and most < 2000 * len(text) / 4


def test_several_granularities_are_not_mixed(fki: Fki, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cfinjectbench(tmp_path / "files" / name)
    shown = fki("download", "cfinjectbench", "--from", "files")
    assert shown.code == 3 and "2 granularities" in shown.words and "--from" in shown.words


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("ckl",), 3, "reported dead in 2023 (its issue 2): ask its authors."),
        (
            ("cfinjectbench",),
            3,
            "Run: fki download cfinjectbench --from https://raw.githubusercontent.com/",
        ),
        (("popqa",), 3, "Run: fki download popqa --from hub:akariasai/PopQA"),
        (("ckl", "--from", "nowhere"), 3, "nowhere not found"),
        (("ckl", "--from", "."), 3, "recent_news_full.csv"),
        (("wiki", "--from", "."), 2, "no reader for --from"),
        (("wiki", "--from", "wikidat"), 2, "Did you mean 'wikidata'?"),
        (("templama", "--from", "files", "--date", "2020"), 3, "dates of its own"),
        (("counterfact", "--from", ".", "--date", "soon"), 2, "--date: 'soon' is not a date"),
    ],
)
def test_what_cannot_be_made_is_said_with_what_to_type(
    fki: Fki, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    templama(tmp_path / "files")
    shown = fki("download", *arguments)
    assert shown.code == code and words in shown.words


def test_a_file_without_its_columns_is_named(fki: Fki, tmp_path: Path) -> None:
    table(tmp_path / "files" / "popQA.tsv", [{"a": 1, "b": 2}], "\t")
    shown = fki("download", "popqa", "--from", "files")
    assert shown.code == 3 and "'subj' not found; columns: a, b" in shown.words


def zipped(tmp_path: Path) -> bytes:
    counterfact(tmp_path / "files")
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        archive.write(tmp_path / "files" / "counterfact.json", "data/counterfact.json")
    return (tmp_path / "files.zip").read_bytes()


def test_an_archive_without_the_files_is_named_as_the_user_wrote_it(
    fki: Fki, tmp_path: Path
) -> None:
    zipped(tmp_path)
    shown = fki("download", "popqa", "--from", "files.zip")
    assert shown.code == 3 and "not found in files.zip" in shown.words


def test_an_archive_and_a_single_file_do_as_well_as_a_folder(fki: Fki, tmp_path: Path) -> None:
    zipped(tmp_path)
    for place in ("files.zip", "files/counterfact.json", "files"):
        assert fki("download", "counterfact", "--from", place).code == 0
    assert "files.zip" in manifest("counterfact")["made"]["origins"]


@pytest.mark.parametrize("cut_every", [0, 300])
def test_an_address_is_fetched_checked_and_read(
    fki: Fki, tmp_path: Path, cut_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fki.net.http.HttpClient._backoff", lambda *_: 0.0)
    content = zipped(tmp_path)
    with site(content=content, cut_every=cut_every) as host:
        sum_ = hashlib.sha256(content).hexdigest()
        wrong = fki("download", "counterfact", "--from", f"{host.url}#sha256={'0' * 64}")
        assert wrong.code == 3 and "its sha256 must be" in wrong.words
        assert open_dataset.list_datasets() == []
        shown = fki("download", "counterfact", "--from", f"{host.url}#sha256={sum_}")
        assert shown.code == 0, shown.err
        card = (open_dataset.dataset_folder("counterfact") / "README.md").read_text(
            encoding="utf-8"
        )
        assert host.url in card and sum_ in card


def test_two_addresses_that_end_in_one_name_are_two_files(fki: Fki, tmp_path: Path) -> None:
    first = zipped(tmp_path)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("data/counterfact.json", "[]")
    with site(content=first) as one, site(content=(tmp_path / "empty.zip").read_bytes()) as other:
        assert fki("download", "counterfact", "--from", one.url).code == 0
        away = ("--output", tmp_path / "away")
        shown = fki("download", "counterfact", "--from", other.url, *away)
    assert shown.code == 3 and "no usable row of 'counterfact'" in shown.words


def test_what_a_desktop_puts_beside_the_files_is_not_read(fki: Fki, tmp_path: Path) -> None:
    lama(tmp_path / "files")
    for place in ("__MACOSX/TREx/._P19.jsonl", "TREx/._P19.jsonl"):
        (tmp_path / "files" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / place).write_bytes(b"\0\5\26\7")
    assert fki("download", "lama", "--from", "files").code == 0


@pytest.mark.usefixtures("wiki")
def test_verify_finds_what_was_altered(fki: Fki, tmp_path: Path) -> None:
    counterfact(tmp_path / "files")
    fki("download", "counterfact", "--from", "files")
    assert fki("download", "--verify").code == 0
    with (open_dataset.dataset_folder("counterfact") / "stream.jsonl").open("a") as out:
        out.write("\n")
    shown = fki("download", "--verify", "--json")
    assert shown.code == 3 and "stream.jsonl was altered" in shown.words
    assert {row["dataset"]: row["ok"] for row in shown.rows} == {"counterfact": False, "wiki": True}


def test_check_reads_a_folder_of_one_s_own(fki: Fki, dataset: Path) -> None:
    assert "no faults" in fki("download", "--check", dataset).words
    with (dataset / "stream.jsonl").open("a") as out:
        out.write('{"subject": "x"}\n')
    shown = fki("download", "--check", dataset)
    assert shown.code == 3 and "1 bad row" in shown.words


def test_check_suggests_the_output_length_that_all_answers_need(fki: Fki, dataset: Path) -> None:
    """The longest answer is in the last period: training names it too, before it starts."""
    assert "output_length" not in fki("download", "--check", dataset).words
    with (dataset / "stream.jsonl").open("a", encoding="utf-8") as out:
        for words, day in ((20, "2023-01-09"), (30, "2023-12-09")):
            answer = " ".join(f"Arven{n}" for n in range(words))
            row = {"subject": "Eden", "relation": "motto", "object": answer, "start": day}
            out.write(json.dumps(row) + "\n")
    shown = fki("download", "--check", dataset)
    command = shlex.split(shown.words.partition("Next: fki ")[2])
    assert shown.code == 0 and command[-1].startswith("output_length=")
    refused = fki(*command[:-2])
    assert refused.code == 2 and f"--set {command[-1]}" in refused.words
    assert fki("plan", *command[1:]).code == 0
    rows = fki("download", "--check", dataset, "--json").rows
    [long] = [row for row in rows if row.get("finding") == "long_answer"]
    assert command[-1] == f"output_length={long['count']}"


@pytest.mark.parametrize(
    ("options", "preset"), [((), "t5_recadam"), (("--model", "llama-mini"), "causal_recadam")]
)
def test_check_names_the_questions_that_exceed_a_models_input(
    fki: Fki, dataset: Path, options: tuple[str, ...], preset: str
) -> None:
    assert "input_length" not in fki("download", "--check", dataset, *options).words
    with (dataset / "stream.jsonl").open("a", encoding="utf-8") as out:
        subject = "The very long name of a town by the sea " * 12
        row = {"subject": subject, "relation": "mayor", "object": "Ada", "start": "2023-12-09"}
        out.write(json.dumps(row) + "\n")
    shown = fki("download", "--check", dataset, *options)
    command = shlex.split(shown.words.partition("Next: fki ")[2])
    assert shown.code == 0 and command[command.index("--preset") + 1] == preset
    assert tuple(command[5 : 5 + len(options)]) == options
    rows = fki("download", "--check", dataset, *options, "--json").rows
    [long] = [row for row in rows if row.get("finding") == "long_questions"]
    assert long["count"] == 2 and subject.strip() in long["examples"][0]  # and its paraphrase
    name, _, needed = command[-1].partition("=")
    assert name == "input_length" and f"2; the longest has {needed}; '" in shown.words
    assert int(needed) > 64


def test_a_file_in_place_of_a_folder_is_an_error_with_the_way_to_import_it(
    fki: Fki, dataset: Path
) -> None:
    shown = fki("train", "--dataset", dataset / "stream.jsonl")
    assert shown.code == 3 and "is a file, not a folder" in shown.words
    assert f"fki download NAME --from {dataset / 'stream.jsonl'} --columns" in shown.words


def test_a_row_that_a_reader_does_not_expect_is_a_data_error(tmp_path: Path) -> None:
    def read(collector: Any) -> None:
        raise KeyError("id")

    with pytest.raises(DataError, match=r"lacks a value, .* KeyError\('id'\)"):
        replace(BENCHMARKS["lama"], read=read).draft(tmp_path, "fki download lama")


def test_lama_is_asked_beside_any_stream(
    fki: Fki, dataset: Path, tmp_path: Path, short: list[str]
) -> None:
    lama(tmp_path / "files")
    made = fki("download", "lama", "--as", "probes", "--from", "files", "--json")
    assert made.code == 0, made.err
    counts = {row["probe_set"]: row["probes"] for row in made.rows if "probe_set" in row}
    assert counts == {"lama_trex": 2, "lama_google_re": 1, "lama_conceptnet": 1}
    folder = open_dataset.dataset_folder("lama")
    checked = fki("download", "--check", folder)
    assert checked.code == 0 and "probes=" in checked.words and "Cy was born in" in checked.out
    assert fki("download", "--verify").code == 0
    options = ("--dataset", dataset, "--set", "probes=lama", *short)
    trained = fki("train", *options, "--output-dir", "run", "--json")
    assert trained.code == 0, trained.err
    sets = trained.rows[-1]["summary"]["probe_sets"]
    assert {name: sets[name]["n"] for name in counts} == counts
    for key in ("precision_at_1", "precision_at_10", "em_by_relation"):
        by_moment = sets["lama_trex"][key]
        assert by_moment["before"] is not None is not by_moment["after"]
        assert sets["lama_google_re"][key]["after"] is None  # a single answer: nothing to rank
    assert all(sets[name]["same_answer"]["after"] is not None for name in counts)
    assert "candidates" not in (tmp_path / "run" / "probes.jsonl").read_text(encoding="utf-8")
    again = fki("eval", "run")
    assert again.code == 0 and "P@1" in again.out and "lama_trex" in again.out
    assert fki("compare", "run").code == 0
    (folder / "probes" / "lama_trex.jsonl").write_text("", encoding="utf-8")
    assert fki("eval", "run").code == 3


def test_places_without_probes_and_streams_without_rows_have_their_own_words(
    fki: Fki, dataset: Path, tmp_path: Path, short: list[str]
) -> None:
    def refused(*options: Any) -> str:
        shown = fki("train", *options, *short)
        assert shown.code == 3, shown.words
        return str(shown.words)

    assert "fki download lama --from" in refused("--dataset", dataset, "--set", "probes=lama")
    lama(tmp_path / "files")
    assert fki("download", "lama", "--from", "files").code == 0
    asked = ("--dataset", dataset, "--set", "probes=lama")
    assert "--as probes --output lama-probes" in refused(*asked)
    assert fki("download", "lama", "--as", "probes", "--from", "files", "--output", "own").code == 0
    assert "--set probes=own" in refused("--dataset", "own/")
    twice = ("--dataset", dataset, "--set", "probes=own/,own/probes/lama_trex.jsonl")
    assert "has a probe set 'lama_trex', and so has" in refused(*twice)
    assert "is no probe file" in refused("--dataset", dataset, "--set", f"probes={tmp_path}")
