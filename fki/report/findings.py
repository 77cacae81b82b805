"""The findings of a group in sentences, no stronger than its statistics."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from fki.comparison.types import Difference, Estimate, Group
from fki.core import registry
from fki.core.formatting import format_list, format_number, format_some
from fki.metrics.registry import Metric, Role
from fki.report.metric_roles import metric_of_role

NO_EVIDENCE = "no evidence of a difference"


class Finding(NamedTuple):
    """The findings on learning, keeping or forgetting."""

    topic: str
    metric: str  # its label
    text: str


class Aspect(NamedTuple):
    """A topic, the role of its metric, and its verbs."""

    topic: str
    role: Role
    best: str  # "learned most"
    verb: str  # "learned", before "4.8 points less"


ASPECTS = (
    Aspect("Learning", "learned", "learned most", "learned"),
    Aspect("Keeping", "kept", "kept most of the facts from before the stream", "kept"),
    Aspect("Forgetting", "forgotten", "forgot least of the facts that it learned", "forgot"),
)


def describe_findings(group: Group) -> list[Finding]:
    """The best arm in learning, keeping and forgetting, and each arm against the baseline.

    Bounds are left out: they do not compete. Retrieval, for example, forgets nothing because it
    learns nothing.
    """
    group = _without_bounds(group)
    findings = []
    for aspect in ASPECTS:
        metric = metric_of_role(group, aspect.role)
        if metric is not None:
            sentences = [*_best(group, metric, aspect), *_to_baseline(group, metric, aspect)]
            findings.append(Finding(aspect.topic, metric.label, " ".join(sentences)))
    return [finding for finding in findings if finding.text]


def _without_bounds(group: Group) -> Group:
    """The arms that compete; all where only bounds were run."""
    bounds = registry.bound_names()
    arms = tuple(arm for arm in group.arms if arm.method not in bounds)
    if not arms:
        return group
    names = {arm.name for arm in arms}
    differences = tuple(d for d in group.differences if d.arm in names)
    return replace(group, arms=arms, differences=differences)


def _best(group: Group, metric: Metric, aspect: Aspect) -> Iterator[str]:
    """The arm with the best mean; whether its interval is apart from all others."""
    estimates = {arm.name: arm.estimate(metric.key) for arm in group.arms}
    known = {name: one for name, one in estimates.items() if one.value is not None}
    best = group.best(metric)
    if len(known) < 2 or len(best) != 1:
        return
    [name] = best
    value = f"{format_with_unit(known[name].value, metric)}{_interval(known[name], metric)}"
    near = [n for n in known if n != name and not _is_apart(known[name], known[n])]
    if not near:
        yield f"{name} {aspect.best}: {value}."
    else:
        overlap = f"its interval overlaps with that of {format_some(near)}"
        yield f"{name} has the best mean, {value}, but {overlap}."


def _is_apart(one: Estimate, other: Estimate) -> bool:
    """Do two intervals share nothing? No, where an interval is undefined."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or other.low > one.high


def _to_baseline(group: Group, metric: Metric, aspect: Aspect) -> Iterator[str]:
    """The differences to the baseline that there is evidence of; the arms without evidence."""
    rows = [d for d in group.differences if d.metric == metric.key and d.value is not None]
    evident = [d for d in rows if d.verdict in ("better", "worse")]
    evident.sort(key=lambda d: d.value or 0.0, reverse=metric.higher_is_better)
    if evident:
        parts = [f"{d.arm} {aspect.verb} {_difference(d, metric)}" for d in evident]
        yield f"Against {group.baseline}, {format_list(parts)}."
    others = [d.arm for d in rows if d.verdict == NO_EVIDENCE]
    if others:
        yield f"There is {NO_EVIDENCE} from {group.baseline} for {format_some(others)}."


def _difference(difference: Difference, metric: Metric) -> str:
    """`12.3 points more (95% interval 10.1 to 14.5)`; the numbers of `less` are positive too."""
    value = difference.value or 0.0
    unit = " points" if metric.unit == "%" else f" {metric.unit}" if metric.unit else ""
    if value < 0:
        low, high = difference.high, difference.low
        mirrored = Estimate(-value, None if low is None else -low, None if high is None else -high)
        return f"{format_number(-value, metric.digits)}{unit} less{_interval(mirrored, metric)}"
    return f"{format_number(value, metric.digits)}{unit} more{_interval(difference, metric)}"


def _interval(value: Estimate | Difference, metric: Metric) -> str:
    if value.low is None or value.high is None:
        return ""
    low, high = (format_number(v, metric.digits) for v in (value.low, value.high))
    return f" (95% interval {low} to {high})"


def format_with_unit(value: float | None, metric: Metric) -> str:
    """`97.1%`, `12 tokens/s`."""
    space = "" if metric.unit == "%" else " "
    return f"{format_number(value, metric.digits)}{space}{metric.unit}".rstrip()
