"""What the page, the figures and the files all ask of a group: which metrics, which is best."""

from collections.abc import Iterable, Sequence

from fki.comparison.types import Difference, Estimate, Group
from fki.core.formatting import UNDEFINED, format_number
from fki.metrics.registry import Metric

LEARNED = ("learned", "learning_gain", "updated.learned", "new.learned", "cloze.learned")
KEPT = ("kept", "invariant", "initial")
FORGOT = ("forgetting",)


def metric(group: Group, keys: Iterable[str]) -> Metric | None:
    """The first of these that the group shows and that an arm has a value of."""
    shown = {metric.key: metric for metric in group.metrics}
    known = {key for arm in group.arms for key, e in arm.estimates.items() if e.value is not None}
    return next((shown[key] for key in keys if key in shown and key in known), None)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other one beats in both, more being better; by the first number."""
    kept = [
        place
        for place, (x, y) in enumerate(points)
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)
    ]
    return sorted(kept, key=lambda place: points[place])


def interval(value: Estimate | Difference, digits: int, *, sign: bool = False) -> str:
    """`[96.0, 98.2]`, empty where there is none."""
    if value.low is None or value.high is None:
        return ""
    low, high = (format_number(end, digits, sign=sign) for end in (value.low, value.high))
    return f"[{low}, {high}]"


def p_value(p: float | None) -> str:
    """`0.031`, `<0.001`, `-`."""
    if p is None:
        return UNDEFINED
    return "<0.001" if p < 0.001 else f"{p:.3f}"
