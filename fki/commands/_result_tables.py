"""The tables of results at the end of `fki train` and `fki eval`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.table import Table

from fki.commands._console import make_table
from fki.core.formatting import UNDEFINED, format_duration, format_number

if TYPE_CHECKING:
    from fki.core.types import Score


def probe_table(summary: dict[str, Any], *, trained: bool) -> Table:
    """The scores of each probe set.

    Args:
        trained: show exact match before the stream, right after each period was learned, and after
            the stream, instead of exact match, F1 and accuracy. Perplexity and the old answer are
            those at the end in either case.
    """
    from fki.metrics.registry import BY_FIELD, EM

    moments = ("before", "learned", "after")
    fields = [BY_FIELD[key] for key in ("em", "f1", "accuracy")]
    at_end = [BY_FIELD[key] for key in ("perplexity", "old_em")]
    heads = [*moments, "change"] if trained else [f"{metric.short}, %" for metric in fields]
    ends = [f"{metric.label}, %" if metric.unit else metric.label for metric in at_end]
    table = make_table(
        "probe set",
        "probes",
        *heads,
        *ends,
        title=f"{EM.label[0].upper()}{EM.label[1:]}, %" if trained else None,
        numbers=("probes", *heads, *ends),
    )
    for name, row in summary["probe_sets"].items():
        em = row["em"]
        if trained:
            cells = [*(format_number(em[moment]) for moment in moments), _change(em)]
        else:
            cells = [format_number(row[m.key]["after"], m.digits) for m in fields]
        cells += [format_number(row[m.key]["after"], m.digits) for m in at_end]
        table.add_row(name, format_number(row["n"], 0), *cells)
    return table


def _change(by_moment: dict[str, float | None]) -> str:
    before, after = by_moment["before"], by_moment["after"]
    if before is None or after is None:
        return UNDEFINED
    return format_number(after - before, sign=True)


def near_tie_notes(scores: Iterable["Score"]) -> list[str]:
    """A note on the near-ties among the answers; none where there are none."""
    count = sum(score.near_ties for score in scores)
    if not count:
        return []
    answers = "One answer is a near-tie" if count == 1 else f"{count:,} answers are near-ties"
    return [f"{answers}: another batch size or machine may give another answer."]


def stream_table(summary: dict[str, Any], spent: dict[str, float]) -> Table:
    """The stream metrics, and the time that training and evaluation took."""
    from fki.metrics.registry import STREAM_METRICS

    table = make_table("over the stream", "value", "description", numbers=("value",))
    has_kept = any(name in summary["probe_sets"] for name in ("invariant", "initial"))
    for metric in STREAM_METRICS:
        value = format_number(summary[metric.key], metric.digits)
        if metric.key == "fuar" and value == UNDEFINED and has_kept:
            value = "no gain"
        table.add_row(metric.label, value, metric.describe())
    rate = spent["examples"] / spent["train_seconds"] if spent["train_seconds"] else None
    seconds = format_duration(spent["train_seconds"])
    table.add_row("training", seconds, f"{format_number(rate, 0)} examples/s")
    seconds = format_duration(spent["eval_seconds"])
    table.add_row("evaluation", seconds, "every answer is in samples.jsonl")
    return table
