"""LAMA and PopQA: facts without dates, in one period.

Checked against facebookresearch/LAMA (`scripts/run_experiments.py`, 0f6204c) and the loader that
`datasets` had of it (16a466f); AlexTMallen/adaptive-retrieval (`run_model.py`, 5b56a22) and the
columns of popQA.tsv as several readers list them.
"""

import json

from fki.core.types import OBJECT, SUBJECT
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.prompts import SENTINEL
from fki.data.row_files import read_table
from fki.data.row_schema import default_wordings
from fki.sources.benchmarks.base import (
    Benchmark,
    BenchmarkCollector,
    read_csv,
    replace_blank,
)

GOOGLE_RE = {  # relations of LAMA's Google-RE, missing in relations.jsonl
    "place of birth": "[X] was born in [Y].",
    "date of birth": "[X] (born [Y]).",
    "place of death": "[X] died in [Y].",
}


def read_lama(collector: BenchmarkCollector) -> None:
    """LAMA (Petroni et al., 2019): T-REx and Google-RE as facts, the rest as masked text."""
    for file in collector.find_files("relations.jsonl", needed=False):
        for row in read_table(file, require=["relation", "template"]):
            template = str(row["template"]).replace(" .", ".")
            if template.count(OBJECT) == 1 and SUBJECT in template:
                label = row.get("label") or row["relation"]
                collector.wordings[row["relation"]] = {"label": label, "wordings": [template]}
    found = set()
    for file in collector.find_files("*.jsonl"):
        if file.name.casefold() == "relations.jsonl":
            continue
        for row in read_table(file, require=["obj_label"]):
            relation = row.get("predicate_id") or str(row.get("pred", "")).rpartition("/")[2]
            if row.get("sub_label") and relation:
                subject, name = row["sub_label"], relation.replace("_", " ")
                found.add(name)
                collector.add_fact("stream", subject, name, row["obj_label"], start=collector.date)
            else:
                masked = " ".join(map(str, row.get("masked_sentences") or []))
                collector.add_prompt(
                    "stream", replace_blank(masked, "[MASK]"), row["obj_label"], date=collector.date
                )
    for name in sorted(found & set(GOOGLE_RE)):
        collector.wordings[name] = {"label": name, "wordings": [GOOGLE_RE[name]]}


def read_popqa(collector: BenchmarkCollector) -> None:
    """PopQA (Mallen et al., 2023): the object is the target, every alias an accepted answer."""
    collector.wordings["capital of"] = {
        "label": "capital of",
        "wordings": ["[X] is the capital of [Y].", "[X] is the seat of government of [Y]."],
    }
    for file in collector.find_files("popqa*.tsv", "*.tsv"):
        for row in read_csv(file, ["subj", "prop", "obj", "question", "possible_answers"]):
            aliases = _parse_aliases(row["possible_answers"], row["obj"])
            more = {"period": collector.date, "relation": row["prop"]}
            own = collector.wordings.get(row["prop"], {}).get("wordings")
            wording = (own or default_wordings(row["prop"]))[0]
            question = wording.replace(SUBJECT, row["subj"]).replace(OBJECT, SENTINEL)
            collector.add_fact("stream", row["subj"], row["prop"], row["obj"], start=collector.date)
            collector.add_prompt("probes/new", question, aliases, **more)
            collector.add_prompt("probes/paraphrase", row["question"], aliases, **more)
    if not any(row["relation"] == "capital of" for row in collector.tables["stream"]):
        del collector.wordings["capital of"]
    collector.notes.append("`paraphrase` has PopQA's own questions.")


def _parse_aliases(text: str, object: str) -> list[str]:
    try:
        told = json.loads(text)
    except ValueError:
        told = []
    listed = told if isinstance(told, list) else []
    return list(dict.fromkeys(a for a in (object, *listed) if isinstance(a, str) and a.strip()))


LAMA = Benchmark(
    KNOWN_DATASETS["lama"],
    "CC BY-NC 4.0, LICENSE of its repository",
    "2019-09-01",
    read_lama,
)
POPQA = Benchmark(
    KNOWN_DATASETS["popqa"],
    "MIT, LICENSE of its repository",
    "2022-12-01",
    read_popqa,
    patterns=("*.tsv",),
)
