"""Single, batch and sequential edits of facts that the model knows, by method.

    python -m benchmarks.editing runs/editing [--model llama-mini] [--edits 50] [--alone]

The edits are made up in the manner of CounterFact (Meng et al., 2022), from base facts of `wiki`:
the new answer is another one of the same relation, the paraphrase is a wording that no training
has seen, and the neighbors are facts of the same relation with the same true answer. `known facts`
are base facts that are neither edited nor asked, for replay. With `--alone`, the single edits are
repeated by runs that have one edit each, whose answers must be equal.
"""

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.grid import GridRun, run_all
from fki import load_dataset
from fki.core.types import Fact
from fki.data.prompts import question_text

NEIGHBORS = 5  # of an edit, at most
KNOWN = 500  # base facts to replay
SEED = 0  # of the choice of edits
STEPS = ("--set", "num_train_epochs=25", "--set", "train_batch_size=1")
MODES = {  # what each protocol adds
    "single": ("--version", "edits:1", "--set", "reset=base", *STEPS),
    "batch": ("--version", "edits:all"),
    "sequential": ("--version", "edits:1", *STEPS),
}
METHODS = {  # options of `fki train`
    "vanilla": (),
    "lora": ("--method", "lora"),
    "recadam": ("--method", "recadam"),
    "prioritized": ("--set", "replay=prioritized"),
    "prioritized, known facts": ("--set", "replay=prioritized"),
}


def make_edits(number: int) -> list[dict[str, Any]]:
    """Edits with their probes, from base facts with one answer and a held-out wording."""
    facts = [f for f in load_dataset("wiki").base if len(f.objects) == 1 and len(f.wordings) > 2]
    by_relation: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_relation[fact.relation].append(fact)
    rng = random.Random(SEED)
    edits: list[dict[str, Any]] = []
    for fact in rng.sample(facts, len(facts)):
        same = [f for f in by_relation[fact.relation] if f.subject != fact.subject]
        others = sorted({f.objects[0] for f in same} - {*fact.objects})
        near = [f for f in same if f.objects == fact.objects]
        if others and near:
            edits.append(_make_edit(str(len(edits)), fact, rng.choice(others), near, rng))
        if len(edits) == number:
            break
    return edits


def _make_edit(
    case: str, fact: Fact, new: str, near: list[Fact], rng: random.Random
) -> dict[str, Any]:
    [old] = fact.objects
    prompt = question_text(fact.wordings[0], fact.subject)
    label = {"case_id": case, "subject": fact.subject}
    neighbors = rng.sample(near, min(NEIGHBORS, len(near)))
    return {
        "base": [{"prompt": prompt, "target": old, "date": "2022-01-01"}],
        "stream": [{"prompt": prompt, "target": new, **label}],
        "probes/paraphrase": [
            {
                "prompt": question_text(fact.wordings[1], fact.subject),
                "answers": [new],
                "distractors": [old],
                "period": "all",
                **label,
            }
        ],
        "probes/neighborhood": [
            {
                "prompt": question_text(other.wordings[0], other.subject),
                "answers": [old],
                "distractors": [new],
                **label,
            }
            for other in neighbors
        ],
    }


def choose_known(edits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of base facts whose questions no edit and no probe of it asks."""
    asked = {row["prompt"] for edit in edits for rows in edit.values() for row in rows}
    facts = [f for f in load_dataset("wiki").base if len(f.objects) == 1]
    rows = [
        {
            "prompt": question_text(fact.wordings[0], fact.subject),
            "target": fact.objects[0],
            "date": "2022-01-01",
        }
        for fact in random.Random(SEED).sample(facts, len(facts))
    ]
    return [row for row in rows if row["prompt"] not in asked][:KNOWN]


def write_dataset(folder: Path, edits: list[dict[str, Any]]) -> Path:
    """A dataset folder of these edits."""
    tables: dict[str, list[Any]] = defaultdict(list)
    for edit in edits:
        for name, rows in edit.items():
            tables[name] += rows
    for name, rows in tables.items():
        file = folder / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        file.write_text("".join(lines), encoding="utf-8")
    return folder


def read_answers(run: GridRun) -> dict[str, dict[str, Any]]:
    """What a run answered right after training, by case, probe set and question."""
    folder = run.folder
    lines = (folder / "probes.jsonl").read_text(encoding="utf-8").splitlines()
    probes = {p["id"]: (p["case"], p["source"]) for p in map(json.loads, lines)}
    answers = {}
    for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row.pop("after") != "base":
            case, source = probes[row.pop("id")]
            answers[f"{case}|{row['probe_set']}|{source}"] = row
    return answers


def format_row(mode: str, method: str, run: GridRun) -> str:
    """A row of the table, of scores at the end."""
    summary = json.loads((run.folder / "scores.json").read_text(encoding="utf-8"))["summary"]
    sets = summary["probe_sets"]
    cells = [mode, method]
    for name in ("updated", "paraphrase", "neighborhood"):
        cells += [f"{sets[name][key]['after']:.1f}" for key in ("success", "magnitude")]
    cells.append(f"{summary['edit_score']:.1f}")
    cells += [f"{sets[name]['em']['after']:.1f}" for name in ("updated", "paraphrase")]
    kept = sets["neighborhood"]
    cells += [f"{kept[key]['after']:.1f}" for key in ("same_answer", "same_tokens")]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Execute the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="llama-mini")
    parser.add_argument("--preset", default="causal_vanilla", help="of the base settings")
    parser.add_argument("--edits", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--alone", action="store_true", help="repeat the single edits of vanilla")
    options = parser.parse_args()
    edits = make_edits(options.edits)
    data = write_dataset(options.folder / "data", edits)
    known = write_dataset(options.folder / "known", [*edits, {"base": choose_known(edits)}])
    shared = ("--preset", options.preset, "--model", options.model, "--seed", "0")
    runs = {
        (mode, method): GridRun(
            options.folder / f"{mode}-{method.replace(', ', '-').replace(' ', '_')}",
            (*shared, "--dataset", str(known if "known" in method else data), *how, *more),
        )
        for mode, how in MODES.items()
        for method, more in METHODS.items()
    }
    run_all([*runs.values()], options.jobs)
    heads = ["edits", "method", "ES", "EM (magnitude)", "PS", "PM", "NS", "NM", "S"]
    heads += ["edited, exact match", "paraphrase, exact match", "same answer", "same tokens"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for (mode, method), run in runs.items():
        print(format_row(mode, method, run))
    if options.alone:
        alone = {}
        for number, edit in enumerate(edits):
            one = write_dataset(options.folder / "one" / str(number), [edit])
            where = options.folder / "alone" / str(number)
            alone[number] = GridRun(where, (*shared, "--dataset", str(one), *MODES["single"]))
        run_all([*alone.values()], options.jobs)
        found = {key: row for run in alone.values() for key, row in read_answers(run).items()}
        expected = read_answers(runs["single", "vanilla"])
        equal = sum(found.get(key) == row for key, row in expected.items())
        print(f"\n{equal} of {len(expected)} answers equal those of {len(edits)} runs of one edit.")


if __name__ == "__main__":
    main()
