"""What the statistics allow to say of a group, in sentences."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fki.core.numbers import number
from fki.engine.comparison import Difference, Estimate, Group, Metric
from fki.report import terms

UNTOLD = "no evidence of a difference"


class Finding(NamedTuple):
    """A sentence, and the words that it begins with."""

    lead: str
    text: str


class Aspect(NamedTuple):
    """How one speaks of a metric: `learned most`, `learns ... more`."""

    keys: tuple[str, ...]
    most: str
    noun: str  # what there is more or less of


ASPECTS = (
    Aspect(terms.LEARNED, "learned most", "learning"),
    Aspect(terms.KEPT, "kept most of what was known before", "keeping"),
    Aspect(terms.FORGOT, "forgot least of what it learned", "forgetting"),
)


def findings(group: Group) -> list[Finding]:
    """For learning, keeping and forgetting: who is ahead, and how others stand to the baseline."""
    found = []
    for aspect in ASPECTS:
        metric = terms.metric(group, aspect.keys)
        if metric is not None:
            found += [*_ahead(group, metric, aspect), *_to_baseline(group, metric, aspect)]
    return found


def _ahead(group: Group, metric: Metric, aspect: Aspect) -> Iterator[Finding]:
    """Who has the best mean, and whether its interval stands apart from all others."""
    known = {
        arm.name: value
        for arm in group.arms
        if (value := terms.estimate(arm, metric.key)).value is not None
    }
    best = terms.best(group, metric)
    if len(known) < 2 or len(best) != 1:
        return
    [name] = best
    told = f"{with_unit(known[name].value, metric)}{_interval(known[name], metric)}"
    others = [other for other, value in known.items() if other != name]
    near = [other for other in others if not _apart(known[name], known[other])]
    if not near:
        yield Finding(name, f"{aspect.most} ({metric.label}): {told}.")
    else:
        yield Finding(
            name,
            f"has the best mean in {aspect.noun} ({metric.label}): {told}, but its interval is "
            f"not apart from that of {listed(near)}.",
        )


def _apart(one: Estimate, other: Estimate) -> bool:
    """Do two intervals share nothing? No, where one is not known."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or other.low > one.high


def _to_baseline(group: Group, metric: Metric, aspect: Aspect) -> Iterator[Finding]:
    """Of each arm that is told apart from the baseline by how much, and which are not."""
    rows = [d for d in group.differences if d.metric == metric.key and d.value is not None]
    told = [d for d in rows if d.verdict in ("better", "worse")]
    told.sort(key=lambda d: d.value or 0.0, reverse=metric.higher_is_better)
    lead = f"Against {group.baseline}"
    if told:
        parts = listed([f"{d.arm} {_difference(d, metric)}" for d in told], ";")
        yield Finding(lead, f"in {aspect.noun}: {parts}.")
    untold = [d.arm for d in rows if d.verdict == UNTOLD]
    if untold:
        yield Finding(lead, f"in {aspect.noun}: {UNTOLD} for {listed(untold)}.")


def _difference(difference: Difference, metric: Metric) -> str:
    value = difference.value or 0.0
    unit = " points" if metric.unit == "%" else f" {metric.unit}" if metric.unit else ""
    way = "more" if value > 0 else "less"
    size = number(abs(value), metric.digits)
    return f"{size}{unit} {way}{_interval(difference, metric, sign=True)}"


def _interval(value: Estimate | Difference, metric: Metric, *, sign: bool = False) -> str:
    if value.low is None or value.high is None:
        return ""
    low, high = (number(v, metric.digits, sign=sign) for v in (value.low, value.high))
    return f" (95 % interval {low} to {high})"


def with_unit(value: float | None, metric: Metric) -> str:
    """`97.1 %`."""
    return f"{number(value, metric.digits)} {metric.unit}".rstrip()


def listed(names: Sequence[str], comma: str = ",") -> str:
    """`a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{f'{comma} '.join(names[:-1])} and {names[-1]}"
