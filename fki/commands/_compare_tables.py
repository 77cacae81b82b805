"""The tables of `fki compare`."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from fki.commands._console import make_table, style_text
from fki.core.errors import ConfigError, did_you_mean
from fki.core.formatting import (
    UNDEFINED,
    format_count,
    format_duration,
    format_number,
    format_p_value,
)
from fki.core.probe_sets import MOMENTS, PROBE_SETS, describe

if TYPE_CHECKING:
    from fki.comparison.types import Arm, Difference, Group, TrainingChoice
    from fki.metrics.registry import Metric

BAR_WIDTH = 19  # characters of a drawn interval
MARKS = {"better": Text("▲", "green"), "worse": Text("▼", "red")}
NO_MARK = Text(" ")
COSTS: dict[str, Callable[["Arm"], str]] = {
    "seeds": lambda arm: str(len(arm.runs)),
    "parameters": lambda arm: format_count(arm.cost.trainable),
    "steps": lambda arm: format_number(arm.cost.steps, 0),
    "tokens/s": lambda arm: format_number(arm.cost.tokens_per_second, 0),
    "TFLOP": lambda arm: format_number(arm.cost.flops / 1e12, 1) if arm.cost.flops else UNDEFINED,
    "peak MiB": lambda arm: format_number(arm.cost.peak_mib, 0),
    "time": lambda arm: format_duration(arm.cost.seconds),
}


def main_table(group: "Group", sort: str) -> Table:
    """One row per arm; the best value of each column is bold."""
    heads = [metric.short for metric in group.metrics]
    numbers = ("seeds", *heads, "time")
    table = make_table("arm", *numbers, title=group.title, numbers=numbers)
    best = {metric.key: group.best(metric) for metric in group.metrics}
    for arm in _sort_arms(group, sort):
        cells = [_value(group, arm, metric, best[metric.key]) for metric in group.metrics]
        time = format_duration(arm.cost.seconds)
        table.add_row(arm.name, str(len(arm.runs)), *cells, time)
    return table


def wide_table(group: "Group", sort: str) -> Table:
    """One column per arm: its metrics with their intervals, and its cost."""
    arms = _sort_arms(group, sort)
    names = [arm.name for arm in arms]
    table = make_table("metric", *names, title=group.title, numbers=names)
    for head, metrics in groupby(group.metrics, _section):
        table.add_row(style_text(head, "bold"))
        for metric in metrics:
            best = group.best(metric)
            values = (_value(group, arm, metric, best) for arm in arms)
            intervals = (_interval(arm, metric) for arm in arms)
            cells = [
                Text.assemble(value, "\n", (ends, "dim"))
                for value, ends in zip(values, intervals, strict=True)
            ]
            table.add_row(_label_in_section(metric), *cells)
    table.add_row(style_text("cost", "bold"))
    for label, cost in COSTS.items():
        table.add_row(label, *(f"{cost(arm)} " for arm in arms))
    from fki.report.training_choice import CHOICE_COSTS, unit_costs

    by_cost = zip(*(unit_costs(arm.cost) for arm in arms), strict=True)
    for label, row in zip(CHOICE_COSTS, by_cost, strict=True):
        table.add_row(label, *(f"{cell} " for cell in row))
    return table


def _section(metric: "Metric") -> str:
    """The head above a metric."""
    if metric.answer is None:
        return "stream"
    name = metric.answer.short if metric.answer.key == "em" else metric.answer.label
    return ", ".join(filter(None, (name, metric.answer.unit)))


def _label_in_section(metric: "Metric") -> str:
    """Moments stand indented under their probe set."""
    if metric.answer is None:
        return metric.label
    return metric.probe_set if metric.moment == "after" else f"  {metric.moment}"


def describe_columns(group: "Group") -> str:
    """The meaning of the main table's columns; answer metrics of several probe sets together."""
    lines = []
    for (answer, moment), metrics in groupby(group.metrics, lambda m: (m.answer, m.moment)):
        if answer is None:
            lines += [f"{metric.short}: {metric.describe()}" for metric in metrics]
        else:
            sets = "; ".join(f"{metric.short}: {describe(metric.probe_set)}" for metric in metrics)
            lines.append(f"{answer.describe()}, {MOMENTS[moment]}, on {sets}")
    return "\n".join([*lines, *_describe_marks(group)])


def describe_rows(group: "Group") -> str:
    """The meaning of the wide table's rows: probe sets, moments, stream metrics."""
    sets = dict.fromkeys(metric.probe_set for metric in group.metrics if metric.probe_set)
    moments = dict.fromkeys(m.moment for m in group.metrics if m.probe_set)
    lines = [f"{name}: {describe(name)}" for name in sets]
    lines += [f"{moment}: {MOMENTS[moment]}" for moment in moments if moment != "after"]
    lines += [f"{m.label}: {m.describe()}" for m in group.metrics if m.answer is None]
    return "\n".join([*lines, *_describe_marks(group)])


def _describe_marks(group: "Group") -> list[str]:
    if not group.baseline:
        return []
    return [f"▲ ▼: better or worse than {group.baseline} (Holm-adjusted p < 0.05)"]


def _value(group: "Group", arm: "Arm", metric: "Metric", best: Collection[str]) -> Text:
    text = format_number(arm.estimate(metric.key).value, metric.digits)
    difference = group.difference(arm.name, metric.key)
    mark = MARKS.get(difference.verdict, NO_MARK) if difference else NO_MARK
    return Text.assemble((text, "bold" if arm.name in best else ""), mark)


