"""MQuAKE (Zhong et al., 2023): edits, and questions that combine them with other facts.

A case has `requested_rewrite`, a list of edits ({"prompt" with {}, "subject", "target_new",
"target_true", "question"}), three phrasings of one question (`questions`), and its answer before
and after (`answer`, `new_answer`, each with `_alias`). In MQuAKE-T the edits are real changes, in
the others made up. MQuAKE-Remastered has the same fields, and a list may stand for an answer.

Checked against the readers of the files by other authors, such as EasyEdit's `dataset/MQuAKE.py`
(d5670c0); the files themselves were not available.
"""

from collections.abc import Iterator
from typing import Any

from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_table
from fki.sources.benchmarks.add_edits import RULE, add_edits, case_name, usable_edits
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, text_at
from fki.sources.benchmarks.consistent_edits import Edit, Inferred
from fki.sources.benchmarks.knowedit import flat_texts


def read_mquake(collector: BenchmarkCollector) -> None:
    """Add the edits of all cases, and the questions of each case as `multi_hop`."""
    file = collector.find_part("*mquake*.json*", "*cf3k*.json*", "*cf6334*.json*", "*.json*")
    edits: list[Edit] = []
    for number, row in enumerate(read_table(file, require=["requested_rewrite", "questions"])):
        for edit in _iter_edits(collector, row, case_name(row, number)):
            edits += usable_edits(collector, edit)
    add_edits(collector, edits, "locality")
    collector.notes += [
        "`multi_hop` has three phrasings of each case's question. The authors count a case as "
        "right if one of the three is: `case_em`.",
        "`paraphrase` has the edits in question form.",
        RULE.format(fact="the same subject and relation"),
    ]


def _iter_edits(collector: BenchmarkCollector, row: dict[str, Any], case: str) -> Iterator[Edit]:
    """The edits of a case; the last of them has its questions."""
    found = row.get("requested_rewrite")
    rewrites = found if isinstance(found, list) else [found]
    table = "probes/multi_hop"
    names = ("new_answer", "new_answer_alias")
    answers = tuple(text for name in names for text in flat_texts(collector, table, row.get(name)))
    questions = flat_texts(collector, table, row.get("questions"))
    for number, rewrite in enumerate(rewrites, 1):
        subject, relation = text_at(rewrite, "subject"), text_at(rewrite, "relation_id")
        yield Edit(
            text_at(rewrite, "prompt").replace("{}", subject),
            text_at(rewrite, "target_new", "str") or text_at(rewrite, "target_new"),
            tuple(filter(None, [text_at(rewrite, "target_true", "str")])),
            subject,
            relation,
            case,
            (subject, relation) if subject and relation else (),
            tuple(filter(None, [text_at(rewrite, "question")])),
            multi_hop=tuple(Inferred(question, answers) for question in questions)
            if number == len(rewrites)
            else (),
        )


MQUAKE = Benchmark(
    KNOWN_DATASETS["mquake"],
    "MIT, of princeton-nlp/MQuAKE; Remastered states its own on the Hub",
    "2023-05-01",
    read_mquake,
    patterns=("*.json",),
)
