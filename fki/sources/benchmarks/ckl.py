"""CKL (Jang et al., 2022): recent news as documents, and LAMA probes of old and new knowledge.

`recent_news_*.csv` (input, output, original), `invariantLAMA.csv` (id, input, output),
`updatedlama/updatedLAMA.csv` (unique_id, statement, new_answer), `newlama/newLAMA.csv` and
`newlama/newLAMA_easy.csv` (unique_id, statement, question, answer; several answers of the latter
are separated by `;`); further accepted answers are in JSON files by id. Files of the two-phase and
of the small setting (`recent_news_small2.csv`, `newLAMA_easy_small.csv`) are not read.

Checked against `Datasets.py` and `evaluation.py` of joeljang/continual-knowledge-learning (2021 to
eb73944), which read these names and columns; the files themselves were not available.
"""

import re
from typing import Any

from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_json_object
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, read_csv

SPAN = re.compile(r"<extra_id_(\d+)>")
NEWS_PATTERNS = ("recent_news_full.csv", "recent_news_small.csv", "recent_news*.csv")
NEW_PROBES = {  # questions -> where they are, where all of their answers are
    "new": ("newLAMA.csv", "recentlama_h_val_answers.json"),
    "new_easy": ("newLAMA_easy.csv", "recentlama_val_answers.json"),
}


def read_ckl(collector: BenchmarkCollector) -> None:
    """Add the news, which have no dates, as documents of one period, and the probes."""
    for file in collector.find_files(*NEWS_PATTERNS, first=True):
        for row in read_csv(file, ["input", "output"]):
            collector.add_document(
                row.get("original") or fill_spans(row["input"], row["output"]), collector.date
            )
    for file in collector.find_files("invariantLAMA.csv", needed=False):
        for row in read_csv(file, ["input", "output"]):
            collector.add_prompt("probes/invariant", row["input"], row["output"])
    _add_updated_probes(collector)
    for name, (questions, answers) in NEW_PROBES.items():
        more = _read_answers(collector, answers)
        for file in collector.find_files(questions, needed=False):
            for row in read_csv(file, ["unique_id", "statement", "answer"]):
                parts = row["answer"].split(";") if name == "new_easy" else [row["answer"]]
                told = [*parts, *_as_list(more.get(row["unique_id"]))]
                collector.add_prompt(
                    f"probes/{name}", row["statement"], _unique_texts(told), period=collector.date
                )
    collector.note_unread("recent_news*.csv", "*lama*.csv")
    collector.notes += [
        f"The news have no dates; all of them have the date {collector.date}.",
        "The probes are only evaluated, never trained on.",
    ]


def _add_updated_probes(collector: BenchmarkCollector) -> None:
    both = _read_answers(collector, "updatedlama_val_answers.json")
    for file in collector.find_files("updatedLAMA.csv", needed=False):
        for row in read_csv(file, ["unique_id", "statement", "new_answer"]):
            told = [e for e in _as_list(both.get(row["unique_id"])) if isinstance(e, dict)]
            new = [row["new_answer"], *(a for e in told for a in _as_list(e.get("new")))]
            old = [a for e in told for a in _as_list(e.get("old")) if a not in new]
            more = {"old_answers": _unique_texts(old)} if old else {}
            collector.add_prompt(
                "probes/updated",
                row["statement"],
                _unique_texts(new),
                period=collector.date,
                **more,
            )


def _read_answers(collector: BenchmarkCollector, name: str) -> dict[str, Any]:
    return {
        k: v
        for file in collector.find_files(name, needed=False)
        for k, v in read_json_object(file).items()
    }


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _unique_texts(answers: list[Any]) -> list[str]:
    return list(dict.fromkeys(a.strip() for a in answers if isinstance(a, str) and a.strip()))


def fill_spans(source: str, target: str) -> str:
    """The text with the spans of the target in place of its sentinels; spans may be missing."""
    parts = SPAN.split(target)
    spans = dict(zip(parts[1::2], (p.strip() for p in parts[2::2]), strict=True))
    return SPAN.sub(lambda found: spans.get(found[1], ""), source)


CKL = Benchmark(
    KNOWN_DATASETS["ckl"],
    "its repository states none; ask its authors before you publish a derived dataset",
    "2021-04-30",
    read_ckl,
    gap="The addresses there were reported dead in 2023 (its issue 2): ask its authors.",
)
