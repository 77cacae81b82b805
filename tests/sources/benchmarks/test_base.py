"""Every reader meets rows of another layout: they are counted by reason, or named in an error."""

import copy
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.data.dataset_folder import read_folder
from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.dataset_writer import write_dataset

WRONG: list[Any] = [None, 7, True, " ", "odd", [], [None], ["odd", 7], {}, {"str": 7}]
WRONG += [[{"name": 7}], "<extra_id_3>", "\ud800", "[X] [Y]", "2021-13-45"]

EDIT = {
    "case_id": 3,
    "requested_rewrite": {
        "prompt": "{} is in",
        "relation_id": "P30",
        "target_new": {"str": "Zeta", "id": "Q1"},
        "target_true": {"str": "Alpha", "id": "Q2"},
        "subject": "Aland",
    },
    "paraphrase_prompts": ["Aland, in"],
    "neighborhood_prompts": ["Bland is in"],
    "attribute_prompts": ["Cland is in"],
}
QA = {
    "subject": "Hall A",
    "src": "Who built Hall A?",
    "rephrase": "Whose work is Hall A?",
    "alt": "Ann",
    "answers": ["Bo"],
    "loc": "nq question: who sang",
    "loc_ans": "Cy",
}
MEND = {
    "input": "Who built Hall B?",
    "output": [{"answer": "Bo", "provenance": []}],
    "alternatives": ["Ann", "Di"],
    "filtered_rephrases": ["Whose work is Hall B?"],
}
DATED = {
    "query": "Ann plays for _X_.",
    "answer": [{"wikidata_id": "Q5", "name": ["Lions", "The Lions"], "original_name": "Lions"}],
    "date": "2020-2",
    "id": "Q1_P54_2020-2",
    "relation": "P54",
}
REWRITE = {
    "prompt": "{} is led by",
    "subject": "Aland",
    "relation_id": "P6",
    "question": "Who leads Aland?",
    "target_new": {"str": "Zed", "id": "Q1"},
    "target_true": {"str": "Ann", "id": "Q2"},
}
TEST = {"prompt": "The mother of Aland is", "answers": [{"value": "Eve", "aliases": ["E."]}]}
FILES: dict[str, dict[str, dict[str, Any]]] = {  # reader -> file -> a sound row
    "counterfact": {"counterfact.json": EDIT},
    "zsre": {"zsre_mend_eval.json": QA},
    "zsre ": {"structured_zeroshot-dev.jsonl": MEND},
    "templama": {"test.json": DATED},
    "cfinjectbench": {
        "datesorted_test.jsonl": DATED,
        "datesorted_train.jsonl": {"corpus": ["Ann plays for Lions."], "id": "Q1_P54_2020-2"},
    },
    "lama": {
        "relations.jsonl": {"relation": "P19", "template": "[X] was born in [Y] .", "label": "at"},
        "P19.jsonl": {"predicate_id": "P19", "sub_label": "Ann", "obj_label": "Rome"},
        "google.jsonl": {"pred": "/a/place_of_birth", "sub_label": "Cy", "obj_label": "Oslo"},
        "squad.jsonl": {"masked_sentences": ["You eat [MASK]."], "obj_label": "bread"},
    },
    "popqa": {
        "popQA.tsv": {
            "subj": "Ann Lee",
            "prop": "occupation",
            "obj": "poet",
            "question": "What is her work?",
            "possible_answers": '["poet", "writer"]',
        }
    },
    "temporalwiki": {
        "wikipedia_0809_gpt2.csv": {"text": "Avalon was enlarged by King Arthur."},
        "0801-0901_changed.csv": {"subject": "Eden", "relation": "head", "object": "Ann"},
        "0801-0901_unchanged.csv": {"subject": "Eden", "relation": "sea", "objective": "Styx"},
        "IL.csv": {"subject": "Eden", "relation": "is", "object": "old"},
    },
    "knowedit": {
        "recent_test.json": {
            "subject": "Ann Lee",
            "prompt": "The home of Ann Lee is",
            "target_new": ["Zeta", "Z."],
            "ground_truth": [["Alpha"]],
            "rephrase_prompt": "Where does Ann Lee live?",
            "portability": {"Reasoning": [{"prompt": "Her land is", "ground_truth": [["Eden"]]}]},
            "locality": {
                "Relation_Specificity": [
                    {"prompt": ["Her sister is", "Her pet is"], "ground_truth": [["Bo"], ["Cy"]]}
                ]
            },
        }
    },
    "knowedit ": {
        "ZsRE-test-all.json": {
            **QA,
            "portability": {"New Question": "Where is he from?", "New Answer": "Eden"},
        }
    },
    "mquake": {
        "MQuAKE-CF.json": {
            "case_id": 7,
            "requested_rewrite": [REWRITE, REWRITE | {"subject": "Bland"}],
            "questions": ["Who is the mother of the head of Aland?", "Whose child leads Aland?"],
            "answer": "Eve",
            "new_answer": "Dee",
            "new_answer_alias": ["D."],
        }
    },
    "rippleedits": {
        "popular.json": {
            "example_type": "popular",
            "edit": {
                "prompt": "The name of the head of Aland is Zed.",
                "subject_id": "Q1",
                "relation": "HEAD",
                "previous_fact": {"prompt": "The name of the head of Aland is Ann."},
            },
            "Relation_Specificity": [{"test_queries": [TEST]}],
            "Logical_Generalization": [{"test_queries": [TEST | {"prompt": "Zed leads"}]}],
            "Compositionality_I": [{"test_queries": [TEST | {"prompt": "Their dog is"}]}],
        }
    },
    "wikibigedit": {
        "wiki_big_edit_20240201_20240220.json": {
            "tag": "update",
            "subject": "Aland",
            "update": "Who leads Aland?",
            "ans": "Zed",
            "rephrase": "Aland is led by whom?",
            "personas": "Pray tell, who leads Aland?",
            "loc": "Who leads Bland?",
            "loc_ans": "Bo",
            "mhop": "Who is the mother of the head of Aland?",
            "mhop_ans": "Eve",
        }
    },
    "pat_questions": {
        "PAT-singlehop-Dec2023.json": {
            "q": {
                "question": "Who is the head of Aland currently?",
                "subject": {"subject": "Q1", "subLabel": "Aland"},
                "text answers": ["Ann"],
                "relations": ["P6"],
            }
        },
        "PAT-multihop-Dec2023.json": {
            "q": {"question": "Who is the mother of its head?", "text answers": ["Eve"]}
        },
    },
    "realtimeqa": {
        "20200103_qa.jsonl": {
            "question_id": "20200103_0",
            "question_date": "2020/01/03",
            "question_sentence": "Who won the prize?",
            "choices": ["Ann", "Bo", "Cy"],
            "answer": ["1"],
        }
    },
    "freshqa": {
        "FreshQA_v05132024.csv": {
            "id": "0",
            "question": "Who leads Aland?",
            "false_premise": "FALSE",
            "fact_type": "fast-changing",
            "answer_0": "Ann",
            "answer_1": "A. Lee",
        }
    },
    "situatedqa": {
        "temp.train.jsonl": {
            "question": "who leads aland",
            "edited_question": "who leads aland as of 2018",
            "date": "December 13, 2018",
            "date_type": "start",
            "answer": ["Ann", "Ann"],
        }
    },
    "streamingqa": {
        "streaminqa_train.jsonl": {
            "question": "Who won the prize?",
            "answers": ["Ann"],
            "evidence_ts": 1578009600,
            "recent_or_past": "recent",
        },
        "streaminqa_eval.jsonl": {
            "question": "Who lost the prize?",
            "answers": ["Bo", "B."],
            "answers_additional": ["Bob"],
            "evidence_ts": 1578009600,
            "recent_or_past": "past",
        },
    },
    "ckl": {
        "recent_news_full.csv": {
            "input": "<extra_id_0> leads Avalon.",
            "output": "<extra_id_0> Cy <extra_id_1>",
            "original": "",
        },
        "invariantLAMA.csv": {"input": "Ann was born in <extra_id_0> .", "output": "Paris"},
        "updatedLAMA.csv": {"unique_id": "7", "statement": "_ <extra_id_0>.", "new_answer": "Cy"},
        "newLAMA_easy.csv": {"unique_id": "9", "statement": "<extra_id_0> won.", "answer": "Bo;Di"},
        "updatedlama_val_answers.json": {"7": [{"old": ["Di"], "new": ["Cy"]}]},
        "recentlama_val_answers.json": {"9": ["Bo"]},
    },
}  # fmt: skip


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    if file.name.endswith("_answers.json") or file.name.startswith("PAT"):
        file.write_text(json.dumps(rows[-1]), encoding="utf-8")
    elif file.suffix == ".json" and file.name != "test.json":
        file.write_text(json.dumps(rows), encoding="utf-8")
    elif file.suffix.startswith(".json"):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with file.open("w", encoding="utf-8", errors="replace", newline="") as out:
            mark = "\t" if file.suffix == ".tsv" else ","
            writer = csv.DictWriter(out, [*rows[0]], delimiter=mark, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in nested objects and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items if isinstance(value, dict | list) else ():
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def broken_rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Copies of a row without each of its values, and with each wrong value in its place."""
    for *path, last in places(row):
        for wrong in (..., *WRONG):
            broken = copy.deepcopy(row)
            inner: Any = broken
            for key in path:
                inner = inner[key]
            if wrong is ...:
                del inner[last]
            else:
                inner[last] = wrong
            yield broken


CASES = [(reader, name) for reader, files in FILES.items() for name in files]


@pytest.mark.parametrize(("reader", "broken"), CASES)
def test_a_broken_row_is_counted_or_named(reader: str, broken: str, tmp_path: Path) -> None:
    """Each broken row alone in its file, and all of them after a sound row."""
    files, benchmark = FILES[reader], BENCHMARKS[reader.strip()]
    folder = tmp_path / "files"
    folder.mkdir()
    for name, row in files.items():
        write(folder / name, [row])
    rows = [*broken_rows(files[broken])]
    for row in rows:
        write(folder / broken, [row])
        try:
            benchmark.draft(folder, "")
        except DataError as error:
            assert str(folder) in str(error)
    write(folder / broken, [files[broken], *rows])
    draft = benchmark.draft(folder, "")
    (tmp_path / "made").mkdir()
    write_dataset(tmp_path / "made", draft)
    stream = read_folder(tmp_path / "made", "month", "sentinel", name="made")  # no bad row
    assert stream.periods


def test_a_folder_without_a_usable_row_names_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "counterfact.json").write_text('[{"requested_rewrite": {}}]', encoding="utf-8")
    with pytest.raises(DataError, match="stream: an empty prompt, answer or text: 1"):
        BENCHMARKS["counterfact"].draft(tmp_path, "")
