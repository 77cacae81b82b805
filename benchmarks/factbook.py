"""Measure whether a model learns facts from documents: monthly changes of the CIA World Factbook.

    python benchmarks/factbook.py factbook_changes.jsonl.gz --output factbook

The file has one changed passage per line: `date, country, path, op, text, old`. The new text since
2023 becomes a dataset of documents. The facts of the dataset `wiki` about the same events (heads of
state and government, ambassadors) become probes, each in the month whose text first names its
answer. The embedded t5-mini trains on it twice: with random and with salient span corruption.
"""

import argparse
import gzip
import json
import random
import re
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from fki.core.paths import asset_folder
from fki.core.types import Fact
from fki.data.dataset_folder import read_folder, read_wordings
from fki.data.prompts import question_text

FIRST = "2023-01-01"
REFORMATTED = {"2025-10-07", "2026-01-21"}  # dates on which most changes are of format
MOVED_FROM = "2025-07-01"  # later additions are old passages under new headings
NEW_WORDS = 4  # fewer are a trivial change
LAG = 183  # days after a fact's start within which a text must name it
OBJECTIVES = ("span_corruption", "salient_spans")
SEED = 0


class Passage(NamedTuple):
    """The new text of a passage."""

    date: str
    country: str
    path: str
    text: str

    @property
    def month(self) -> str:
        return self.date[:7]


def passages(path: Path) -> Iterator[Passage]:
    """Yield the passages since 2023 whose wording changed, not only their format."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            is_moved = row["op"] == "add" and row["date"] >= MOVED_FROM
            if row["date"] < FIRST or row["date"] in REFORMATTED or is_moved:
                continue
            text = new_clauses(row["text"], row["old"] or "")
            fresh = words(text) - words(row["old"] or "")
            if min(len(fresh), len(text.split())) >= NEW_WORDS:
                yield Passage(row["date"], row["country"], row["path"], text)


def new_clauses(text: str, old: str) -> str:
    """The clauses of a passage that are not in the old one."""
    clauses = re.split(r"(?<=[;.!?])\s+", " ".join(text.split()))
    return " ".join(c for c in clauses if c.rstrip(";.") not in " ".join(old.split()))


def words(text: str) -> set[str]:
    """The normalized words of a text."""
    return set(normalize(text).split())


def normalize(text: str) -> str:
    """Lower-case words without accents; texts write LARBAOUI, and Gusmao for Gusmão."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    words = re.findall(r"\w+", "".join(c for c in letters if not unicodedata.combining(c)))
    return f" {' '.join(words)} "


def read_factbook_facts() -> list[Fact]:
    """Read the facts of `wiki` from the same source, in the base and in the stream."""
    stream = read_folder(asset_folder("wiki"), "month", "sentinel", name="wiki")
    facts = [*stream.base, *(f for period in stream.periods for f in period.facts)]
    return [f for f in facts if f.source == "cia-factbook"]


def name_countries(found: list[Passage], facts: Iterable[Fact]) -> dict[str, str]:
    """Map country codes to names: the country whose officials the code's passages name most.

    The clearest cases come first; no name is used twice, and at least two facts must match.
    """
    about: dict[str, list[str]] = defaultdict(list)
    for passage in found:
        about[passage.country].append(normalize(passage.text))
    texts = {code: "".join(parts) for code, parts in about.items()}
    votes = Counter(
        (code, fact.subject)
        for fact in facts
        for code, text in texts.items()
        if any(normalize(answer) in text for answer in fact.objects)
    )
    names: dict[str, str] = {}
    for (code, name), n in votes.most_common():
        if n >= 2 and code not in names and name not in names.values():
            names[code] = name
    return names


def select_passages(found: list[Passage], limit: int) -> list[Passage]:
    """Select passages up to a limit of words per month; passages on government come first."""
    order = found[:]
    random.Random(SEED).shuffle(order)
    order.sort(key=lambda p: (p.month, not p.path.startswith("Government")))
    taken, spent = [], Counter[str]()
    for passage in order:
        if spent[passage.month] < limit:
            spent[passage.month] += len(passage.text.split())
            taken.append(passage)
    return sorted(taken)


