"""The tables of results that `train` and `eval` end with."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.table import Table

from fki.commands._console import make_table
from fki.core.formatting import UNDEFINED, format_duration, format_number

if TYPE_CHECKING:
    from fki.core.types import Score

STREAM = (
    ("learning_gain", "learning gain", "EM gained on a period by learning it", 1),
    ("forgetting", "forgetting", "EM lost since a period's best, mean of the earlier ones", 1),
    ("bwt", "BWT", "backward transfer: later learning's effect on earlier periods", 1),
    ("fwt", "FWT", "forward transfer: earlier learning's effect on later periods", 1),
    ("fuar", "FUAR", "kept facts lost for each fact gained; lower is better", 2),
)


def probe_table(summary: dict[str, Any], *, trained: bool) -> Table:
    """Exact match per probe set; where something was trained, before the stream, right after each
    period was learned, and after the stream. Perplexity and the old answer are those at the end."""
    columns = ["before", "learned", "after", "change"] if trained else ["EM", "F1", "accuracy"]
    table = make_table(
        "probe set",
        "probes",
        *columns,
        "perplexity",
        "old answer",
        title="Exact match, %" if trained else None,
        numbers=("probes", *columns, "perplexity", "old answer"),
    )
    for name, row in summary["probe_sets"].items():
        em = row["em"]
        if trained:
            cells = [*(format_number(em[key]) for key in columns[:3]), _difference(em)]
        else:
            cells = [format_number(row[field]["after"]) for field in ("em", "f1", "accuracy")]
        table.add_row(
            name,
            format_number(row["n"], 0),
            *cells,
            format_number(row["perplexity"]["after"], 2),
            format_number(row["old_em"]["after"]),
        )
    return table


def near_tie_notes(scores: Iterable["Score"]) -> list[str]:
    """What to say of answers that rounding might have changed; nothing where there are none."""
    found = sum(score.near_ties for score in scores)
    if not found:
        return []
    some = "One answer was a near-tie" if found == 1 else f"{found:,} answers were near-ties"
    return [f"{some}: another batch size or machine may answer otherwise."]


def _difference(pair: dict[str, float | None]) -> str:
    before, after = pair["before"], pair["after"]
    return (
        UNDEFINED if before is None or after is None else format_number(after - before, sign=True)
    )


def stream_table(summary: dict[str, Any], spent: dict[str, float]) -> Table:
    """The stream metrics, and what they cost."""
    table = make_table("over the stream", "value", "what it says", numbers=("value",))
    for key, name, meaning, digits in STREAM:
        value = format_number(summary[key], digits)
        has_kept = any(name in summary["probe_sets"] for name in ("invariant", "initial"))
        is_undefined = key == "fuar" and value == UNDEFINED and has_kept
        table.add_row(name, "no gain" if is_undefined else value, meaning)
    rate = spent["examples"] / spent["train_seconds"] if spent["train_seconds"] else None
    table.add_row(
        "training", format_duration(spent["train_seconds"]), f"{format_number(rate, 0)} examples/s"
    )
    table.add_row(
        "scoring", format_duration(spent["eval_seconds"]), "every answer is in samples.jsonl"
    )
    return table
