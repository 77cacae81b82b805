"""`fki compare`: all runs side by side: learned, kept, forgotten, cost."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from fki.commands._options import Json
from fki.commands._show import NONE, Show, duration, new_table, number, parameters

if TYPE_CHECKING:
    from fki.engine.comparer import Line

SETS = ("invariant", "initial", "updated", "new", "paraphrase")


def compare(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders of runs, or runs.")] = None,
    as_json: Json = False,
) -> None:
    """Put runs side by side: what they learned, kept, forgot and cost."""
    from fki.engine.comparer import compare as compare_runs

    show = Show(as_json=as_json)
    found = compare_runs(folders or [Path("runs")])
    numbers = (*SETS, "gain", "forgot", "FUAR", "trains", "time")
    table = new_table("run", *numbers, title="Exact match after the stream, %", numbers=numbers)
    for line in sorted(found.lines, key=lambda line: (line.fair_with, line.method, line.seed)):
        table.add_row(
            escape(_name(line)),
            *(_after(line, name) for name in SETS),
            number(line.learning_gain),
            number(line.forgetting),
            number(line.fuar, 2),
            parameters(line.trainable),
            duration(line.train_seconds),
        )
        show.data(**asdict(line))
    if found.lines:
        show.table(table)
    for folder, reason in found.skipped.items():
        show.note(f"Left out: {folder}: {reason}")
        show.data(skipped=folder, reason=reason)
    if found.differing > 1:
        show.note(
            f"These are {found.differing} groups of runs that differ in data, version, base model "
            "or the questions asked: compare within a group only."
        )


def _name(line: "Line") -> str:
    state = "" if line.status == "done" else f" ({line.status})"
    return f"{line.method} {line.version} seed {line.seed}{state}\n  {line.run}"


def _after(line: "Line", name: str) -> str:
    scores: dict[str, Any] = line.probe_sets.get(name, {}).get("em", {})
    return number(scores.get("after")) if scores else NONE
