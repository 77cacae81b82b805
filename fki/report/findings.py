"""What the statistics allow to say of a group, in sentences."""

from collections.abc import Iterator
from typing import NamedTuple

from fki.comparison.types import Difference, Estimate, Group
from fki.core.formatting import format_list, format_number
from fki.metrics.registry import Metric
from fki.report import metric_roles

UNTOLD = "no evidence of a difference"


class Finding(NamedTuple):
    """What there is to say of learning, of keeping or of forgetting."""

    topic: str
    metric: str  # its label
    text: str


class Aspect(NamedTuple):
    """What is spoken of, by which metric, and how."""

    topic: str
    keys: tuple[str, ...]
    did_best: str
    did: str  # before "4.8 points less"


ASPECTS = (
    Aspect("Learning", metric_roles.LEARNED, "learned most", "learned"),
    Aspect("Keeping", metric_roles.KEPT, "kept most of what was known before", "kept"),
    Aspect("Forgetting", metric_roles.FORGOT, "forgot least of what it learned", "forgot"),
)


def describe_findings(group: Group) -> list[Finding]:
    """Who is ahead in learning, keeping and forgetting, and how others stand to the baseline."""
    found = []
    for aspect in ASPECTS:
        metric = metric_roles.metric(group, aspect.keys)
        if metric is not None:
            told = [*_ahead(group, metric, aspect), *_to_baseline(group, metric, aspect)]
            found.append(Finding(aspect.topic, metric.label, " ".join(told)))
    return [finding for finding in found if finding.text]


def _ahead(group: Group, metric: Metric, aspect: Aspect) -> Iterator[str]:
    """Who has the best mean, and whether its interval stands apart from all others."""
    known = {
        arm.name: value
        for arm in group.arms
        if (value := arm.estimate(metric.key)).value is not None
    }
    best = group.best(metric)
    if len(known) < 2 or len(best) != 1:
        return
    [name] = best
    told = f"{format_with_unit(known[name].value, metric)}{_interval(known[name], metric)}"
    near = [n for n in known if n != name and not _apart(known[name], known[n])]
    if not near:
        yield f"{name} {aspect.did_best}: {told}."
    else:
        overlap = f"its interval overlaps with that of {format_list(near)}"
        yield f"{name} has the best mean, {told}, but {overlap}."


def _apart(one: Estimate, other: Estimate) -> bool:
    """Do two intervals share nothing? No, where one is not known."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or other.low > one.high


def _to_baseline(group: Group, metric: Metric, aspect: Aspect) -> Iterator[str]:
    """By how much each arm differs that is told apart from the baseline, and which are not."""
    rows = [d for d in group.differences if d.metric == metric.key and d.value is not None]
    told = [d for d in rows if d.verdict in ("better", "worse")]
    told.sort(key=lambda d: d.value or 0.0, reverse=metric.higher_is_better)
    if told:
        parts = [f"{d.arm} {aspect.did} {_difference(d, metric)}" for d in told]
        yield f"Against {group.baseline}, {format_list(parts)}."
    untold = [d.arm for d in rows if d.verdict == UNTOLD]
    if untold:
        yield f"There is {UNTOLD} from {group.baseline} for {format_list(untold)}."


def _difference(difference: Difference, metric: Metric) -> str:
    """`12.3 points more (95 % interval 10.1 to 14.5)`; of less, too, the numbers are positive."""
    value = difference.value or 0.0
    unit = " points" if metric.unit == "%" else f" {metric.unit}" if metric.unit else ""
    if value < 0:
        low, high = difference.high, difference.low
        turned = Estimate(-value, None if low is None else -low, None if high is None else -high)
        return f"{format_number(-value, metric.digits)}{unit} less{_interval(turned, metric)}"
    return f"{format_number(value, metric.digits)}{unit} more{_interval(difference, metric)}"


def _interval(value: Estimate | Difference, metric: Metric) -> str:
    if value.low is None or value.high is None:
        return ""
    low, high = (format_number(v, metric.digits) for v in (value.low, value.high))
    return f" (95 % interval {low} to {high})"


def format_with_unit(value: float | None, metric: Metric) -> str:
    """`97.1 %`."""
    return f"{format_number(value, metric.digits)} {metric.unit}".rstrip()
