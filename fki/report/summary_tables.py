"""The tables of one run's or one model's summary: probe sets, and the metrics of the stream."""

from collections.abc import Mapping
from typing import Any

from fki.core.formatting import UNDEFINED, format_duration, format_number
from fki.core.probe_sets import kept_probe_set
from fki.metrics.continual import explain_undefined
from fki.metrics.registry import BY_FIELD, EM, STREAM_METRICS
from fki.report.tables import Table

EDIT_SCORES, SAME = ("edit_score", "edit_score_by_case"), ("same_answer", "same_tokens")
RANKED = ("precision_at_1", "precision_at_10")
OF_EDITS = ("success", "same_answer", "case_em", "test_passed")  # a set with one is shown


def probe_set_table(summary: Mapping[str, Any], *, trained: bool) -> Table:
    """The scores of each probe set.

    Args:
        trained: show exact match before the stream, right after each period was learned, and after
            the stream, instead of exact match, F1 and accuracy. Perplexity and the old answer are
            those at the end in either case.
    """
    moments = ("before", "learned", "after")
    fields = [BY_FIELD[key] for key in ("em", "f1", "accuracy")]
    at_end = [BY_FIELD[key] for key in ("perplexity", "old_em")]
    heads = [*moments, "change"] if trained else [f"{metric.short}, %" for metric in fields]
    ends = [f"{metric.label}, %" if metric.unit else metric.label for metric in at_end]
    rows = []
    for name, row in summary["probe_sets"].items():
        em = row["em"]
        if trained:
            cells = [*(format_number(em[moment]) for moment in moments), _change(em)]
        else:
            cells = [format_number(row[m.key]["after"], m.digits) for m in fields]
        cells += [format_number(row[m.key]["after"], m.digits) for m in at_end]
        rows.append((name, format_number(row["n"], 0), *cells))
    head = ("probe set", "probes", *heads, *ends)
    title = f"{EM.label[0].upper()}{EM.label[1:]}, %" if trained else ""
    return Table.plain(title, head, rows, "l".ljust(len(head), "r"))


def special_tables(summary: Mapping[str, Any], *, trained: bool) -> list[Table]:
    """The scores of editing benchmarks, if the dataset is one, and those of ranked probe sets."""
    tables = (editing_table(summary, trained=trained), ranking_table(summary, trained=trained))
    return [table for table in tables if table]


def editing_table(summary: Mapping[str, Any], *, trained: bool) -> Table | None:
    """The scores of editing benchmarks; None for a dataset without distractors and cases.

    A metric that no probe set has is left out.

    Args:
        trained: show success before the stream, too.
    """
    sets = summary["probe_sets"]
    of_edits = [key for key in OF_EDITS if key not in SAME]
    if not any(_is_defined(row, key) for row in sets.values() for key in of_edits):
        return None
    shown = [n for n, row in sets.items() if any(_is_defined(row, key) for key in OF_EDITS)]
    metrics = [
        BY_FIELD[key]
        for key in ("magnitude", "token_accuracy", *SAME, "case_em", "test_passed")
        if any(_is_defined(sets[name], key) for name in shown)
    ]
    moments = ("before", "after") if trained else ("after",)
    rows = []
    for name in shown:
        row = sets[name]
        cells = [format_number(row["success"][moment]) for moment in moments]
        cells += [format_number(row.get(m.key, {}).get("after"), m.digits) for m in metrics]
        rows.append((name, format_number(row["n"], 0), *cells))
    success = ("success before", "after") if trained else ("success",)
    head = ("probe set", "probes", *success, *(m.label for m in metrics))
    title = "Likelihood of the answer against the distractor, and answers that stay, %"
    return Table.plain(title, head, rows, "l".ljust(len(head), "r"))


def ranking_table(summary: Mapping[str, Any], *, trained: bool) -> Table | None:
    """P@1, P@10 and exact match of ranked probe sets, as means over probes and over relations.

    None if no probe set is ranked.

    Args:
        trained: show P@1 before the stream, too.
    """
    sets = {n: row for n, row in summary["probe_sets"].items() if _is_defined(row, RANKED[0])}
    if not sets:
        return None
    rows = []
    for name, row in sets.items():
        cells = [format_number(row[RANKED[0]]["before"])] if trained else []
        for key in (*RANKED, EM.key):
            cells += [_at_end(row, key), _at_end(row, f"{key}_by_relation")]
        rows.append((name, format_number(row["n"], 0), *cells))
    before = ("P@1 before",) if trained else ()
    metrics = [text for key in (*RANKED, EM.key) for text in (BY_FIELD[key].short, "by relation")]
    head = ("probe set", "probes", *before, *metrics)
    title = "Rank of the right answer among candidates, %: over probes, and over relations"
    return Table.plain(title, head, rows, "l".ljust(len(head), "r"))


def _at_end(row: Mapping[str, Any], key: str) -> str:
    return format_number(row.get(key, {}).get("after"))


def _is_defined(row: Mapping[str, Any], key: str) -> bool:
    return row.get(key, {}).get("after") is not None


def _change(by_moment: Mapping[str, float | None]) -> str:
    before, after = by_moment["before"], by_moment["after"]
    if before is None or after is None:
        return UNDEFINED
    return format_number(after - before, sign=True)


def stream_table(summary: Mapping[str, Any], spent: Mapping[str, float]) -> Table:
    """The stream metrics, and the time that training and evaluation took."""
    rows = []
    before = _known_before(summary["probe_sets"])
    periods = len(summary.get("columns", ("",)))  # older summaries lack it; one was trained on
    for metric in STREAM_METRICS:
        value = format_number(summary.get(metric.key), metric.digits)  # older runs lack some
        if metric.key in EDIT_SCORES and value == UNDEFINED:
            continue  # of editing benchmarks alone
        if value == UNDEFINED:
            reason = explain_undefined(metric.key, before, periods)
            value = reason or UNDEFINED
        rows.append((metric.label, value, metric.describe()))
    rate = spent["examples"] / spent["train_seconds"] if spent["train_seconds"] else None
    seconds = format_duration(spent["train_seconds"])
    if spent.get("steps", 1):
        rows.append(("training", seconds, f"{format_number(rate, 0)} examples/s"))
    else:
        rows.append(("indexing", seconds, "of the facts so far; nothing was trained"))
    seconds = format_duration(spent["eval_seconds"])
    rows.append(("evaluation", seconds, "every answer is in samples.jsonl"))
    return Table.plain("", ("over the stream", "value", "description"), rows, "lrl")


def has_learned(spent: Mapping[str, float]) -> bool:
    """Did the run take in a period, by training on it or by indexing it?"""
    return spent["steps"] > 0 or spent.get("stream_tokens", 0) > 0


def _known_before(probe_sets: Mapping[str, Any]) -> float | None:
    """Exact match on kept probes before the stream; None without such probes."""
    kept = probe_sets.get(kept_probe_set(probe_sets))
    if kept is None:
        return None
    # Where an older summary lacks it, FUAR was undefined only without a gain, as for 100 %.
    before: float | None = kept.get("em", {}).get("before", 100.0)
    return before
