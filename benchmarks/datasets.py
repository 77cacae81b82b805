"""Try prioritized replay as it stands on five datasets that its preset was not tuned on.

    python -m benchmarks.datasets runs/datasets [--seed 0] [--jobs 2] [--only DATASET ...]

The datasets are `wiki` by month, by day (its first 100 days) and by year, a folder of a plant's
own facts, and the same facts as documents. The plant is synthetic, so the base model knows nothing
about it: its base facts are taught by replay alone.
"""

import argparse
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.grid import GridRun, load_scores, run_all

Row = dict[str, Any]

METHODS = ("vanilla", "prioritized")
WIKI = {
    "wiki, month": ("--version", "month"),
    "wiki, day": ("--version", "day", "--set", "max_periods=100"),
    "wiki, year": ("--version", "year"),
}
OWN = ("own facts", "own documents")
DATASETS = (*WIKI, *OWN)
PROBE_SETS = ("invariant", "initial", "updated", "new", "paraphrase", "cloze")
MACHINES, CHANGES, ADDED, MONTHS = 150, 40, 15, 6  # of the plant; changes and additions a month
WORDINGS = {
    "operator": ("[X] is operated by [Y].", "[Y] operates [X]."),
    "location": ("[X] stands in [Y].", "The place of [X] is [Y]."),
}
COLORS = ("amber", "blue", "coral", "gray", "green", "ivory", "olive", "red", "silver", "violet")
KINDS = ("Drill", "Furnace", "Lathe", "Mill", "Press", "Pump", "Saw", "Welder")


class Plant:
    """Machines, each with an operator and a location that may change."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.machines = [self.make_machine(number) for number in range(MACHINES)]
        self.state = {(m, r): self.draw(r) for m in self.machines for r in WORDINGS}
        self.base = [self.row(machine, relation) for machine, relation in self.state]

    def make_machine(self, number: int) -> str:
        """A name that no other machine has."""
        return f"{self.rng.choice(KINDS)} {chr(65 + number % 26)}{100 + number}"

    def draw(self, relation: str, old: str = "") -> str:
        """A random value that is not the old one."""
        while True:
            color, number = self.rng.choice(COLORS), self.rng.randint(1, 9)
            value = f"team {color} {number}" if relation == "operator" else f"hall {number} {color}"
            if value != old:
                return value

    def row(self, machine: str, relation: str, start: str = "2023-12-01") -> Row:
        """The fact that holds now."""
        value = self.state[machine, relation]
        return {"subject": machine, "relation": relation, "object": value, "start": start}

    def iter_month(self, month: int) -> Iterator[Row]:
        """The changes of a month, and the facts of new machines."""
        changed = self.rng.sample([*self.state], CHANGES)
        for _ in range(ADDED):
            machine = self.make_machine(len(self.machines))
            self.machines.append(machine)
            changed += [(machine, relation) for relation in WORDINGS]
        for machine, relation in changed:
            old = self.state.get((machine, relation), "")
            self.state[machine, relation] = self.draw(relation, old)
            yield self.row(machine, relation, f"2024-{month:02}-{self.rng.randint(1, 28):02}")


def write_folder(folder: Path, *, as_documents: bool, seed: int) -> None:
    """Write the plant's folder, with its changes as facts or as documents."""
    plant = Plant(seed)
    changes = [row for month in range(1, MONTHS + 1) for row in plant.iter_month(month)]
    folder.mkdir(parents=True, exist_ok=True)
    relations = {name: {"wordings": [*wordings]} for name, wordings in WORDINGS.items()}
    (folder / "relations.json").write_text(json.dumps(relations), encoding="utf-8")
    write_rows(folder / "base.jsonl", plant.base)
    stream = [*map(make_document, changes)] if as_documents else changes
    write_rows(folder / "stream.jsonl", stream)
    if as_documents:
        write_rows(folder / "probes" / "updated.jsonl", map(make_probe, changes))


def make_document(row: Row) -> Row:
    """A notice that states a fact."""
    text = WORDINGS[row["relation"]][0].replace("[X]", row["subject"])
    sentence = text.replace("[Y]", row["object"])
    return {
        "text": f"Notice of {row['start']} about {row['subject']}. From today on, {sentence} "
        f"Whoever needs the machine asks there for {row['object']}.",
        "date": row["start"],
    }


def make_probe(row: Row) -> Row:
    """The question for a fact, in the month of its notice."""
    wording = WORDINGS[row["relation"]][0].replace("[X]", row["subject"])
    prompt = wording.replace("[Y]", "___")
    return {"prompt": prompt, "target": row["object"], "period": row["start"][:7]}


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object per line."""
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_options(dataset: str, folder: Path) -> tuple[str, ...]:
    """The options of `fki train` that choose the dataset."""
    if dataset in WIKI:
        return WIKI[dataset]
    return ("--dataset", str(folder / dataset.replace(" ", "_")), "--version", "month")


def main() -> None:
    """Execute the missing runs and print a table for each dataset."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--only", nargs="+", default=[*DATASETS], choices=DATASETS)
    options = parser.parse_args()
    for name in OWN:
        data = options.folder.absolute() / name.replace(" ", "_")
        write_folder(data, as_documents=name == "own documents", seed=options.seed)
    runs = {
        (dataset, method): GridRun(
            options.folder / f"{dataset.replace(', ', '-').replace(' ', '_')}-{method}",
            (
                "--preset",
                f"t5_{method}",
                *make_options(dataset, options.folder.absolute()),
                "--seed",
                str(options.seed),
            ),
        )
        for dataset in options.only
        for method in METHODS
    }
    run_all([*runs.values()], options.jobs)
    for dataset in options.only:
        print(f"\n{dataset}\n")
        print_table({method: load_scores(runs[dataset, method]) for method in METHODS})


def print_table(results: dict[str, Row]) -> None:
    """Print a row for each method: exact match in percent, gain, forgetting and operations."""
    names = [n for n in PROBE_SETS if any(n in r["probe_sets"] for r in results.values())]
    print(f"| method | {' | '.join(names)} | learning gain | forgetting | operations |")
    print("|---" * (len(names) + 4) + "|")
    flops = results["vanilla"]["spent"]["flops"]
    for method, scores in results.items():
        cells = [format_scores(scores["probe_sets"][name]["em"]) for name in names]
        cells += [format_number(scores[key]) for key in ("learning_gain", "forgetting")]
        cost = f"{scores['spent']['flops'] / flops:.2f}"
        print(f"| {method} | {' | '.join(cells)} | {cost} |")


def format_scores(em: dict[str, float | None]) -> str:
    """Before training, right after learning, and at the end, as far as they exist."""
    found = [em[when] for when in ("before", "learned", "after")]
    return " → ".join(format_number(value) for value in found if value is not None)


def format_number(value: float | None) -> str:
    """One decimal, or a dash."""
    return "-" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    main()
