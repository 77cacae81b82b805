"""The page of one run: what it learned and forgot, with single answers, and what to do next."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from fki.comparison.run_details import Change, Kind, RunDetails
from fki.comparison.types import Arm, Estimate, Group
from fki.config.schema import flatten
from fki.core.formatting import UNDEFINED, format_count, format_duration, format_number
from fki.core.probe_sets import describe
from fki.metrics.registry import EM, STREAM_METRICS, Metric, metric_key
from fki.report import figures, svg
from fki.report.heatmap import draw_heatmap
from fki.report.next_steps import suggest
from fki.report.page_template import render
from fki.report.run_findings import RunScores, describe_run
from fki.report.training_choice import format_tflop

KIND_NAMES: Mapping[Kind, str] = {
    "learned": "answers newly learned",
    "forgotten": "answers forgotten",
    "not learned": "answers never learned",
    "kept": "answers kept",
}
CHANGE_HEADS = ("probes", "before", "learned", "after")


class ScoreRow(NamedTuple):
    """Exact match on a probe set at three moments."""

    name: str
    meaning: str
    n: int
    before: Estimate
    learned: Estimate
    after: Estimate


def render_run(group: Group, info: Mapping[str, Any], details: RunDetails) -> str:
    """The whole page.

    Args:
        group: of this run alone.
        info: its run.json.
    """
    [arm] = group.arms
    name = Path(arm.runs[0]).resolve().name
    rows = [_score_row(arm, probe_set) for probe_set in arm.curves]
    stream = [(m, arm.estimate(m.key)) for m in STREAM_METRICS if m.key in arm.estimates]
    stream = [(m, value) for m, value in stream if value.value is not None or value.note]
    curves, heat_map = figures.draw_curves(group, most=2), draw_heatmap(group, arm)
    parts = {
        "results": ("What did it learn, and what did it forget?", True),
        "scores": ("Scores", True),
        "choice": ("Should I train at all?", group.choice),
        "stream": ("Over the stream", curves or heat_map),
        "answers": ("Answers", details.examples),
        "periods": ("By period", details.periods),
        "relations": ("By relation", details.relations),
        "next": ("What to do next", True),
        "settings": ("Settings", True),
        "how-to-read": ("How to read this", True),
    }
    return render(
        "run.html",
        name,
        {f"{name}.csv": _to_csv(rows, details), f"{name}.json": _to_json(arm, info, details)},
        contents=[(key, title, 1) for key, (title, is_there) in parts.items() if is_there],
        facts=[*_facts(arm, info)],
        notes=[text for text in group.warnings if "one seed" not in text],
        answers=[(topic, "", text) for topic, text in describe_run(RunScores.of_arm(arm))],
        rows=rows,
        stream=stream,
        choice=group.choice,
        caption=figures.describe_curves(group, "."),
        curves=curves
        and svg.render_inline(curves, "lines", f"{name}: exact match over the stream"),
        heat_map=heat_map and svg.render_inline(heat_map, "map", f"{name}: exact match by period"),
        details=details,
        kind_names=KIND_NAMES,
        steps=suggest(arm),
        settings=[*_settings(info)],
        metrics=[*_glossary(stream)],
    )


def _score_row(arm: Arm, name: str) -> ScoreRow:
    before, learned, after = (
        arm.estimate(metric_key(name, moment)) for moment in ("before", "learned", "after")
    )
    n = max(before.n, learned.n, after.n)
    return ScoreRow(name, describe(name), n, before, learned, after)


def _facts(arm: Arm, info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was run, on what, and what it cost; a fact that an older run lacks is left out."""
    dataset, parameters = info["dataset"], info["parameters"]
    environment, spent = info.get("environment", {}), info.get("spent", {})
    periods = dataset["periods"]
    yield "date", str(info.get("created", ""))[:16].replace("T", " ")
    yield "method", arm.name
    total = format_count(parameters.get("total", parameters["trainable"]))
    trained = format_count(parameters["trainable"])
    yield "model", f"{info['model']['name']}, {trained} of {total} parameters trained"
    span = f", {periods[0]} to {periods[-1]}" if len(periods) > 1 else ""
    count = f"{len(periods)} period{'s' * (len(periods) != 1)}"
    yield "data", f"{dataset['name']}, version {dataset['version']}: {count}{span}"
    yield "seed", str(arm.seeds[0])
    device, precision = environment.get("device", UNDEFINED), environment.get("precision", "")
    yield "device", f"{device}{', bf16' if precision == 'bf16' else ''}"
    yield "training", _training(arm)
    if spent.get("eval_seconds"):
        yield "evaluation", format_duration(spent["eval_seconds"])
    if arm.cost.peak_mib:
        yield "peak memory", f"{format_number(arm.cost.peak_mib, 0)} MiB"
    yield "fki", str(info.get("fki", UNDEFINED))


def _training(arm: Arm) -> str:
    cost = arm.cost
    steps = f"{format_number(cost.steps, 0)} steps"
    flops = f", {format_tflop(cost.flops)} TFLOP" if cost.flops else ""
    return f"{format_duration(cost.seconds)}, {steps}{flops}"


def _settings(info: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    origins = info.get("origins", {})
    for key, value in flatten(info["config"]).items():
        yield key, value, str(origins.get(key, ""))


def _glossary(stream: list[tuple[Metric, Estimate]]) -> Iterator[Metric]:
    """Exact match, then the stream metrics that the page shows."""
    meaning = "share of answers that equal a right one after normalization"
    yield Metric(EM.key, EM.label, EM.short, meaning)
    yield from (metric for metric, _ in stream)


def _to_csv(rows: list[ScoreRow], details: RunDetails) -> str:
    """Exact match of probe sets, periods and relations, a row each."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("kind", "probe_set", "name", *CHANGE_HEADS))
    for row in rows:
        values = (row.before.value, row.learned.value, row.after.value)
        writer.writerow(("probe set", row.name, row.name, *_cells(Change(row.n, *values))))
    for period in details.periods:
        writer.writerow(("period", period.probe_set, period.period, *_cells(period.change)))
    for one in details.relations:
        writer.writerow(("relation", one.probe_set, one.relation, *_cells(one.change)))
    return out.getvalue()


def _cells(change: Change) -> list[str]:
    return ["" if value is None else f"{value:.6g}" for value in change]


def _to_json(arm: Arm, info: Mapping[str, Any], details: RunDetails) -> str:
    """The run's description, estimates and details."""
    whole = {"run": info, "arm": asdict(arm), "details": asdict(details)}
    return json.dumps(whole, ensure_ascii=False, default=str)
