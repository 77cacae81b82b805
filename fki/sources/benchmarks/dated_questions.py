"""Questions whose answers change with time: PAT-Questions, RealTimeQA, FreshQA, SituatedQA and
StreamingQA.

Checked against files and READMEs of jannatmeem95/PAT-Questions (266ab83), realtimeqa_public
(8e3abde) and mikejqzhang/SituatedQA (e49dadb), the README of google-deepmind/streamingqa (4ed730c),
and the columns of FreshQA's spreadsheet as other readers list them.
"""

import csv
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fki.core.errors import DataError
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_dates import DayOrder, normalize_date
from fki.data.row_files import read_json_object, read_table
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, text_at
from fki.sources.benchmarks.knowedit import flat_texts

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
SNAPSHOT = re.compile(r"([A-Za-z]{3})[a-z]*[ _-]?(20\d\d)")  # Dec2023, March2024
NO_LABEL = ("http://", "https://")  # an answer that Wikidata has no label for
FRESHQA_DATE = re.compile(r"(\d\d)_?(\d\d)_?(20\d\d)")  # month, day, year
UNDATED_FILE = "the date of its snapshot is not in its name or folder"


def read_pat_questions(collector: BenchmarkCollector) -> None:
    """The single-hop questions of each snapshot as a stream, its multi-hop questions as probes.

    A file is one object, {question: {"question", "subject": {"subLabel"}, "text answers",
    "relations"}}, in a folder named after its snapshot. The first snapshot becomes base facts.
    """
    known: dict[str, list[str]] = {}
    for day, row in _iter_snapshots(collector, "single", "stream"):
        question, answers, labels = _parse_question(collector, row, "stream")
        if answers and known.get(question) == answers:
            collector.drop("stream", "the answer of the snapshot before")
        elif collector.add_prompt("stream", question, answers, date=day, **labels):
            known[question] = answers
    collector.split_first()
    days = [row["date"] for row in collector.tables["stream"]] or [""]
    for day, row in _iter_snapshots(collector, "multi", "probes/multi_hop"):
        if day < min(days):
            collector.drop("probes/multi_hop", "of the first snapshot, before the stream")
            continue
        question, answers, labels = _parse_question(collector, row, "probes/multi_hop")
        when = min(day, max(days))
        collector.add_prompt("probes/multi_hop", question, answers, period=when, **labels)
    collector.notes.append(
        "A question has the first day of its snapshot's month as its date. `multi_hop` is only "
        "evaluated."
    )


