"""The tables of `fki compare`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from fki.commands._show import NONE, duration, new_table, number, parameters
from fki.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from fki.engine.comparison import Arm, Difference, Group, Metric

BAR = 19  # characters of a drawn interval
MARKS = {"better": "[green]▲[/]", "worse": "[red]▼[/]"}


def main_table(group: "Group", *, sort: str, is_wide: bool) -> tuple[Table, str]:
    """A row for each arm, the best of each column in bold, and what the columns mean."""
    heads = [metric.short for metric in group.metrics]
    costs = ["trained", "tokens/s", "MiB", "time"] if is_wide else ["time"]
    table = new_table(
        "arm", "seeds", *heads, *costs, title=group.title, numbers=("seeds", *heads, *costs)
    )
    best = {metric.key: _best(group, metric) for metric in group.metrics}
    for arm in _sorted(group, sort):
        cells = [_cell(group, arm, metric, best[metric.key], is_wide) for metric in group.metrics]
        cost = arm.cost
        more = [
            parameters(cost.trainable),
            number(cost.tokens_per_second, 0),
            number(cost.peak_mib, 0),
        ]
        table.add_row(
            escape(arm.name),
            str(len(arm.runs)),
            *cells,
            *(more if is_wide else ()),
            duration(cost.seconds),
        )
    return table, _legend(group)


def _legend(group: "Group") -> str:
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


def _best(group: "Group", metric: "Metric") -> set[str]:
    """The arms whose value, as it is shown, is the best; none where all are alike."""
    known = {
        arm.name: round(value, metric.digits)
        for arm in group.arms
        if (value := _value(arm, metric)) is not None
    }
    if len(set(known.values())) < 2:
        return set()
    best = (max if metric.higher_is_better else min)(known.values())
    return {name for name, value in known.items() if value == best}


def _value(arm: "Arm", metric: "Metric") -> float | None:
    return arm.estimates[metric.key].value if metric.key in arm.estimates else None


def _cell(group: "Group", arm: "Arm", metric: "Metric", best: set[str], is_wide: bool) -> str:
    text = number(_value(arm, metric), metric.digits)
    if arm.name in best:
        text = f"[bold]{text}[/]"
    difference = group.difference(arm.name, metric.key)
    mark = MARKS.get(difference.verdict, " ") if difference else " "
    estimate = arm.estimates.get(metric.key)
    if is_wide and estimate is not None and estimate.low is not None:
        low, high = number(estimate.low, metric.digits), number(estimate.high, metric.digits)
        return f"{text}{mark}\n[dim]{low} to {high}[/]"
    return f"{text}{mark}"


def _sorted(group: "Group", key: str) -> Sequence["Arm"]:
    """By a metric, best first; without one as they are. Raises ConfigError for an unknown one."""
    if not key:
        return group.arms
    metrics = {metric.key: metric for metric in group.metrics}
    if key not in metrics:
        raise ConfigError(
            f"--sort must be one of {', '.join(metrics)}, not '{key}'.{nearest(key, [*metrics])}"
        )
    sign = -1 if metrics[key].higher_is_better else 1

    def order(arm: "Arm") -> tuple[bool, float]:
        value = _value(arm, metrics[key])
        return value is None, sign * (value or 0.0)

    return sorted(group.arms, key=order)


def difference_table(group: "Group", *, is_wide: bool) -> tuple[Table, str]:
    """The differences to the baseline that there is evidence of, or all, and a word on the rest."""
    table = new_table(
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
                f"{number(one.value, metric.digits, sign=True)}{MARKS.get(one.verdict, ' ')}",
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
        return NONE
    low, high = (number(x, metric.digits, sign=True) for x in (one.low, one.high))
    return f"{low} to {high}"


def _p(p: float | None) -> str:
    if p is None:
        return NONE
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


def rows(group: "Group") -> Iterator[dict[str, Any]]:
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
