"""KnowEdit and the other files of EasyEdit: edits with rephrasings, locality and portability.

A row has a prompt (`prompt`, `src`, `text`), a target (`target_new`, `alt`, `labels`), and where
they are known `subject` or `concept`, the previous answer (`ground_truth`, `answers`), a rephrasing
(`rephrase_prompt`, `rephrase`), unrelated questions (`locality`, by kind, of {"prompt",
"ground_truth"}; `locality_prompt` and `locality_ground_truth`; `loc` and `loc_ans`) and questions
that follow from the edit (`portability`, by kind; in an edition of ZsRE one "New Question" with its
"New Answer"). A list of targets has the name first, then its aliases. Lists may be nested.

Read are wiki_recent, wiki_counterfact, ZsRE and counterfact-{edit,val,train} of KnowEdit, and the
files of ZsRE and CounterFact in the same fields that WISE and UltraEdit use.

Checked against `dataset/knowedit.py`, `dataset/zsre.py` and `examples/KnowEdit.md` of
zjunlp/EasyEdit (7cc05e4, 5a6b201); the files themselves were not available.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_table
from fki.sources.benchmarks.add_edits import RULE, add_edits, case_name, usable_edits
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, text_at
from fki.sources.benchmarks.consistent_edits import Edit, Inferred

LOCALITY_PREFIX = "nq question: "
PARTS = ("*test*.json", "*edit*.json", "*eval*.json", "*.json")  # of several files, the first kind
PROMPTS, TARGETS = ("prompt", "src", "text"), ("target_new", "alt", "labels")
OLD, REPHRASED = ("ground_truth", "answers"), ("rephrase_prompt", "rephrase", "rephrase_prompts")


def read_knowedit(collector: BenchmarkCollector) -> None:
    """One part of KnowEdit, or another file of EasyEdit. Raises DataError for several of them."""
    file = collector.find_part(*PARTS)
    edits: list[Edit] = []
    for number, row in enumerate(read_table(file)):
        edits += usable_edits(collector, _parse_edit(collector, row, case_name(row, number)))
    add_edits(collector, edits, "locality")
    collector.notes += [
        "`portability` has the questions that follow from an edit; their `relation` is the kind of "
        "inference. `locality` has facts that an edit must not change.",
        "EasyEdit reports token accuracy under teacher forcing (`token_accuracy`; of `locality` "
        "`same_tokens`).",
        RULE.format(fact="the same subject and previous answer"),
    ]


def _parse_edit(collector: BenchmarkCollector, row: Mapping[str, Any], case: str) -> Edit:
    targets = flat_texts(collector, "stream", _first(row, TARGETS))
    old = flat_texts(collector, "base", _first(row, OLD))
    subject = text_at(row, "subject") or text_at(row, "concept")
    return Edit(
        next((text for name in PROMPTS if (text := text_at(row, name))), ""),
        next(iter(targets), ""),
        tuple(old),
        subject,
        case=case,
        fact=(subject, old[0]) if subject and old else (),
        rewordings=tuple(
            text
            for name in REPHRASED
            for text in flat_texts(collector, "probes/paraphrase", row.get(name))
        ),
        kept=tuple(_iter_kept(collector, row)),
        aliases=tuple(targets[1:]),
        portability=tuple(_iter_portability(collector, row)),
    )


def _iter_kept(collector: BenchmarkCollector, row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The unrelated questions of a row, each with its answers."""
    yield from ((test.question, *test.answers) for test in _iter_kinds(collector, row, "locality"))
    for asked, answered in (("locality_prompt", "locality_ground_truth"), ("loc", "loc_ans")):
        question = text_at(row, asked).removeprefix(LOCALITY_PREFIX)
        answers = flat_texts(collector, "probes/locality", row.get(answered))
        if question:
            yield (question, *answers)


def _iter_portability(collector: BenchmarkCollector, row: Mapping[str, Any]) -> Iterator[Inferred]:
    yield from _iter_kinds(collector, row, "portability")
    if question := text_at(row, "portability", "New Question"):
        answers = flat_texts(collector, "probes/portability", row["portability"].get("New Answer"))
        yield Inferred(question, tuple(answers))


def _iter_kinds(
    collector: BenchmarkCollector, row: Mapping[str, Any], name: str
) -> Iterator[Inferred]:
    """The questions of `locality` or `portability`, with their answers and kind."""
    kinds = row.get(name)
    for kind, asked in kinds.items() if isinstance(kinds, dict) else ():
        for item in asked if isinstance(asked, list) else ():
            if not isinstance(item, dict):
                continue
            questions = flat_texts(collector, f"probes/{name}", item.get("prompt"))
            truth = item.get("ground_truth")
            lists = truth if len(questions) > 1 and isinstance(truth, list) else [truth]
            for question, answers in zip_longest(questions, lists[: len(questions)]):
                found = flat_texts(collector, f"probes/{name}", answers)
                yield Inferred(question, tuple(found), str(kind))


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The value of the first of these columns that has one."""
    return next((value for name in names if (value := row.get(name)) not in (None, "", [])), None)


def flat_texts(collector: BenchmarkCollector, table: str, value: Any) -> list[str]:
    """The texts of a cell, of lists within it too, each once; other values are counted."""
    if not isinstance(value, list):
        return collector.texts(table, value)
    parts = [text for part in value for text in flat_texts(collector, table, part)]
    return [*dict.fromkeys(parts)]


KNOWEDIT = Benchmark(
    KNOWN_DATASETS["knowedit"],
    "MIT, of zjunlp/EasyEdit and zjunlp/KnowEdit; the parts are those of their authors",
    "2023-12-01",
    read_knowedit,
    patterns=("*.json",),
)
