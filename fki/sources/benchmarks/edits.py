"""ZsRE and CounterFact: edits of facts, without dates.

Checked against `dsets/zsre.py` and `dsets/counterfact.py` of kmeng01/rome (59b466e), MEND's
`data_classes/zsre.py` in it (448f8fe), and rows that others quote.
"""

from collections import defaultdict
from typing import Any

from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_table
from fki.sources.benchmarks.add_edits import RULE, add_edits, case_name, usable_edits
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, text_at, value_at
from fki.sources.benchmarks.consistent_edits import Edit

LOCALITY_PREFIX = "nq question: "  # before the unrelated questions of ZsRE
NO_ANSWERS = ("attribute_prompts", "generation_prompts")  # prompts of CounterFact


def read_zsre(collector: BenchmarkCollector) -> None:
    """ZsRE (Levy et al., 2017) as MEND edits it (`alt`), or as ROME does (the first answer).

    `zsre_mend_eval.json` has subject, src, rephrase, alt, answers, loc, loc_ans;
    `structured_zeroshot-*` has input, output (answers), alternatives, filtered_rephrases. An empty
    target edits nothing.
    """
    edits: list[Edit] = []
    for file in collector.find_files("*zsre*.json*", "structured_zeroshot*.jsonl"):
        required = ["input"] if "structured" in file.name.casefold() else ["src"]
        for number, row in enumerate(read_table(file, require=required)):
            case = case_name(row, number)
            edits += usable_edits(collector, _parse_zsre(collector, row, case))
    collector.note_unread("structured_zeroshot*.jsonl")
    add_edits(collector, edits, "locality", {})
    collector.notes += [
        "The target of an edit is the first of `answers`, as in ROME, MEMIT and AlphaEdit "
        "(`--target answers`); no base fact has another answer."
        if collector.target == "answers"
        else "The target of an edit is `alt`, as in MEND, EasyEdit, WISE and GRACE. ROME, MEMIT "
        "and AlphaEdit teach the first of `answers` (`--target answers`); results with different "
        "targets are not comparable.",
        "`locality` probes facts that an edit must not change.",
        RULE.format(fact="the same subject and previous answer"),
    ]


def _parse_zsre(collector: BenchmarkCollector, row: dict[str, Any], case: str) -> Edit:
    outputs = value_at(row, "output")
    answers = collector.texts("base", row.get("answers")) or [
        text for output in (outputs if isinstance(outputs, list) else [])
        if (text := text_at(output, "answer"))
    ]  # fmt: skip
    others = collector.texts("stream", row.get("alt") or row.get("alternatives"))
    subject, is_rome = text_at(row, "subject"), collector.target == "answers"
    asked = text_at(row, "loc").removeprefix(LOCALITY_PREFIX)
    kept = collector.texts("probes/locality", row.get("loc_ans")) or [""]
    rewordings = ("rephrase", "filtered_rephrases")
    return Edit(
        text_at(row, "src") or text_at(row, "input"),
        next(iter(answers if is_rome else others), ""),
        () if is_rome else tuple(answers),
        subject,
        case=case,
        fact=(subject, answers[0]) if subject and answers and not is_rome else (),
        rewordings=tuple(
            text for name in rewordings
            for text in collector.texts("probes/paraphrase", row.get(name))
        ),
        kept=((asked, *kept),) if row.get("loc") else (),
    )  # fmt: skip


def read_counterfact(collector: BenchmarkCollector) -> None:
    """CounterFact (Meng et al., 2022): `target_new` replaces `target_true`."""
    edits: list[Edit] = []
    templates: dict[str, set[str]] = defaultdict(set)
    for file in collector.find_files("counterfact*.json", "multi_counterfact*.json"):
        for row in read_table(file, require=["requested_rewrite"]):
            if relation := text_at(row, "requested_rewrite", "relation_id"):
                templates[relation].add(text_at(row, "requested_rewrite", "prompt"))
            edits += usable_edits(collector, _parse_counterfact(collector, row))
            for name in NO_ANSWERS:
                prompts = collector.texts(name, row.get(name))
                collector.dropped[f"{name}: a prompt without an answer"] += len(prompts)
    collector.note_unread("multi_counterfact*.json")
    add_edits(collector, edits, "neighborhood", templates)
    collector.notes += [
        "The edits are made up. `neighborhood` probes facts that an edit must not change.",
        RULE.format(fact="the same subject and relation"),
    ]


def _parse_counterfact(collector: BenchmarkCollector, row: dict[str, Any]) -> Edit:
    """The edit of a row; without a subject or a true answer, its target is empty."""
    rewrite = row.get("requested_rewrite")
    subject, relation = text_at(rewrite, "subject"), text_at(rewrite, "relation_id")
    true, new = (
        text_at(rewrite, name, "str") or text_at(rewrite, name)
        for name in ("target_true", "target_new")
    )
    neighbors = collector.texts("probes/neighborhood", row.get("neighborhood_prompts"))
    return Edit(
        text_at(rewrite, "prompt").replace("{}", subject),
        new if subject and true else "",
        (true,),
        subject,
        relation,
        case_name(row),
        (subject, relation) if subject and relation else (),
        tuple(collector.texts("probes/paraphrase", row.get("paraphrase_prompts"))),
        tuple((question, true) for question in neighbors),
    )


ZSRE = Benchmark(
    KNOWN_DATASETS["zsre"],
    "MIT, LICENSE of MEND and of ROME, which publish it",
    "2022-02-01",
    read_zsre,
    targets=("alt", "answers"),
)
COUNTERFACT = Benchmark(
    KNOWN_DATASETS["counterfact"],
    "MIT, LICENSE of ROME's repository, kmeng01/rome",
    "2022-02-01",
    read_counterfact,
)
