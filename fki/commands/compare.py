"""`fki compare`: all runs side by side: learned, kept, forgotten, cost."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from fki.commands._options import Json
from fki.commands._show import NONE, Show, duration, new_table, number

if TYPE_CHECKING:
    from fki.engine.comparer import Line

SETS = {
    "invariant": "inv",
    "initial": "init",
    "updated": "upd",
    "new": "new",
    "paraphrase": "para",
}
CLOZE = "cloze"  # a column, and a word in the legend, only where a run has read documents
LEGEND = (
    "inv, init: kept from before; upd, new: learned; para: learned facts in other words; "
    "gain: EM a period gained when learned; forgot: EM lost since; "
    "FUAR: kept facts lost per fact gained, lower is better"
)


def compare(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders of runs, or runs.")] = None,
    as_json: Json = False,
) -> None:
    """Put runs side by side: what they learned, kept, forgot and cost."""
    from fki.engine.comparer import compare as compare_runs

    show = Show(as_json=as_json)
    found = compare_runs(folders or [Path("runs")])
    has_cloze = any(CLOZE in line.probe_sets for line in found.lines)
    sets = SETS | ({CLOZE: CLOZE} if has_cloze else {})
    numbers = (*sets.values(), "gain", "forgot", "FUAR", "time")
    table = new_table("run", *numbers, title="Exact match after the stream, %", numbers=numbers)
    for line in sorted(found.lines, key=lambda line: (line.fair_with, line.method, line.seed)):
        table.add_row(
            escape(_name(line)),
            *(_after(line, name) for name in sets),
            number(line.learning_gain),
            number(line.forgetting),
            number(line.fuar, 2),
            duration(line.train_seconds),
        )
        show.data(**asdict(line))
    if found.lines:
        show.table(table)
        show.out.print(LEGEND + ("; cloze: told by documents" * has_cloze), style="dim")
    for folder, reason in found.skipped.items():
        show.note(f"Left out: {folder}: {reason}")
        show.data(skipped=folder, reason=reason)
    if found.differing > 1:
        show.note(
            f"These are {found.differing} groups of runs that differ in data, version, base model "
            "or the questions asked: compare within a group only."
        )


def _name(line: "Line") -> str:
    return line.run if line.status == "done" else f"{line.run} ({line.status})"


def _after(line: "Line", name: str) -> str:
    scores: dict[str, Any] = line.probe_sets.get(name, {}).get("em", {})
    return number(scores.get("after")) if scores else NONE
