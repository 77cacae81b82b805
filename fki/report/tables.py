"""The two tables of a group as text: scores, and differences to the baseline."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fki.comparison.types import Arm, Difference, Group
from fki.core.formatting import (
    UNDEFINED,
    format_count,
    format_duration,
    format_number,
    format_p_value,
)
from fki.metrics.power import MOST_SEEDS
from fki.metrics.registry import Metric
from fki.report.metric_roles import format_interval

Cell = tuple[str, bool]  # its text, and whether it is the best of its column


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a head, with a title and a note, each empty or a sentence."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    align: str  # "l" or "r" for each column
    note: str = ""

    @classmethod
    def plain(
        cls, title: str, head: Sequence[str], rows: Iterable[Sequence[str]], align: str
    ) -> "Table":
        """A table in which no cell is the best of its column."""
        cells = tuple(tuple((text, False) for text in row) for row in rows)
        return cls(title, tuple(head), cells, align)


def score_table(group: Group) -> Table:
    """One row per arm: the metrics with their intervals, the seeds and the cost."""
    heads = tuple(_head(metric) for metric in group.metrics)
    cost = ("parameters", "time")
    rows = (
        (
            (arm.name, False),
            (str(len(arm.seeds)), False),
            *(_score(group, arm, metric) for metric in group.metrics),
            (format_count(arm.cost.trainable), False),
            (format_duration(arm.cost.seconds), False),
        )
        for arm in group.arms
    )
    head = ("arm", "seeds", *heads, *cost)
    note = "Means over seeds with 95% intervals; the best value of a column is bold."
    return Table("Scores", head, tuple(rows), "l".ljust(len(head), "r"), note)


def _head(metric: Metric) -> str:
    return f"{metric.short} ({metric.unit})" if metric.unit else metric.short


def _score(group: Group, arm: Arm, metric: Metric) -> Cell:
    value = arm.estimate(metric.key)
    interval = format_interval(value, metric.digits)
    text = f"{format_number(value.value, metric.digits)} {interval}".strip()
    return text, arm.name in group.best(metric)


def difference_table(group: Group) -> Table:
    """One row per metric and arm: the difference to the baseline, p, effect and verdict."""
    title = f"Differences to {group.baseline}"
    head = (
        "metric",
        "arm",
        "difference",
        "95% interval",
        "p",
        "p (Holm-adjusted)",
        "effect",
        "verdict",
    )
    rows = tuple(_difference_rows(group))
    tests = sorted({d.test for d in group.differences if d.test})
    effects = (
        " Effects are Cohen's h." if any(d.effect is not None for d in group.differences) else ""
    )
    adjustment = describe_adjustment(group)
    note = f"p is two-sided ({'; '.join(tests) or 'no test'}).{effects}"
    note = f"{note} {adjustment}" if adjustment else note
    return Table(title, head, rows, "llrrrrrl", note)


def describe_adjustment(group: Group) -> str:
    """Why there is no evidence of some differences whose intervals exclude zero; "" for none."""
    defined = [d for d in group.differences if d.p_holm is not None]
    unclear = [d for d in defined if _excludes_zero(d) and d.verdict not in ("better", "worse")]
    if not unclear:
        return ""
    least = min(len(arm.seeds) for arm in group.arms)
    number = "1 interval excludes" if len(unclear) == 1 else f"{len(unclear)} intervals exclude"
    return (
        f"{number} zero without evidence of a difference, after adjusting for {len(defined)} tests "
        f"with {least} {'seed' if least == 1 else 'seeds'}. {_advise(unclear)}"
    )


def _advise(unclear: Sequence[Difference]) -> str:
    """The seeds that would show at least half of the differences that any number would show."""
    needed = sorted(n for d in unclear if (n := d.seeds_needed) is not None and n <= MOST_SEEDS)
    if not needed:
        return "Try --seeds 5, or fewer metrics with --metric."
    seeds = needed[len(needed) // 2]
    shown = sum(n <= seeds for n in needed)
    return (
        f"If they stay as they are, about {seeds} seeds would show {shown} of them; fewer metrics "
        "with --metric need fewer seeds."
    )


def _excludes_zero(difference: Difference) -> bool:
    low, high = difference.low, difference.high
    return low is not None and high is not None and not low <= 0 <= high


def _difference_rows(group: Group) -> Iterator[tuple[Cell, ...]]:
    for metric in group.metrics:
        for row in group.differences:
            if row.metric == metric.key:
                yield tuple((text, False) for text in _difference(metric, row))


def _difference(metric: Metric, row: Difference) -> list[str]:
    return [
        _head(metric),
        row.arm,
        format_number(row.value, metric.digits, sign=True),
        format_interval(row, metric.digits, sign=True) or UNDEFINED,
        format_p_value(row.p),
        format_p_value(row.p_holm),
        format_number(row.effect, 2, sign=True),
        row.verdict,
    ]
