"""The tables of a summary have a row for each probe set and for each metric of the stream."""

from typing import Any

from fki.metrics.registry import STREAM_METRICS
from fki.report.summary_tables import (
    editing_table,
    has_learned,
    probe_set_table,
    ranking_table,
    stream_table,
)

FIELDS = ("em", "f1", "accuracy", "log_likelihood", "perplexity", "old_em")
ROW = {field: {"before": 20.0, "learned": None, "after": 15.5} for field in FIELDS}
SUMMARY: dict[str, Any] = {"probe_sets": {"new": {"n": 1200, **ROW}}, "columns": ["a", "b"]}
SPENT = {"examples": 50.0, "train_seconds": 0.0, "eval_seconds": 70.0}


def test_a_trained_probe_set_shows_its_change() -> None:
    table = probe_set_table(SUMMARY, trained=True)
    [row] = table.rows
    values = {name: text for name, (text, _) in zip(table.head, row, strict=True)}
    assert values["probe set"] == "new" and values["probes"] == "1,200"
    assert (values["before"], values["learned"], values["after"]) == ("20.0", "-", "15.5")
    assert values["change"] == "-4.5"


def test_a_probe_set_without_training_shows_answer_metrics() -> None:
    table = probe_set_table(SUMMARY, trained=False)
    assert table.head[2:5] == ("EM, %", "F1, %", "accuracy, %")
    assert not table.title and len(table.align) == len(table.head)


def test_the_stream_table_has_every_metric_and_no_rate_without_training() -> None:
    summary = SUMMARY | dict.fromkeys(metric.key for metric in STREAM_METRICS)
    names = [row[0][0] for row in stream_table(summary, SPENT).rows]
    shown = [metric.label for metric in STREAM_METRICS if not metric.key.startswith("edit_score")]
    assert names == [*shown, "training", "evaluation"]
    [score] = [
        r for r in stream_table(summary | {"edit_score": 87.5}, SPENT).rows if "S" in r[0][0]
    ]
    assert score[1][0] == "87.5"
    assert stream_table(summary, SPENT).rows[-2][2][0] == "- examples/s"


def test_without_a_step_the_time_is_that_of_indexing() -> None:
    summary = SUMMARY | dict.fromkeys(metric.key for metric in STREAM_METRICS)
    spent = {**SPENT, "steps": 0, "stream_tokens": 9}
    assert stream_table(summary, spent).rows[-2][0][0] == "indexing"
    assert has_learned(spent) and has_learned({"steps": 3})
    assert not has_learned({"steps": 0, "stream_tokens": 0})


def test_an_undefined_fuar_states_its_reason() -> None:
    def value(before: float) -> str:
        kept = {"n": 9, **ROW, "em": {"before": before, "learned": None, "after": 0.0}}
        sets = {"probe_sets": {**SUMMARY["probe_sets"], "initial": kept}}
        summary = SUMMARY | sets | dict.fromkeys(metric.key for metric in STREAM_METRICS)
        rows = {row[0][0]: row[1][0] for row in stream_table(summary, SPENT).rows}
        assert rows["forgetting"] == "nothing to forget"
        return rows["FUAR"]

    assert value(0.0) == "nothing known before" and value(20.0) == "no gain"


def test_the_editing_table_has_sets_with_distractors_and_sets_that_stay() -> None:
    none = {"before": None, "learned": None, "after": None}
    new = ("success", "magnitude", "token_accuracy", "same_answer", "same_tokens")
    values = {"before": 40.0, "learned": None, "after": 62.5}

    def probe_set(**defined: dict[str, float | None]) -> dict[str, Any]:
        return {"n": 8, **ROW, **dict.fromkeys(new, none), **defined}

    edited = probe_set(success=values, magnitude=values, token_accuracy=values)
    kept = probe_set(same_answer=values, same_tokens=values)
    summary = {"probe_sets": {"initial": kept, "updated": edited, "new": probe_set()}}
    table = editing_table(summary, trained=True)
    assert table is not None
    rows = {row[0][0]: [text for text, _ in row[1:]] for row in table.rows}
    assert rows == {
        "initial": ["8", "-", "-", "-", "-", "62.5", "62.5"],
        "updated": ["8", "40.0", "62.5", "62.5", "62.5", "-", "-"],
    }
    untrained = editing_table(summary, trained=False)
    assert untrained is not None and len(untrained.head) == len(table.head) - 1
    assert editing_table({"probe_sets": {"initial": kept}}, trained=True) is None


def test_the_ranking_table_has_means_over_probes_and_over_relations() -> None:
    keys = ("precision_at_1", "precision_at_10", "em")
    row: dict[str, Any] = {"n": 8, **ROW}
    for number, key in enumerate(keys):
        for name, value in ((key, 10.0 * number), (f"{key}_by_relation", 10.0 * number + 1)):
            row[name] = {"before": 7.0, "learned": None, "after": value}
    summary = {"probe_sets": {"lama_trex": row, "new": {"n": 8, **ROW}}}
    table = ranking_table(summary, trained=True)
    assert table is not None
    cells = [[text for text, _ in row] for row in table.rows]
    assert cells == [["lama_trex", "8", "7.0", "0.0", "1.0", "10.0", "11.0", "20.0", "21.0"]]
    assert ranking_table({"probe_sets": {"new": {"n": 8, **ROW}}}, trained=False) is None
