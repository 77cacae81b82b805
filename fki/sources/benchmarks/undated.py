"""LAMA and PopQA: facts without dates, in one period.

Checked against facebookresearch/LAMA (`scripts/run_experiments.py`, 0f6204c) and the loader that
`datasets` had of it (16a466f); AlexTMallen/adaptive-retrieval (`run_model.py`, 5b56a22) and the
columns of popQA.tsv as several readers list them.
"""

import json
from pathlib import Path
from typing import Any

from fki.core.types import OBJECT, SUBJECT
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.prompts import question_text
from fki.data.row_files import read_table
from fki.data.row_schema import default_wordings
from fki.sources.benchmarks.base import (
    PROBES,
    Benchmark,
    BenchmarkCollector,
    read_csv,
    text_at,
)

GOOGLE_RE = {  # relations of LAMA's Google-RE, missing in relations.jsonl
    "place of birth": "[X] was born in [Y].",
    "date of birth": "[X] (born [Y]).",
    "place of death": "[X] died in [Y].",
}


LAMA_PARTS = {  # folders of LAMA: the ends of the names of their probe sets
    "trex": "trex",
    "google_re": "google_re",
    "conceptnet": "conceptnet",
    "squad": "squad",
}


def read_lama(collector: BenchmarkCollector) -> None:
    """LAMA (Petroni et al., 2019): T-REx and Google-RE as facts, the rest as masked text.

    With `--as probes`, its four parts are probe sets to keep, and there is no stream.
    """
    for file in collector.find_files("relations.jsonl", needed=False):
        for row in read_table(file, require=["relation", "template"]):
            _add_template(collector, row)
    found = set()
    for file in collector.find_files("*.jsonl"):
        if file.name.casefold() == "relations.jsonl":
            continue
        for row in read_table(file, require=["obj_label"]):
            found.add(_add_lama_row(collector, row, _lama_set(collector, file)))
    if collector.form == PROBES:
        collector.wordings.clear()
        collector.notes.append(
            "`lama_trex`, `lama_google_re`, `lama_conceptnet` and `lama_squad` are asked beside "
            "another dataset: --set probes=lama. Nothing of them is trained on. Objects of one "
            "subject and relation are correct answers of one probe; subjects are compared by label."
        )
        return
    for name in sorted(found & set(GOOGLE_RE)):
        collector.wordings[name] = {"label": name, "wordings": [GOOGLE_RE[name]]}
    collector.notes.append(
        "Rows of one subject and relation are one prompt; each of their objects is trained on and "
        "is a correct answer. Subjects are compared by label, so that two entities with the same "
        "label are one subject."
    )


def _add_template(collector: BenchmarkCollector, row: dict[str, Any]) -> None:
    relation, template = text_at(row, "relation"), text_at(row, "template").replace(" .", ".")
    if relation and template.count(OBJECT) == 1 and SUBJECT in template:
        label = text_at(row, "label") or relation
        collector.wordings[relation] = {"label": label, "wordings": [template]}
    else:
        collector.drop("relations", f"a template without {SUBJECT} and one {OBJECT}")


def _lama_set(collector: BenchmarkCollector, file: Path) -> str:
    """The probe set of a file, by the part of LAMA that its folder is; `lama` for any other."""
    folders = {part.casefold() for part in file.relative_to(collector.folder).parts[:-1]}
    found = next((name for part, name in LAMA_PARTS.items() if part in folders), "")
    return f"probes/lama_{found}" if found else "probes/lama"


