"""CFInjectBench and TempLAMA (Dhingra et al., 2022): questions with `_X_`, answers and a date.

A row is {"query": "... _X_ ...", "answer": [{"wikidata_id", "name"}], "date", "id", "relation"};
CFInjectBench also has training sentences, {"corpus": [...], "date", "id"}. The output of
`templama.py` has one answer, not a list. The files `*_with_aliases.json` of other authors have
lists of names, and TempLAMA's own name as `original_name`; the other names are aliases.

Checked against `templama.py` and the README of google-research/language (a7fcd13, 78dbf41), which
say what the files of TempLAMA are, rows of them that others quote, and against the loaders and the
files by month of intellistream/CFInjectBench (0ab2a7d); files by day and quarter are not there.
"""

from pathlib import Path
from typing import Any

from fki.core.calendar import parse_date
from fki.core.errors import DataError
from fki.core.formatting import format_command
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_table
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, text_at, value_at

COLUMNS = ("query", "answer", "date", "id")
BLANK = "_X_"
NO_DATE = "no date that fki reads, such as 2019-01-31, 2019-01, 2019-Q1 or 2019"


def read_cfinjectbench(collector: BenchmarkCollector) -> None:
    """Add the probes of one granularity; a training sentence without a probe is skipped."""
    tests = collector.find_files("datesorted_test_no_redundancy.jsonl", "datesorted_test.jsonl")
    if len(tests) > 1:
        raise DataError(
            f"{collector.folder} has {len(tests)} granularities: "
            + ", ".join(f.parent.name for f in tests) + ".",
            hint=f"Give one of them: {format_command('--from', tests[0].parent)}",
        )  # fmt: skip
    asked = {
        row_id: row for row in _add_questions(collector, tests) if (row_id := text_at(row, "id"))
    }
    other = 0
    for file in collector.find_files(tests[0].name.replace("test", "train"), needed=False):
        for row in read_table(file, require=["corpus", "id"]):
            question = asked.get(text_at(row, "id"))
            if question is None:
                collector.drop("train", "a sentence without a probe")
            else:
                other += _is_reworded(question, row.get("corpus"))
    collector.notes += [
        "The training text is the prompt with its answer in the blank.",
        f"{other:,} training sentences of the originals have another wording.",
        "Every answer is used; the original loader uses the first.",
    ]
    if collector.form == "base":
        collector.split_first()


def read_templama(collector: BenchmarkCollector) -> None:
    """Add the rows of all splits: a stream has years as periods and needs no splits."""
    files = []
    for split in ("train", "val", "test"):
        names = (f"{split}.json*", f"{split}_with_aliases.json*", f"templama_{split}.json*")
        files += collector.find_files(*names, needed=split == "test")
    is_dated = collector.form == "dated"
    _add_questions(collector, files, prefix="In {year}, " if is_dated else "")
    if is_dated:
        collector.notes.append(
            "Each question begins with its year, as in the authors' experiments. It is another "
            "question in each year, and its answer stays."
        )
    else:
        collector.split_first()
    for split in ("train", "val", "test"):
        collector.note_unread(f"{split}_with_aliases.json*", f"templama_{split}.json*")
    collector.notes.append(
        "train, val and test are one stream: the facts of a year are trained on and evaluated."
    )


def _add_questions(
    collector: BenchmarkCollector, files: list[Path], prefix: str = ""
) -> list[dict[str, Any]]:
    """Add the rows to the stream, oldest first. Returns them in the order of the files.

    Args:
        prefix: of each question, with {year} for that of its date.
    """
    rows = [row for file in files for row in read_table(file, require=COLUMNS)]
    dated = []
    for row in rows:
        try:
            dated.append((parse_date(str(row.get("date")))[0], row))
        except ValueError:
            collector.drop("stream", NO_DATE)
    for day, row in sorted(dated, key=lambda pair: pair[0]):
        names, aliases = answer_names(row)
        more = {"aliases": aliases} if aliases else {}
        asked = text_at(row, "query")
        question = prefix.format(year=day.year) + asked if asked else ""
        collector.add_masked(
            "stream", question, BLANK, names, date=str(row["date"]), **more, **_labels(row)
        )
    return rows


def answer_names(row: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The names of the answers, each in the dataset's own spelling, and their other spellings."""
    answers = row.get("answer")
    listed = answers if isinstance(answers, list) else [answers]
    spellings = [s for answer in listed if (s := _spellings(answer))]
    names = [*dict.fromkeys(own[0] for own in spellings)]
    aliases = dict.fromkeys(name for own in spellings for name in own if name not in names)
    return names, [*aliases]


def _spellings(answer: Any) -> list[str]:
    """The names of an answer, its main name first."""
    found = [answer, *(value_at(answer, key) for key in ("original_name", "name"))]
    cells = [cell for value in found for cell in (value if isinstance(value, list) else [value])]
    return [*dict.fromkeys(c.strip() for c in cells if isinstance(c, str) and c.strip())]


def _labels(row: dict[str, Any]) -> dict[str, str]:
    """The subject, which the id begins with (Q11_P54_2019), and the relation of a row."""
    subject, _, rest = text_at(row, "id").partition("_")
    relation = text_at(row, "relation")
    labels = {"subject": subject if rest else "", "relation": relation}
    return {name: text for name, text in labels.items() if text}


def _is_reworded(row: dict[str, Any], corpus: Any) -> bool:
    first = corpus[0] if isinstance(corpus, list) and corpus else corpus
    names, _ = answer_names(row)
    return first not in [text_at(row, "query").replace(BLANK, name) for name in names]


CFINJECTBENCH = Benchmark(
    KNOWN_DATASETS["cfinjectbench"],
    "its repository has none; its facts are Wikidata's, which are CC0",
    "",
    read_cfinjectbench,
    forms=("base", "stream"),
)
TEMPLAMA = Benchmark(
    KNOWN_DATASETS["templama"],
    "Apache-2.0, of google-research/language, whose code makes it; its facts are Wikidata's, CC0",
    "",
    read_templama,
    patterns=("*_with_aliases.json",),
    forms=("plain", "dated"),
)
