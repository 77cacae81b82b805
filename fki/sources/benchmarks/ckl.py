"""CKL (Jang et al., 2022): recent news as documents, and LAMA probes of old and new knowledge.

`recent_news_*.csv` (input, output, original), `invariantLAMA.csv` (id, input, output),
`updatedlama/updatedLAMA.csv` (unique_id, statement, new_answer), `newlama/newLAMA.csv` and
`newlama/newLAMA_easy.csv` (unique_id, statement, question, answer; several answers of the latter
are separated by `;`); further accepted answers are in JSON files by id. `--as small` reads the
small setting (`recent_news_small.csv`, `newLAMA_easy_small.csv`), `--as phases` the two-phase one
(`recent_news_small1.csv` and `2`, `newLAMA_easy_small_split1.csv` and `2`), which are two periods.

Checked against `Datasets.py` and `evaluation.py` of joeljang/continual-knowledge-learning (2021 to
eb73944), which read these names and columns; the files themselves were not available.
"""

import re
from datetime import timedelta
from typing import Any

from fki.core.calendar import parse_date
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_json_object
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, read_csv

SPAN = re.compile(r"<extra_id_(\d+)>")
NEWS: dict[
    str, list[tuple[str, ...]]
] = {  # the files of each form, one for each period; of several names, the first that exists
    "full": [("recent_news_full.csv", "recent_news_small.csv", "recent_news*.csv")],
    "small": [("recent_news_small.csv",)],
    "phases": [("recent_news_small1.csv",), ("recent_news_small2.csv",)],
}
EASY = {  # the probes of `new_easy`, likewise
    "full": ["newLAMA_easy.csv"],
    "small": ["newLAMA_easy_small.csv"],
    "phases": ["newLAMA_easy_small_split1.csv", "newLAMA_easy_small_split2.csv"],
}
HARD_ANSWERS, EASY_ANSWERS = "recentlama_h_val_answers.json", "recentlama_val_answers.json"


def read_ckl(collector: BenchmarkCollector) -> None:
    """Add the news, which have no dates, as documents of one period or two, and the probes."""
    first = parse_date(collector.date)[0]
    phases = NEWS[collector.form]
    days = [(first + timedelta(days=number)).isoformat() for number in range(len(phases))]
    for day, names in zip(days, phases, strict=True):
        for file in collector.find_files(*names, first=True):
            for row in read_csv(file, ["input", "output"]):
                collector.add_document(
                    row.get("original") or fill_spans(row["input"], row["output"]), day
                )
    for file in collector.find_files("invariantLAMA.csv", needed=False):
        for row in read_csv(file, ["input", "output"]):
            collector.add_prompt("probes/invariant", row["input"], row["output"])
    _add_updated_probes(collector, days[-1])
    _add_new_probes(collector, "new", "newLAMA.csv", HARD_ANSWERS, days[-1])
    for day, name in zip(days, EASY[collector.form], strict=True):
        _add_new_probes(collector, "new_easy", name, EASY_ANSWERS, day)
    collector.note_unread("recent_news*.csv", "*lama*.csv")
    collector.notes += [
        f"The news have no dates; they have the date {collector.date}"
        + (", those of the second phase the day after." if len(days) > 1 else "."),
        "The probes are only evaluated, never trained on.",
    ]


def _add_new_probes(
    collector: BenchmarkCollector, name: str, questions: str, answers: str, day: str
) -> None:
    """Add the probes of a file; several answers of `new_easy` are separated by `;`."""
    more = _read_answers(collector, answers)
    for file in collector.find_files(questions, needed=False):
        for row in read_csv(file, ["unique_id", "statement", "answer"]):
            parts = row["answer"].split(";") if name == "new_easy" else [row["answer"]]
            told = _unique_texts([*parts, *_as_list(more.get(row["unique_id"]))])
            collector.add_prompt(f"probes/{name}", row["statement"], told, period=day)


def _add_updated_probes(collector: BenchmarkCollector, day: str) -> None:
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
                period=day,
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
    forms=("full", "small", "phases"),
    gap="The addresses there were reported dead in 2023 (its issue 2): ask its authors.",
)
