"""Metrics are found by their role; the front is what no other point beats."""

from dataclasses import replace
from itertools import pairwise

from fki.comparison.types import Estimate, Group
from fki.metrics.registry import probe_set_metrics
from fki.report.metric_roles import format_interval, front, metric_of_role


def test_the_front_is_what_no_other_point_beats() -> None:
    points = [(1.0, 5.0), (3.0, 3.0), (2.0, 2.0), (3.0, 1.0), (5.0, 1.0), (1.0, 5.0)]
    assert front(points) == [0, 5, 1, 4]
    chosen = [points[place] for place in front(points)]
    assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in pairwise(chosen))


def test_a_stream_metric_goes_before_a_probe_set_of_the_same_role(group: Group) -> None:
    [fresh] = [m for m in probe_set_metrics("new") if m.role == "learned"]
    learned = metric_of_role(group, "learned")
    assert learned is not None and learned.key == "learning_gain"
    both = replace(group, metrics=(fresh, *group.metrics))
    assert metric_of_role(both, "learned") == learned
    known = tuple(replace(a, estimates={fresh.key: Estimate(5.0)}) for a in group.arms)
    assert metric_of_role(replace(both, arms=known), "learned") == fresh
    assert metric_of_role(replace(group, metrics=()), "kept") is None


def test_an_interval_is_written_in_brackets() -> None:
    assert format_interval(Estimate(5.0, 4.04, 6.06), 1) == "[4.0, 6.1]"
    assert format_interval(Estimate(5.0, -4.0, 6.0), 1, sign=True) == "[-4.0, +6.0]"
    assert format_interval(Estimate(5.0), 1) == ""
