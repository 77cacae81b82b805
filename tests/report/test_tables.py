"""The tables of a group have a row for each arm, and for each difference."""

from dataclasses import replace

from fki.comparison.types import Difference, Group
from fki.core.formatting import format_number, format_p_value
from fki.report.metric_roles import format_interval
from fki.report.tables import describe_adjustment, difference_table, score_table


def test_the_score_table_has_a_row_for_each_arm_and_marks_the_best(group: Group) -> None:
    table = score_table(group)
    assert len(table.align) == len(table.head) and table.align.startswith("lr")
    for arm, row in zip(group.arms, table.rows, strict=True):
        assert row[0][0] == arm.name and row[1][0] == str(len(arm.seeds))
        for metric, (text, is_best) in zip(group.metrics, row[2:-2], strict=True):
            estimate = arm.estimate(metric.key)
            assert text.startswith(format_number(estimate.value, metric.digits))
            assert format_interval(estimate, metric.digits) in text
            assert is_best == (arm.name in group.best(metric))


def test_the_difference_table_has_a_row_for_each_difference(group: Group) -> None:
    table = difference_table(group)
    assert group.baseline in table.title and "paired bootstrap" in table.note
    rows = {(row[0][0], row[1][0]): [text for text, _ in row[2:]] for row in table.rows}
    assert len(rows) == len(group.differences)
    for difference in group.differences:
        metric = next(m for m in group.metrics if m.key == difference.metric)
        head = f"{metric.short} ({metric.unit})" if metric.unit else metric.short
        cells = rows[head, difference.arm]
        assert cells[0] == format_number(difference.value, metric.digits, sign=True)
        assert cells[3] == format_p_value(difference.p_holm) and cells[-1] == difference.verdict


def test_an_interval_without_zero_and_without_a_verdict_gets_its_reason(group: Group) -> None:
    unclear = Difference(
        "updated", group.arms[1].name, group.arms[0].name, 16.0, 4.0, 28.0, 0.01, 0.24,
        verdict="no evidence of a difference",
    )  # fmt: skip
    clear = replace(unclear, p_holm=0.01, verdict="better")
    across = replace(unclear, low=-4.0)
    assert describe_adjustment(replace(group, differences=(clear, across))) == ""
    text = describe_adjustment(replace(group, differences=(clear, across, unclear)))
    assert text.startswith("1 interval excludes zero") and "3 tests" in text and "--seeds 5" in text
