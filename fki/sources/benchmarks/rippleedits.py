"""RippleEdits (Cohen et al., 2024): edits, and what must follow from them and stay.

An entry of `popular.json`, `random.json` or `recent.json` has an `edit` ({"prompt", a statement;
"relation"; in two of the files "previous_fact" or "original_fact", another statement}) and tests by
criterion, each a list of `test_queries` ({"prompt", "answers": [{"value", "aliases"}]}), with
`test_condition` (OR, AND) and `condition_queries` in the same form.

The target is the end of the statement that differs from the previous one; without a previous one,
the words after its last " is " or " are ".

Checked against `benchmark.py`, `testcase.py`, `testrunner.py` and `queryexecutor.py` in `src`, and
the README, of edenbiran/RippleEdits (a4ebe41, 21182d1, 117e617).
"""

import re
from collections.abc import Iterator
from typing import Any

from fki.core.probe_sets import CONDITION
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_table
from fki.sources.benchmarks.add_edits import RULE, add_edits, usable_edits
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, text_at, value_at
from fki.sources.benchmarks.consistent_edits import Edit, Inferred, Test
from fki.sources.benchmarks.knowedit import flat_texts

VERB = re.compile(r"\s(?:is|are)\s")
FOLLOWS = ("Logical_Generalization", "Subject_Aliasing")  # criteria, as the authors name them
COMBINES = ("Compositionality_I", "Compositionality_II")
STAYS = ("Relation_Specificity", "Relation_Specifity", "Forgetfulness")
TABLES = {"portability": FOLLOWS, "multi_hop": COMBINES, "locality": STAYS}


def read_rippleedits(collector: BenchmarkCollector) -> None:
    """Add the edits of all files, and their tests by criterion."""
    edits: list[Edit] = []
    for file in collector.find_files("popular*.json", "*popular*.json", needed=False) + [
        found
        for name in ("random", "recent")
        for found in collector.find_files(f"{name}*.json", f"*{name}*.json", needed=False)
    ] or collector.find_files("*.json"):
        for number, row in enumerate(read_table(file, require=["edit"])):
            edit = _parse_entry(collector, row, f"{file.stem}-{number}")
            edits += usable_edits(collector, edit)
    add_edits(collector, edits, "locality")
    collector.notes += [
        "`portability` has Logical_Generalization and Subject_Aliasing, `multi_hop` "
        "Compositionality_I and II, `locality` Relation_Specificity and Forgetfulness; the "
        "`relation` of the first two is the criterion.",
        "`condition` has the condition queries. A test counts in `test_passed` only if the model "
        "answers all of them before the edit, and passes as its `test_condition` says; other "
        "scores count all tests.",
        RULE.format(fact="the same subject and relation"),
    ]


def _parse_entry(collector: BenchmarkCollector, row: dict[str, Any], case: str) -> Edit:
    edit = row.get("edit")
    before = text_at(edit, "previous_fact", "prompt") or text_at(edit, "original_fact", "prompt")
    question, target, old = split_statement(text_at(edit, "prompt"), before)
    fact = (text_at(edit, "subject_id"), text_at(edit, "relation"))
    return Edit(
        question,
        target,
        (old,) if old else (),
        fact[0],
        fact[1],
        case,
        fact if all(fact) else (),
        kept=tuple(
            (test.question, *test.answers)
            for name in STAYS
            for test in _iter_tests(collector, row, name, "locality")
        ),
        portability=tuple(
            test for n in FOLLOWS for test in _iter_tests(collector, row, n, "portability")
        ),
        multi_hop=tuple(
            test for n in COMBINES for test in _iter_tests(collector, row, n, "multi_hop")
        ),
        tests=dict(
            found
            for table, names in TABLES.items()
            for name in names
            for found in _iter_conditions(collector, row, name, table, case)
        ),
    )


def split_statement(statement: str, before: str) -> tuple[str, str, str]:
    """The question of a statement, its answer, and the answer of the statement before ("")."""
    shared = statement
    if before:
        size = next(
            (i for i, (a, b) in enumerate(zip(statement, before, strict=False)) if a != b),
            min(len(statement), len(before)),
        )
        shared = statement[:size]
    ends = [found.end() for found in VERB.finditer(shared)]
    if not ends:
        return "", "", ""
    old = before[ends[-1] :] if before else ""
    return statement[: ends[-1]].strip(), _answer(statement[ends[-1] :]), _answer(old)


def _answer(text: str) -> str:
    """The text without the period at the end of its sentence."""
    return text.strip().removesuffix(".").strip()


def _iter_tests(
    collector: BenchmarkCollector, row: dict[str, Any], name: str, table: str
) -> Iterator[Inferred]:
    """The queries of a criterion, each with all of its answers and their aliases."""
    for test in _as_list(row.get(name)):
        for query in _as_list(value_at(test, "test_queries")):
            yield _parse_query(collector, query, table, name)


def _iter_conditions(
    collector: BenchmarkCollector, row: dict[str, Any], name: str, table: str, case: str
) -> Iterator[tuple[tuple[str, str], Test]]:
    """The test of each query of a criterion; the first one of a query that occurs again is last."""
    for number, test in reversed([*enumerate(_as_list(row.get(name)))]):
        needed = _as_list(value_at(test, "condition_queries"))
        found = Test(
            f"{case}-{name}-{number}",
            text_at(test, "test_condition").upper() == "AND",
            tuple(_parse_query(collector, query, CONDITION, "") for query in needed),
        )
        for query in _as_list(value_at(test, "test_queries")):
            yield (table, text_at(query, "prompt")), found


def _parse_query(collector: BenchmarkCollector, query: Any, table: str, kind: str) -> Inferred:
    """A query with all of its answers and their aliases."""
    found = [
        text
        for answer in _as_list(value_at(query, "answers"))
        for key in ("value", "aliases")
        for text in flat_texts(collector, f"probes/{table}", value_at(answer, key))
    ]
    return Inferred(text_at(query, "prompt"), tuple(dict.fromkeys(found)), kind)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


RIPPLEEDITS = Benchmark(
    KNOWN_DATASETS["rippleedits"],
    "MIT, LICENSE of edenbiran/RippleEdits; its facts are Wikidata's, which are CC0",
    "2023-07-01",
    read_rippleedits,
    patterns=("*.json",),
)
