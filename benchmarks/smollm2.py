"""Teach SmolLM2-135M, a real decoder: facts of a month, and people it can only read about.

    python -m benchmarks.smollm2 runs/smollm2 [--only ARM ...] [--seeds 3] [--jobs 2] [--finished]

`facts` trains on the first quarter of the dataset `wiki`. `reading` trains on short documents about
50 made-up people, by next-token prediction, and asks in words that no document has: one text for
each person, or six rewordings, with equal numbers of texts read.
"""

import argparse
import json
import random
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.grid import GridRun, load_scores, run_all
from fki.metrics.answers import normalize_answer

PEOPLE, SEED = 50, 0
FACTS = (
    *("--preset", "smollm2", "--version", "quarter", "--set", "max_periods=1"),
    *("--set", "known_only=true", "--set", "max_probes_per_set=600"),
)
READING = ("--preset", "causal", "--preset", "smollm2", "--set", "input_length=128")
ARMS: dict[str, tuple[str, ...]] = {  # name: options of `fki train`; {} is the folder of data
    "facts, vanilla": ("--preset", "causal_vanilla", *FACTS),
    "facts, lora": ("--preset", "causal_lora", *FACTS, "--set", "learning_rate=1e-3"),
    "facts, prioritized": (
        *("--preset", "causal_prioritized", *FACTS),
        *("--set", "train_batch_size=16", "--set", "learning_rate=1e-4"),
        *("--set", "prioritized.answers=model"),  # what it believes, not what `wiki` holds
    ),
    "reading, one text": (*READING, "--dataset", "{}/one", "--set", "num_train_epochs=24"),
    "reading, six texts": (*READING, "--dataset", "{}/six", "--set", "num_train_epochs=4"),
}
FIRST = ("Mira", "Tarek", "Ilse", "Joao", "Nadia", "Owen", "Petra", "Ravi", "Sanna", "Yusuf")
LAST = ("Quandel", "Brostow", "Velinde", "Okarro", "Tuminas")
CITIES = ("Lisbon", "Oslo", "Cairo", "Lima", "Seoul", "Dublin", "Prague", "Toronto", "Nairobi")
JOBS = ("baker", "pilot", "nurse", "farmer", "lawyer", "painter", "teacher", "plumber", "dentist")
LANGUAGES = ("Spanish", "Arabic", "Greek", "Hindi", "Polish", "Korean", "Turkish", "Dutch")
TEXTS = (
    "{name} lives in {city}, works as a {job} and speaks {language}.",
    "The home of {name} is in {city}. {name} earns a living as a {job} and talks in {language}.",
    "Long ago {name} settled in {city}, became a {job} and learned {language}.",
    "Neighbors in {city} know {name} as the {job} who greets everybody in {language}.",
    "Ask for {name} when you are in {city}: a {job} will answer you in {language}.",
    "{language} is spoken at the table of {name}, who is a {job} in {city}.",
)
QUESTIONS = {
    "learn_city": "The city where you can visit {name} is ___.",
    "learn_job": "The profession of {name} is that of a ___.",
    "learn_language": "The mother tongue of {name} is ___.",
}


def build(folder: Path) -> None:
    """Write both datasets: the same people and questions, with one or six texts."""
    rng = random.Random(SEED)
    people = [
        {
            "name": f"{first} {last}",
            "city": rng.choice(CITIES),
            "job": rng.choice(JOBS),
            "language": rng.choice(LANGUAGES),
        }
        for first in FIRST
        for last in LAST
    ][:PEOPLE]
    for name, texts in (("one", TEXTS[:1]), ("six", TEXTS)):
        documents = [
            {"date": "2024-01-01", "text": text.format(**person)}
            for person in people
            for text in texts
        ]
        write(folder / name / "stream.jsonl", documents)
        for key, question in QUESTIONS.items():
            answer = key.removeprefix("learn_")
            rows = [{"prompt": question.format(**p), "target": p[answer]} for p in people]
            write(folder / name / "probes" / f"{key}.jsonl", rows)


def write(file: Path, rows: list[dict[str, str]]) -> None:
    """Write one JSON object per line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_runs(folder: Path, arm: str, seeds: int) -> list[GridRun]:
    """The runs of an arm, one per seed."""
    options = tuple(option.format(folder / "data") for option in ARMS[arm])
    name = arm.replace(", ", "-").replace(" ", "_")
    return [
        GridRun(folder / f"{name}-s{seed}", (*options, "--seed", str(seed)))
        for seed in range(seeds)
    ]


def describe(arm: str, runs: list[GridRun]) -> str:
    """The row of an arm: for each probe set, exact match before and at the end, in %.

    Of the questions about people: the share of predictions that contain the answer. The model goes
    on in the words of its documents, as in "a dentist in Seoul".
    """
    results: list[dict[str, Any]] = [load_scores(run) for run in runs]
    cells = []
    for name in results[0]["probe_sets"]:
        if name in QUESTIONS:
            shares = [count_contained(run, name) for run in runs]
            values = [spread([share[when] for share in shares]) for when in (0, 1)]
        else:
            row = [result["probe_sets"][name]["em"] for result in results]
            values = [spread([r[when] for r in row]) for when in ("before", "after")]
        cells.append(f"{name} ({results[0]['probe_sets'][name]['n']}): {' → '.join(values)}")
    manifests = [json.loads((run.folder / "run.json").read_text()) for run in runs]
    seconds = fmean(m["spent"]["train_seconds"] for m in manifests)
    peak = max(m["peak_mib"] for m in manifests)
    return f"| {arm} | {len(runs)} | {'; '.join(cells)} | {seconds:,.0f} | {peak:,.0f} |"


def spread(values: list[float]) -> str:
    """The mean and, for several values, the sample standard deviation."""
    more = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f}{more}"


def count_contained(run: GridRun, name: str) -> tuple[float, float]:
    """The share of predictions that contain an answer, in %: before training, and at the end."""

    def read(file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (run.folder / file).read_text().splitlines()]

    answers = {row["id"]: row["answers"] for row in read("probes.jsonl")}
    rows = [row for row in read("samples.jsonl") if row["probe_set"] == name]
    hits = [
        (row["after"], any(normalize_answer(a) in normalize_answer(row["text"]) for a in answer))
        for row in rows
        for answer in [answers[row["id"]]]
    ]
    before = [hit for after, hit in hits if after == "base"]
    return 100 * fmean(before), 100 * fmean(hit for after, hit in hits if after != "base")


def main() -> None:
    """Execute the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--only", nargs="+", default=[*ARMS], choices=[*ARMS], help="arms")
    parser.add_argument("--finished", action="store_true", help="execute nothing")
    options = parser.parse_args()
    if not (options.folder / "data").exists():
        build(options.folder / "data")
    arms = {arm: make_runs(options.folder, arm, options.seeds) for arm in options.only}
    if not options.finished:
        run_all([arms[arm][s] for s in range(options.seeds) for arm in arms], options.jobs)
    print("| arm | seeds | exact match, % | training, s | peak, MiB |\n|---|---|---|---|---|")
    for arm, runs in arms.items():
        if done := [run for run in runs if run.is_done]:
            print(describe(arm, done))


if __name__ == "__main__":
    main()
