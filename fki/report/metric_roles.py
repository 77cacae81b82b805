"""Facts of a group that page, figures and tables share: its metrics by role, its Pareto front."""

from collections.abc import Sequence

from fki.comparison.types import Difference, Estimate, Group
from fki.core.formatting import format_number
from fki.metrics.registry import Metric, Role


def metric_of_role(group: Group, role: Role) -> Metric | None:
    """The metric of this role that the group shows and an arm has a value of.

    Of several, a stream metric goes first, then the one that is shown first.
    """
    defined = {key for arm in group.arms for key, e in arm.estimates.items() if e.value is not None}
    metrics = [m for m in group.metrics if m.role == role and m.key in defined]
    return min(metrics, key=lambda metric: metric.probe_set != "", default=None)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points that no other point beats in both numbers, higher being better;
    sorted by the first number."""
    places = [
        place
        for place, (x, y) in enumerate(points)
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)
    ]
    return sorted(places, key=lambda place: points[place])


def format_interval(value: Estimate | Difference, digits: int, *, sign: bool = False) -> str:
    """`[96.0, 98.2]`, empty where there is none."""
    if value.low is None or value.high is None:
        return ""
    low, high = (format_number(end, digits, sign=sign) for end in (value.low, value.high))
    return f"[{low}, {high}]"


def reach(estimate: Estimate | Difference) -> list[list[float]] | None:
    """The distances from a value to both ends of its interval, not below zero: the interval of a
    bootstrap may exclude the value."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