def _add_lama_row(collector: BenchmarkCollector, row: dict[str, Any], probe_set: str) -> str:
    """Add a fact or a masked sentence, to the stream or as a probe. Returns the relation of a
    fact."""
    is_probe = collector.form == PROBES
    table = probe_set if is_probe else "stream"
    relation = text_at(row, "predicate_id") or text_at(row, "pred").rpartition("/")[2]
    name, subject = relation.replace("_", " "), text_at(row, "sub_label")
    object = text_at(row, "obj_label")
    if subject and relation:
        if is_probe:
            question = question_text(_lama_wording(collector, name), subject)
            collector.add_prompt(table, question, object, relation=name, subject=subject)
        else:
            collector.add_fact(table, subject, name, object, start=collector.date)
        return name
    masked = " ".join(collector.texts(table, row.get("masked_sentences")))
    if subject and not masked:
        collector.drop(table, "a fact without a relation (predicate_id or pred)")
    else:
        labels = {"relation": name} if name else {}
        more = labels if is_probe else {"date": collector.date}
        collector.add_masked(table, masked, "[MASK]", object, **more)
    return ""


def _lama_wording(collector: BenchmarkCollector, relation: str) -> str:
    """The authors' template of a relation, or the standard wording."""
    own = collector.wordings.get(relation, {}).get("wordings", [])
    return next(iter(own), "") or GOOGLE_RE.get(relation) or default_wordings(relation)[0]


def read_popqa(collector: BenchmarkCollector) -> None:
    """PopQA (Mallen et al., 2023): the object is the target, every alias an accepted answer.

    With `--as popularity`, its questions are a probe set for each power of ten of `s_pop`, the
    monthly page views of the subject's article.
    """
    collector.wordings["capital of"] = {
        "label": "capital of",
        "wordings": ["[X] is the capital of [Y].", "[X] is the seat of government of [Y]."],
    }
    for file in collector.find_files("popqa*.tsv", "*.tsv"):
        for row in read_csv(file, ["subj", "prop", "obj", "question", "possible_answers"]):
            _add_popqa_row(collector, row)
    if not any(row["relation"] == "capital of" for row in collector.tables["stream"]):
        del collector.wordings["capital of"]
    collector.notes.append(
        "`paraphrase_views_3` has PopQA's own questions about subjects with 1,000 to 9,999 monthly "
        "page views, and so on."
        if collector.form == "popularity"
        else "`paraphrase` has PopQA's own questions."
    )


def _add_popqa_row(collector: BenchmarkCollector, row: dict[str, str]) -> None:
    """Add a fact and, if it is valid, its probes."""
    subject, relation = row["subj"].strip(), row["prop"].strip()
    if not collector.add_fact("stream", subject, relation, row["obj"], start=collector.date):
        return
    aliases = _parse_aliases(collector, row["possible_answers"], row["obj"])
    more = {"period": collector.date, "relation": relation, "subject": subject}
    own = collector.wordings.get(relation, {}).get("wordings")
    wording = (own or default_wordings(relation))[0]
    question = question_text(wording, subject)
    collector.add_prompt("probes/new", question, aliases, **more)
    name = "paraphrase"
    if collector.form == "popularity":
        views = row.get("s_pop", "").strip()
        if not views.isdecimal():
            collector.drop("probes/paraphrase", "no number of page views (s_pop)")
            return
        name = f"paraphrase_views_{len(str(int(views))) - 1}"
    collector.add_prompt(f"probes/{name}", row["question"], aliases, **more)


def _parse_aliases(collector: BenchmarkCollector, text: str, object: str) -> list[str]:
    """The object and its aliases, from a JSON list."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, list):
        collector.drop("probes/new", "possible_answers without a JSON list; only the object counts")
    listed = told if isinstance(told, list) else []
    return list(dict.fromkeys(a for a in (object, *listed) if isinstance(a, str) and a.strip()))


LAMA = Benchmark(
    KNOWN_DATASETS["lama"],
    "CC BY-NC 4.0, LICENSE of its repository",
    "2019-09-01",
    read_lama,
    forms=("stream", PROBES),
)
POPQA = Benchmark(
    KNOWN_DATASETS["popqa"],
    "MIT, LICENSE of its repository",
    "2022-12-01",
    read_popqa,
    patterns=("*.tsv",),
    forms=("plain", "popularity"),
)