def make_probes(found: list[Passage], facts: list[Fact], names: dict[str, str]) -> Iterator[dict]:
    """Yield a probe per fact whose answer is named in a text of its country.

    The filters are TemporalWiki's: the answer has at most five words, and subject and answer do
    not contain each other.
    """
    wordings = read_wordings(asset_folder("wiki") / "relations.json")
    about: dict[str, list[Passage]] = defaultdict(list)
    for passage in found:
        about[names.get(passage.country, "")].append(passage)
    for fact in facts:
        if fact.start is None or fact.start.isoformat() < FIRST:
            continue
        [*named] = [
            (passage.date, answer)
            for passage in about[fact.subject]
            for answer in fact.objects
            if 0 <= (date.fromisoformat(passage.date) - fact.start).days <= LAG
            and normalize(answer) in normalize(passage.text)
        ]
        if not named:
            continue
        day, answer = min(named)
        contain_each_other = normalize(answer) in normalize(fact.subject) or normalize(
            fact.subject
        ) in normalize(answer)
        if len(answer.split()) <= 5 and not contain_each_other:
            source = question_text(wordings[fact.relation][0], fact.subject)
            yield {"prompt": source, "target": answer, "period": day[:7]}


def build(path: Path, folder: Path, limit: int) -> None:
    """Write the dataset: documents, probes, and the invariant facts of `wiki`."""
    everything, facts = list(passages(path)), read_factbook_facts()
    names = name_countries(everything, facts)
    taken = select_passages([p for p in everything if p.country in names], limit)
    documents = [
        {
            "text": p.text,
            "date": p.date,
            "id": f"{p.country}/{p.path}",
            "title": f"{names[p.country]}: {p.path.rpartition(' / ')[2]}",
        }
        for p in taken
    ]
    asked = list(make_probes(taken, facts, names))
    folder.mkdir(parents=True)
    write_lines(folder / "stream.jsonl", documents)
    write_lines(folder / "probes" / "updated.jsonl", asked)
    for name in ("invariant.jsonl", "relations.json"):
        (folder / name).write_bytes((asset_folder("wiki") / name).read_bytes())
    total = sum(len(p.text.split()) for p in taken)
    print(f"{len(documents):,} documents of {len(names)} countries, {total:,} words; ", end="")
    print(f"{len({p.month for p in taken})} months; {len(asked)} probes", flush=True)


def write_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line."""
    file.parent.mkdir(exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text(lines, encoding="utf-8")


def train(data: Path, run: Path, objective: str, epochs: int) -> dict[str, Any]:
    """Train a run. Returns its scores and costs."""
    settings = {
        "document_objective": objective,
        "num_train_epochs": epochs,
        "learning_rate": 1e-3,
        "output_length": 48,
        "max_probes_per_set": 200,
    }
    command = [sys.executable, "-m", "fki", "train", "--preset", "t5_vanilla"]
    command += ["--dataset", str(data), "--version", "month", "--output-dir", str(run)]
    command += [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]
    subprocess.run(command, check=True)
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))["summary"]
    spent = json.loads((run / "run.json").read_text(encoding="utf-8"))["spent"]
    return {"objective": objective, **scores, "spent": spent}


def table(results: list[dict[str, Any]]) -> str:
    """Before, right after each month was read, and after all of them."""
    rows = [("cloze", "em"), ("cloze", "perplexity"), ("updated", "em"), ("updated", "perplexity")]
    rows += [("invariant", "em")]
    lines = ["| objective | questions | score | before | learned | after |", "|---" * 6 + "|"]
    for result in results:
        for name, field in rows:
            pair = result["probe_sets"][name]
            numbers = (pair[field][when] for when in ("before", "learned", "after"))
            cells = " | ".join("-" if n is None else f"{n:,.1f}" for n in numbers)
            lines.append(f"| {result['objective']} | {name}, {pair['n']:,} | {field} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Build the dataset, train on it with both objectives and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="factbook_changes.jsonl.gz")
    parser.add_argument("--output", type=Path, default=Path("factbook"), help="a new folder")
    parser.add_argument("--words", type=int, default=6000, help="limit per month")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--only-data", action="store_true", help="build the dataset only")
    options = parser.parse_args()
    build(options.path, options.output / "data", options.words)
    if options.only_data:
        return
    results = [
        train(options.output / "data", options.output / name, name, options.epochs)
        for name in OBJECTIVES
    ]
    print(table(results))
    for result in results:
        spent = result["spent"]
        print(
            f"{result['objective']}: {spent['steps']:,} steps, {spent['tokens']:,} tokens, "
            f"{spent['train_seconds']:.0f} s training, {spent['eval_seconds']:.0f} s scoring"
        )


if __name__ == "__main__":
    main()
