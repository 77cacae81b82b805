"""CFInjectBench and TempLAMA (Dhingra et al., 2022): questions with `_X_`, answers and a date.

A row is {"query": "... _X_ ...", "answer": [{"wikidata_id", "name"}], "date", "id", "relation"};
CFInjectBench also has training sentences, {"corpus": [...], "date", "id"}. The output of
`templama.py` has one answer, not a list. The files `*_with_aliases.json` of other authors have
lists of names, and TempLAMA's own name as `original_name`.

Checked against `templama.py` and the README of google-research/language (a7fcd13, 78dbf41), which
say what the files of TempLAMA are, rows of them that others quote, and against the loaders of
intellistream/CFInjectBench_old (0ab2a7d); its files are not in its public history.
"""

from pathlib import Path
from typing import Any

from fki.core.calendar import parse_date
from fki.core.errors import DataError
from fki.core.formatting import format_command
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_table
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, replace_blank

COLUMNS = ("query", "answer", "date", "id")


def read_cfinjectbench(collector: BenchmarkCollector) -> None:
    """Add the probes of one granularity; a training sentence without a probe is skipped."""
    tests = collector.find_files("datesorted_test_no_redundancy.jsonl", "datesorted_test.jsonl")
    if len(tests) > 1:
        raise DataError(
            f"{collector.folder} has {len(tests)} granularities: "
            + ", ".join(f.parent.name for f in tests) + ".",
            hint=f"Give one of them: {format_command('--from', tests[0].parent)}",
        )  # fmt: skip
    asked = _add_questions(collector, tests)
    name = tests[0].name.replace("test", "train")
    sentences = {
        row["id"]: row["corpus"]
        for file in collector.find_files(name, needed=False)
        for row in read_table(file, require=["corpus", "id"])
    }
    told = {str(row["id"]): row for row in asked}
    collector.dropped["train: a sentence without a probe"] += len(set(sentences) - set(told))
    other = sum(_is_reworded(told[i], corpus) for i, corpus in sentences.items() if i in told)
    collector.notes += [
        "The training text is the prompt with its answer in the blank.",
        f"{other:,} training sentences of the originals have another wording.",
        "Every answer is used; the original loader uses the first.",
    ]
    collector.split_first()


def read_templama(collector: BenchmarkCollector) -> None:
    """Add the rows of all splits: a stream has years as periods and needs no splits."""
    files = []
    for split in ("train", "val", "test"):
        names = (f"{split}.json*", f"{split}_with_aliases.json*", f"templama_{split}.json*")
        files += collector.find_files(*names, needed=split == "test")
    _add_questions(collector, files)
    collector.split_first()
    collector.notes.append(
        "train, val and test are one stream: the facts of a year are trained on and evaluated."
    )


def _add_questions(collector: BenchmarkCollector, files: list[Path]) -> list[dict[str, Any]]:
    """Add the rows to the stream, oldest first. Returns them in the order of the files."""
    rows = [row for file in files for row in read_table(file, require=COLUMNS)]
    dated = []
    for row in rows:
        try:
            dated.append((parse_date(str(row.get("date")))[0], row))
        except ValueError:
            collector.dropped["stream: no date"] += 1
    for _, row in sorted(dated, key=lambda pair: pair[0]):
        collector.add_prompt(
            "stream",
            replace_blank(row.get("query"), "_X_"),
            answer_names(row),
            date=str(row["date"]),
        )
    return rows


def answer_names(row: dict[str, Any]) -> list[str]:
    """The names of the answers, each in the dataset's own spelling."""
    answers = row.get("answer")
    listed = answers if isinstance(answers, list) else [answers]
    told = (_original_name(answer) for answer in listed if isinstance(answer, dict))
    return list(dict.fromkeys(name.strip() for name in told if name.strip()))


def _original_name(answer: dict[str, Any]) -> str:
    name = answer.get("original_name") or answer.get("name")
    first = name[0] if isinstance(name, list) and name else name
    return first if isinstance(first, str) else ""


def _is_reworded(row: dict[str, Any], corpus: Any) -> bool:
    first = corpus[0] if isinstance(corpus, list) and corpus else ""
    return first not in [str(row.get("query")).replace("_X_", name) for name in answer_names(row)]


CFINJECTBENCH = Benchmark(
    KNOWN_DATASETS["cfinjectbench"],
    "its repository has none; its facts are Wikidata's, which are CC0",
    "",
    read_cfinjectbench,
    gap="They are not in its public history: ask its authors.",
)
TEMPLAMA = Benchmark(
    KNOWN_DATASETS["templama"],
    "Apache-2.0, of google-research/language, whose code makes it; its facts are Wikidata's, CC0",
    "",
    read_templama,
    patterns=("*_with_aliases.json",),
)
