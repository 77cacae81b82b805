"""LAMA, PopQA, ZsRE and CounterFact: facts without dates, in one period.

The old answer of an edit (ZsRE, CounterFact) is a base fact, so that its probe is `updated`.

Checked against facebookresearch/LAMA (`scripts/run_experiments.py`, 0f6204c) and the loader that
`datasets` had of it (16a466f); AlexTMallen/adaptive-retrieval (`run_model.py`, 5b56a22) and the
columns of popQA.tsv as several readers list them; `dsets/zsre.py` and `dsets/counterfact.py` of
kmeng01/rome (59b466e), MEND's `data_classes/zsre.py` in it (448f8fe), and rows that others quote.
"""

import json
from datetime import timedelta
from typing import Any

from fki.core.calendar import parse_date
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

LOCALITY_PREFIX = "nq question: "  # before the unrelated questions of ZsRE
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


def read_zsre(collector: BenchmarkCollector) -> None:
    """ZsRE (Levy et al., 2017) as MEND edits it: `alt` replaces the answer.

    `zsre_mend_eval.json` has src, rephrase, alt, answers, loc, loc_ans; `structured_zeroshot-*` has
    input, output (answers), alternatives, filtered_rephrases. An empty `alt` edits nothing.
    """
    before = _day_before(collector.date)
    for file in collector.find_files("*zsre*.json*", "structured_zeroshot*.jsonl"):
        for row in read_table(
            file, require=["alt"] if "structured" not in file.name else ["input"]
        ):
            question, old = row.get("src") or row.get("input"), _old_answers(row)
            new = row.get("alt") or next(iter(row.get("alternatives") or []), "")
            if not _add_edit(collector, question, old, new, before):
                continue
            others = [row.get("rephrase"), *(row.get("filtered_rephrases") or [])]
            for other in dict.fromkeys(others):
                if other and other != question:
                    collector.add_prompt("probes/paraphrase", other, new, period=collector.date)
            if row.get("loc"):
                asked = str(row["loc"]).removeprefix(LOCALITY_PREFIX)
                collector.add_prompt("probes/locality", asked, row.get("loc_ans"))
    collector.notes.append(
        "`locality` probes facts that an edit must not change; base facts are the answers before "
        f"the edits, dated {before}."
    )


def _old_answers(row: dict[str, Any]) -> list[Any]:
    """The answers before an edit."""
    output = [o.get("answer") for o in row.get("output") or [] if isinstance(o, dict)]
    return row.get("answers") or output


def read_counterfact(collector: BenchmarkCollector) -> None:
    """CounterFact (Meng et al., 2022): `target_new` replaces `target_true`."""
    before = _day_before(collector.date)
    for file in collector.find_files("counterfact*.json"):
        for row in read_table(file, require=["requested_rewrite"]):
            edit = row["requested_rewrite"]
            asked = edit["prompt"].replace("{}", edit["subject"])
            true, new = edit["target_true"]["str"], edit["target_new"]["str"]
            if not _add_edit(collector, asked, [true], new, before):
                continue
            for other in row.get("paraphrase_prompts") or []:
                collector.add_prompt("probes/paraphrase", other, new, period=collector.date)
            for other in row.get("neighborhood_prompts") or []:
                collector.add_prompt("probes/neighborhood", other, true)
    collector.notes.append(
        "`neighborhood` probes facts that an edit must not change; base facts are the true "
        f"answers, dated {before}; the edits are made up."
    )


def _add_edit(
    collector: BenchmarkCollector, question: Any, old: list[Any], new: Any, before: str
) -> bool:
    """Add a base fact and its replacement. Returns False if the edit changes nothing."""
    answers = [a for a in old if isinstance(a, str) and a.strip()]
    if new in answers:
        collector.dropped["stream: the new answer is the old one"] += 1
        return False
    if answers:
        collector.add_prompt("base", question, answers[0], date=before)
    collector.add_prompt("stream", question, new, date=collector.date)
    return True


def _day_before(day: str) -> str:
    """The day before, the date of the old answers."""
    return (parse_date(day)[0] - timedelta(days=1)).isoformat()


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
ZSRE = Benchmark(
    KNOWN_DATASETS["zsre"],
    "MIT, LICENSE of MEND and of ROME, which publish it",
    "2022-02-01",
    read_zsre,
)
COUNTERFACT = Benchmark(
    KNOWN_DATASETS["counterfact"],
    "MIT, LICENSE of ROME's repository, kmeng01/rome",
    "2022-02-01",
    read_counterfact,
)