def _iter_snapshots(
    collector: BenchmarkCollector, kind: str, table: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The month and the rows of all snapshots, the earliest first."""
    files = collector.find_files(f"*{kind}*hop*.json", needed=kind == "single")
    for file in sorted(files, key=_snapshot_date):
        for row in read_json_object(file).values():
            if isinstance(row, dict):
                yield _snapshot_date(file), row
            else:
                collector.drop(table, "a question without its fields")


def _parse_question(
    collector: BenchmarkCollector, row: dict[str, Any], table: str
) -> tuple[str, list[str], dict[str, str]]:
    """The question of a row, its answers with a label, and its subject and relations."""
    answers = flat_texts(collector, table, row.get("text answers"))
    labels = {
        "subject": text_at(row, "subject", "subLabel"),
        "relation": " ".join(flat_texts(collector, table, row.get("relations"))),
    }
    named = [text for text in answers if not text.startswith(NO_LABEL)]
    return text_at(row, "question"), named, {n: text for n, text in labels.items() if text}


def _snapshot_date(file: Path) -> str:
    """The month of a snapshot, from its folder or name. Raises DataError without one."""
    for part in (file.name, file.parent.name):
        if (found := SNAPSHOT.search(part)) and found[1].lower() in MONTHS:
            return f"{found[2]}-{MONTHS.index(found[1].lower()) + 1:02}"
    raise DataError(f"{file}: {UNDATED_FILE}.", hint="A folder is named Dec2023 or March2024.")


def read_realtimeqa(collector: BenchmarkCollector) -> None:
    """The weekly questions, whose answer is the right choice; the other choices are distractors.

    `20200103_qa.jsonl` has question_sentence, question_date, choices and the number of the right
    one (`answer`). Files of the setting "none of the above" (`_nota`) are not read.
    """
    for file in collector.find_files("????????_qa.jsonl", "*_qa.jsonl"):
        for row in read_table(file, require=["question_sentence", "choices", "answer"]):
            choices = collector.texts("stream", row.get("choices"))
            number = next(iter(flat_texts(collector, "stream", row.get("answer"))), "")
            if not number.isdecimal() or int(number) >= len(choices):
                collector.drop("stream", "an answer that is the number of no choice")
                continue
            if not (day := _read_date(collector, row.get("question_date"))):
                continue
            right = choices[int(number)]
            wrong = [choice for choice in choices if choice != right]
            prompt, case = row.get("question_sentence"), text_at(row, "question_id")
            more = {"case_id": case} if case else {}
            if collector.add_prompt("stream", prompt, right, date=day, **more):
                collector.add_prompt(
                    "probes/new", prompt, right, period=day, distractors=wrong, **more
                )
    collector.note_unread("*_qa_nota.jsonl", "*_qa.jsonl")
    collector.notes.append(
        "Multiple choice: `success` is the share of questions whose right choice is the likeliest "
        "one, per token."
    )


def read_freshqa(collector: BenchmarkCollector) -> None:
    """Weekly editions of the spreadsheet as a stream; questions with a false premise are probes.

    An edition is a CSV file with its date in its name (`FreshQA_v05132024.csv`, month first), else
    --date. Two lines before its header are skipped. `answer_0` is the answer, `answer_1` to
    `answer_9` are others that count.
    """
    for file in sorted(collector.find_files("*freshqa*.csv", "*.csv"), key=_edition_key):
        day = _edition_date(file) or collector.date
        for row in _read_sheet(file):
            answers = [text for i in range(10) if (text := (row.get(f"answer_{i}") or "").strip())]
            question = (row.get("question") or "").strip()
            label = {"relation": row["fact_type"]} if row.get("fact_type") else {}
            if (row.get("false_premise") or "").strip().upper() == "TRUE":
                collector.add_prompt("probes/keep_false_premise", question, answers, **label)
            elif answers:
                more = {"aliases": answers[1:]} if answers[1:] else {}
                collector.add_prompt("stream", question, answers[0], date=day, **more, **label)
            else:
                collector.drop("stream", "a question without an answer")
    collector.split_first()
    collector.notes += [
        "`keep_false_premise` has the questions with a false premise, which are never trained on. "
        "Their answers are corrections. `relation` is the fact type: never-, slow-, fast-changing.",
        "FreshEval, the authors' metric, is a judgment by a language model. `contains` is the "
        "share of answers that contain a reference answer.",
    ]


def _read_sheet(file: Path) -> Iterator[dict[str, str]]:
    """The rows of an edition, from its header on. Raises DataError without one."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        header = next((row for row in rows if "question" in row), None)
        if header is None:
            raise DataError(f"{file} has no column 'question'.")
        for row in rows:
            if any(row):
                yield dict(zip(header, row, strict=False))


def _edition_date(file: Path) -> str:
    found = FRESHQA_DATE.search(file.name)
    return f"{found[3]}-{found[1]}-{found[2]}" if found else ""


def _edition_key(file: Path) -> tuple[str, str]:
    return _edition_date(file), file.name


def read_situatedqa(collector: BenchmarkCollector) -> None:
    """The temporal part: a question has an answer from each date on.

    `temp.{train,dev,test}.jsonl` has question, date (a year, or "December 13, 1999"), answer and
    `edited_question` (with "as of ..."). All splits are one stream of plain questions.
    """
    for file in collector.find_files("temp.*.jsonl"):
        for row in read_table(file, require=["question", "date", "answer"]):
            if not (day := _read_date(collector, row.get("date"))):
                continue
            answers = [*dict.fromkeys(collector.texts("stream", row.get("answer")))]
            more = {"relation": kind} if (kind := text_at(row, "date_type")) else {}
            collector.add_prompt("stream", row.get("question"), answers, date=day, **more)
    collector.note_unread("geo.*.jsonl")
    collector.notes.append(
        "The stream has the plain questions, with the dates of their contexts; train, dev and test "
        "are one stream. `relation` is how the authors sampled the date."
    )


def _read_date(collector: BenchmarkCollector, value: Any) -> str:
    """The date of a row; "" for an unreadable one, which is counted."""
    try:
        return normalize_date(value, DayOrder())
    except ValueError as error:
        collector.drop("stream", str(error))
        return ""


def read_streamingqa(collector: BenchmarkCollector) -> None:
    """The questions of train and valid as a stream, those of eval as probes.

    `streaminqa_{train,valid,eval}.jsonl` (as it is spelled) has question, answers,
    answers_additional, evidence_ts (seconds since 1970: the article's date), recent_or_past. The
    articles are not in the files.
    """
    for split in ("train", "valid", "eval"):
        names = (f"*_{split}.jsonl*", f"*{split}*.jsonl*")
        for file in collector.find_files(*names, needed=split == "train"):
            for row in read_table(file, require=["question", "answers", "evidence_ts"]):
                _add_news_question(collector, row, is_taught=split != "eval")
    collector.notes += [
        "A question has the date of the article that answers it. The articles are not in the "
        "files: `learn_recent` and `learn_past`, the questions of eval, can only be answered by a "
        "model that has read them.",
    ]


def _add_news_question(
    collector: BenchmarkCollector, row: dict[str, Any], *, is_taught: bool
) -> None:
    seconds = row.get("evidence_ts")
    if not isinstance(seconds, int | float):
        collector.drop("stream", "no date (evidence_ts)")
        return
    day = datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()
    answers = [*dict.fromkeys(collector.texts("stream", row.get("answers")))]
    if is_taught:
        more = {"aliases": answers[1:]} if answers[1:] else {}
        collector.add_prompt("stream", row.get("question"), answers[:1], date=day, **more)
        return
    answers += flat_texts(collector, "probes/eval", row.get("answers_additional"))
    kind = "past" if text_at(row, "recent_or_past") == "past" else "recent"
    collector.add_prompt(f"probes/learn_{kind}", row.get("question"), answers)


PAT_QUESTIONS = Benchmark(
    KNOWN_DATASETS["pat_questions"],
    "its repository states none; its facts are Wikidata's, which are CC0",
    "",
    read_pat_questions,
)
REALTIMEQA = Benchmark(
    KNOWN_DATASETS["realtimeqa"],
    "its repository states none; the questions are those of news sites",
    "",
    read_realtimeqa,
)
FRESHQA = Benchmark(
    KNOWN_DATASETS["freshqa"],
    "Apache-2.0, LICENSE of freshllms/freshqa",
    "2024-05-13",
    read_freshqa,
)
SITUATEDQA = Benchmark(
    KNOWN_DATASETS["situatedqa"],
    "its repository states none; its questions are those of Natural Questions and others",
    "",
    read_situatedqa,
)
STREAMINGQA = Benchmark(
    KNOWN_DATASETS["streamingqa"],
    "CC BY 4.0, of the README of google-deepmind/streamingqa",
    "",
    read_streamingqa,
)
