"""The tables of `fki compare`."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from fki.commands._console import make_table
from fki.core.errors import ConfigError, did_you_mean
from fki.core.formatting import UNDEFINED, format_count, format_duration, format_number

if TYPE_CHECKING:
    from fki.comparison.types import Arm, Difference, Group
    from fki.metrics.registry import Metric

BAR = 19  # characters of a drawn interval
MARKS = {"better": "[green]▲[/]", "worse": "[red]▼[/]"}


def main_table(group: "Group", sort: str) -> Table:
    """A row for each arm, the best of each column in bold."""
    heads = [metric.short for metric in group.metrics]
    numbers = ("seeds", *heads, "time")
    table = make_table("arm", *numbers, title=group.title, numbers=numbers)
    best = {metric.key: group.best(metric) for metric in group.metrics}
    for arm in _sorted(group, sort):
        cells = [_cell(group, arm, metric, best[metric.key]) for metric in group.metrics]
        time = format_duration(arm.cost.seconds)
        table.add_row(escape(arm.name), str(len(arm.runs)), *cells, time)
    return table


def wide_table(group: "Group", sort: str) -> Table:
    """A column for each arm: its metrics with their intervals, and what it cost."""
    arms = _sorted(group, sort)
    names = [escape(arm.name) for arm in arms]
    table = make_table("", *names, title=group.title, numbers=names)
    for metric in group.metrics:
        best = group.best(metric)
        cells = [f"{_cell(group, arm, metric, best)}\n{_reach(arm, metric)}" for arm in arms]
        table.add_row(escape(metric.label), *cells)
    for label, told in COSTS.items():
        table.add_row(label, *(f"{told(arm)} " for arm in arms))
    return table


COSTS: dict[str, Callable[["Arm"], str]] = {
    "seeds": lambda arm: str(len(arm.runs)),
    "parameters": lambda arm: format_count(arm.cost.trainable),
    "steps": lambda arm: format_number(arm.cost.steps, 0),
    "tokens/s": lambda arm: format_number(arm.cost.tokens_per_second, 0),
    "TFLOP": lambda arm: format_number(arm.cost.flops / 1e12, 1) if arm.cost.flops else UNDEFINED,
    "peak MiB": lambda arm: format_number(arm.cost.peak_mib, 0),
    "training": lambda arm: format_duration(arm.cost.seconds),
}


def describe_columns(group: "Group") -> str:
    """What the columns mean; what all exact matches have in common is said once."""
    ends = ", after the stream"
    told = [
        f"{metric.short}: {metric.meaning.removeprefix('exact match on ').removesuffix(ends)}"
        + ("" if metric.higher_is_better else " (lower is better)")
        for metric in group.metrics
    ]
    if any(metric.meaning.endswith(ends) for metric in group.metrics):
        told[0] = f"Exact match after the stream, %, on {told[0]}"
    if group.baseline:
        told.append(f"▲ ▼: better, worse than {group.baseline} (Holm-adjusted p < 0.05)")
    return "; ".join(told)


def _cell(group: "Group", arm: "Arm", metric: "Metric", best: Collection[str]) -> str:
    text = format_number(arm.estimate(metric.key).value, metric.digits)
    difference = group.difference(arm.name, metric.key)
    mark = MARKS.get(difference.verdict, " ") if difference else " "
    return f"[bold]{text}[/]{mark}" if arm.name in best else f"{text}{mark}"


def _reach(arm: "Arm", metric: "Metric") -> str:
    """The interval, beneath its value."""
    estimate = arm.estimate(metric.key)
    if estimate.low is None:
        return ""
    low, high = (format_number(end, metric.digits) for end in (estimate.low, estimate.high))
    return f"[dim]{low} to {high}[/] "


def _sorted(group: "Group", key: str) -> Sequence["Arm"]:
    """By a metric, best first; without one as they are. Raises ConfigError for an unknown one."""
    if not key:
        return group.arms
    metrics = {metric.key: metric for metric in group.metrics}
    if key not in metrics:
        raise ConfigError(
            f"--sort must be one of {', '.join(metrics)}, not '{key}'."
            f"{did_you_mean(key, [*metrics])}"
        )
    sign = -1 if metrics[key].higher_is_better else 1

    def order(arm: "Arm") -> tuple[bool, float]:
        value = arm.estimate(key).value
        return value is None, sign * (value or 0.0)

    return sorted(group.arms, key=order)


def difference_table(group: "Group", *, is_wide: bool) -> tuple[Table, str]:
    """The differences to the baseline that there is evidence of, or all, and a word on the rest."""
    table = make_table(
        "metric",
        "arm",
        "diff",
        "95 % interval",
        "",
        "p",
        title=f"Against {group.baseline}",
        numbers=("diff", "p"),
    )
    table.columns[4].no_wrap = True
    told = [d for d in group.differences if d.value is not None]
    some = told if is_wide else [d for d in told if d.verdict in MARKS]
    for metric in group.metrics:
        of_metric = [d for d in some if d.metric == metric.key]
        ends = [x for d in of_metric for x in (d.low, d.high) if x is not None]
        reach = max(map(abs, ends), default=0.0)
        for i, one in enumerate(of_metric):
            table.add_row(
                escape(metric.short) if i == 0 else "",
                escape(one.arm),
                format_number(one.value, metric.digits, sign=True) + MARKS.get(one.verdict, " "),
                _interval(one, metric),
                _bar(one, reach),
                _p(one.p_holm),
            )
    none = sum(d.verdict == "no evidence of a difference" for d in told)
    words = f"No evidence of a difference: {none} of {len(told)}" if none else ""
    words += "" if is_wide or not none else " (--wide shows them)"
    tests = sorted({d.test for d in told if d.test})
    method = f"p: {' and '.join(tests)}, adjusted for {len(told)} tests (Holm)" if told else ""
    return table, ". ".join(filter(None, (words, method)))


def _interval(one: "Difference", metric: "Metric") -> str:
    if one.low is None:
        return UNDEFINED
    low, high = (format_number(x, metric.digits, sign=True) for x in (one.low, one.high))
    return f"{low} to {high}"


def _p(p: float | None) -> str:
    if p is None:
        return UNDEFINED
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _bar(one: "Difference", reach: float) -> str:
    """The interval drawn around zero, on a scale that all arms of a metric share."""
    if one.low is None or one.high is None or one.value is None or not reach:
        return ""
    low, at, high = (round((x / reach + 1) / 2 * (BAR - 1)) for x in (one.low, one.value, one.high))
    drawn = ["━" if low <= i <= high else " " for i in range(BAR)]
    drawn[BAR // 2] = "┿" if low <= BAR // 2 <= high else "│"
    drawn[min(max(at, 0), BAR - 1)] = "●"
    return f"[cyan]{''.join(drawn)}[/]"


def iter_arm_rows(group: "Group") -> Iterator[dict[str, Any]]:
    """One object for each arm, with its differences to the baseline."""
    for arm in group.arms:
        differences = [asdict(d) for d in group.differences if d.arm == arm.name]
        yield {
            "group": group.title,
            "baseline": group.baseline,
            **asdict(arm),
            "differences": differences,
            "warnings": list(group.warnings),
        }
