"""Every metric is in the registry once, with a key, a name and a meaning of its own."""

from itertools import product

import numpy as np
import pytest

from fki.core.probe_sets import MOMENTS, PROBE_SETS
from fki.core.types import Prediction, Score
from fki.metrics.continual import StreamScores
from fki.metrics.registry import (
    ANSWER_METRICS,
    BY_FIELD,
    STREAM_METRICS,
    Metric,
    all_metrics,
    is_default,
    metric_key,
    probe_set_metrics,
)
from fki.runs.outcomes import COUNTED, PARTIAL

OWN = ("capitals", "fuar", "updated.learned")


def test_every_metric_has_a_key_a_label_and_a_short_label_of_its_own() -> None:
    metrics = all_metrics(OWN)
    assert len(metrics) == len(STREAM_METRICS) + 3 * len(ANSWER_METRICS) * (
        len(PROBE_SETS) + len(OWN)
    )
    assert all(key == metric.key for key, metric in metrics.items())
    standard = [m for m in metrics.values() if m.probe_set not in OWN]
    for name in ("label", "short", "meaning"):
        values = [getattr(metric, name) for metric in standard]
        assert len(set(values)) == len(values) and all(values)


def test_the_key_of_exact_match_at_the_end_is_the_name_of_the_probe_set() -> None:
    f1 = BY_FIELD["f1"]
    assert metric_key("updated", "after") == "updated"
    assert metric_key("updated", "learned") == "updated.learned"
    assert metric_key("updated", "after", f1) == "updated.f1"
    assert metric_key("updated", "before", f1) == "updated.f1.before"
    assert metric_key("fuar", "after") == "probes/fuar"
    assert metric_key("updated.learned", "before") == "probes/updated_learned.before"


def test_answer_metrics_are_fields_of_scores_and_of_predictions() -> None:
    for metric in ANSWER_METRICS:
        assert metric.key in Score.__dataclass_fields__
        assert metric.total in Prediction.__dataclass_fields__
        if metric.within:
            assert metric.key == f"{metric.total}_by_{metric.within}"
            assert metric.per == f"{metric.has_score or 'n'}_by_{metric.within}"
            assert metric.per in Score.__dataclass_fields__ and not metric.is_binary
            assert metric.has_score in ("", *COUNTED)
        else:
            assert metric.per in ("", "tokens", PARTIAL.get(metric.key))
        assert COUNTED.keys() == set(PARTIAL.values())


def test_what_is_shown_by_default_is_exact_match_at_the_end_and_four_stream_metrics() -> None:
    shown = [key for key, metric in all_metrics(["own"]).items() if is_default(metric)]
    assert shown == [*PROBE_SETS, "learning_gain", "forgetting", "fuar", "edit_score", "own"]


def test_the_roles_are_those_of_learning_keeping_and_forgetting() -> None:
    roles: dict[str, set[str]] = {}
    for key, metric in all_metrics(["own"]).items():
        roles.setdefault(metric.role, set()).add(key)
    assert roles["learned"] == {
        "learning_gain",
        *(f"{n}.learned" for n in ("updated", "new", "cloze")),
    }
    assert roles["kept"] == {"invariant", "initial"} and roles["forgotten"] == {"forgetting"}


@pytest.mark.parametrize("metric", STREAM_METRICS, ids=lambda metric: metric.key)
def test_a_stream_metric_is_computed_for_each_draw_within_its_bounds(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    ends = {name: 100 * rng.random((2, 5)) for name in ("invariant", "updated", "new")}
    scores = StreamScores(100 * rng.random((4, 3, 5)), np.ones((3, 5)), ends, 1000, 10.0)
    assert metric.compute is not None
    values = metric.compute(scores)
    assert values.shape == (5,)
    for value in values[np.isfinite(values)]:
        assert metric.clip(float(value)) == value


def test_a_value_beyond_the_bounds_is_clipped() -> None:
    [metric, *_] = probe_set_metrics("new")
    assert [metric.clip(value) for value in (-1.0, 50.0, 101.0, None)] == [0.0, 50.0, 100.0, None]


def test_a_description_names_the_unit_and_the_direction() -> None:
    by_key = {metric.key: metric for metric in STREAM_METRICS}
    assert by_key["forgetting"].describe().endswith("(%, lower is better)")
    assert by_key["bwt"].describe().endswith("(%)")
    assert BY_FIELD["perplexity"].describe() == "perplexity, lower is better"


def test_every_moment_of_every_answer_metric_is_described() -> None:
    for answer, moment in product(ANSWER_METRICS, MOMENTS):
        metrics = {metric.moment: metric for metric in probe_set_metrics("updated", answer)}
        assert (
            answer.label in metrics[moment].meaning and MOMENTS[moment] in metrics[moment].meaning
        )