def _interval(arm: "Arm", metric: "Metric") -> str:
    """The interval, for the line beneath its value."""
    estimate = arm.estimate(metric.key)
    if estimate.low is None:
        return ""
    low, high = (format_number(end, metric.digits) for end in (estimate.low, estimate.high))
    return f"{low} to {high} "


def _sort_arms(group: "Group", key: str) -> Sequence["Arm"]:
    """The arms by a metric, best first; without a key as they are.

    Raises ConfigError where the group does not show the metric.
    """
    if not key:
        return group.arms
    metrics = {metric.key: metric for metric in group.metrics}
    if key not in metrics:
        raise ConfigError(
            f"--sort must be one of {', '.join(metrics)}, not '{key}'."
            f"{did_you_mean(key, [*metrics])}"
        )
    sign = -1 if metrics[key].higher_is_better else 1

    def rank(arm: "Arm") -> tuple[bool, float]:
        value = arm.estimate(key).value
        return value is None, sign * (value or 0.0)

    return sorted(group.arms, key=rank)


def difference_table(group: "Group", *, is_wide: bool) -> tuple[Table, str]:
    """The differences to the baseline, and a line on the others and on the tests.

    Args:
        is_wide: show all differences, not only those that there is evidence of.
    """
    table = make_table(
        "metric",
        "arm",
        "difference",
        "95% interval",
        "",
        "p",
        title=f"Differences to {group.baseline}",
        numbers=("difference", "p"),
    )
    table.columns[4].no_wrap = True
    defined = [d for d in group.differences if d.value is not None]
    shown = defined if is_wide else [d for d in defined if d.verdict in MARKS]
    for metric in group.metrics:
        of_metric = [d for d in shown if d.metric == metric.key]
        ends = [x for d in of_metric for x in (d.low, d.high) if x is not None]
        reach = max(map(abs, ends), default=0.0)
        for place, difference in enumerate(of_metric):
            value = format_number(difference.value, metric.digits, sign=True)
            table.add_row(
                metric.short if place == 0 else "",
                difference.arm,
                Text.assemble(value, MARKS.get(difference.verdict, NO_MARK)),
                _signed_interval(difference, metric),
                _draw_interval(difference, reach),
                format_p_value(difference.p_holm),
            )
    from fki.report.tables import describe_adjustment  # here, since it loads numpy

    sentences = (_describe_tests(defined, is_wide=is_wide), describe_adjustment(group))
    return table, ". ".join(filter(None, sentences))


def _describe_tests(differences: Sequence["Difference"], *, is_wide: bool) -> str:
    count = len(differences)
    none = sum(d.verdict == "no evidence of a difference" for d in differences)
    sentences = []
    if none:
        hint = "" if is_wide else " (--wide shows them)"
        sentences.append(f"No evidence of a difference: {none} of {count}{hint}")
    tests = sorted({d.test for d in differences if d.test})
    if differences:
        sentences.append(f"p: {' and '.join(tests)}, Holm-adjusted for {count} tests")
    return ". ".join(sentences)


def _signed_interval(difference: "Difference", metric: "Metric") -> str:
    if difference.low is None:
        return UNDEFINED
    ends = (difference.low, difference.high)
    low, high = (format_number(end, metric.digits, sign=True) for end in ends)
    return f"{low} to {high}"


def _draw_interval(difference: "Difference", reach: float) -> Text:
    """The interval around zero, on a scale that all arms of a metric share."""
    ends = (difference.low, difference.value, difference.high)
    if None in ends or not reach:
        return Text()
    places = [round(((end or 0.0) / reach + 1) / 2 * (BAR_WIDTH - 1)) for end in ends]
    low, value, high = places
    middle = BAR_WIDTH // 2
    signs = ["━" if low <= place <= high else " " for place in range(BAR_WIDTH)]
    signs[middle] = "┿" if low <= middle <= high else "│"
    signs[min(max(value, 0), BAR_WIDTH - 1)] = "●"
    return Text("".join(signs), "cyan")


def choice_table(choice: "TrainingChoice") -> Table:
    """Should a model be trained at all? One row per option: exact match and cost."""
    from fki.report.training_choice import CHOICE_COSTS, choice_costs

    sets = (PROBE_SETS[n].short if n in PROBE_SETS else n for n in choice.probe_sets)
    numbers = (*sets, "mean", *CHOICE_COSTS.values())
    table = make_table("", *numbers, title="Should I train at all?", numbers=numbers)
    for option in choice.options:
        em = (format_number(option.em[name].value) for name in choice.probe_sets)
        table.add_row(option.label, *em, format_number(option.mean), *choice_costs(option))
    return table


def choice_row(group: "Group", choice: "TrainingChoice") -> dict[str, Any]:
    """The options as an object."""
    options = [{**asdict(option), "mean": option.mean} for option in choice.options]
    missing = dict(choice.missing)
    return {"group": group.title, "training_choice": options, "missing": missing}


def recommendation_row(group: "Group", sentences: list[str]) -> dict[str, Any]:
    """The recommendation of a group as an object."""
    found = None if group.recommendation is None else asdict(group.recommendation)
    return {"group": group.title, "recommendation": found, "sentences": sentences}


def iter_arm_rows(group: "Group") -> Iterator[dict[str, Any]]:
    """One object per arm, with its differences to the baseline."""
    for arm in group.arms:
        differences = [asdict(d) for d in group.differences if d.arm == arm.name]
        yield {
            "group": group.title,
            "baseline": group.baseline,
            **asdict(arm),
            "differences": differences,
            "warnings": list(group.warnings),
        }
