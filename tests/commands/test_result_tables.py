"""The tables at the end of a run, wide or narrow."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from fki.commands._result_tables import near_tie_notes, probe_table, stream_table
from fki.core.types import Score
from fki.metrics.registry import STREAM_METRICS

SETS = ("invariant", "initial", "updated", "new", "paraphrase")
FIELDS = ("em", "f1", "accuracy", "log_likelihood", "perplexity", "old_em")
ROW = {field: {"before": 100.0, "learned": 61.8, "after": 93.7} for field in FIELDS}
SUMMARY = {"probe_sets": {name: {"n": 2907, **ROW} for name in SETS}}
SPENT = {"examples": 5000.0, "train_seconds": 10.0, "eval_seconds": 70.0}


def drawn(width: int, table: Table | None = None) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table or probe_table(SUMMARY, trained=True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_of_80_columns_shows_each_probe_set_on_one_line() -> None:
    lines = [line.split() for line in drawn(80).splitlines()]
    for name in SETS:
        assert [name, "2,907", "100.0", "61.8", "93.7", "-6.3", "93.70", "93.7"] in lines


def test_a_narrow_terminal_folds_names_and_cuts_no_number() -> None:
    lines = drawn(60).splitlines()
    names = "".join(line.split()[0] for line in lines if line[:1].strip())
    assert all(name in names for name in SETS)
    numbers = [line.split()[1:] for line in lines if "2,907" in line]
    assert numbers == [["2,907", "100.0", "61.8", "93.7", "-6.3", "93.70", "93.7"]] * len(SETS)


def test_without_training_a_probe_set_has_its_answer_metrics() -> None:
    lines = [line.split() for line in drawn(100, probe_table(SUMMARY, trained=False)).splitlines()]
    assert ["new", "2,907", "93.7", "93.7", "93.7", "93.70", "93.7"] in lines


def test_every_stream_metric_of_the_registry_has_a_row_with_its_description() -> None:
    summary = SUMMARY | {metric.key: 12.345 for metric in STREAM_METRICS}
    lines = drawn(160, stream_table(summary, SPENT)).splitlines()
    for metric in STREAM_METRICS:
        [line] = [line for line in lines if line.startswith(metric.label + " ")]
        assert f"{12.345:.{metric.digits}f}" in line and metric.meaning in line
    assert any("500 examples/s" in line for line in lines)


@pytest.mark.parametrize(("sets", "text"), [(SETS, "no gain"), (("new",), "-")])
def test_fuar_without_a_gain_is_named(sets: tuple[str, ...], text: str) -> None:
    metrics: dict[str, float | None] = dict.fromkeys(metric.key for metric in STREAM_METRICS)
    summary = {"probe_sets": {name: {} for name in sets}, **metrics}
    [line] = [x for x in drawn(120, stream_table(summary, SPENT)).splitlines() if "FUAR" in x]
    assert line.removeprefix("FUAR").strip().startswith(text)


@pytest.mark.parametrize(
    ("before", "text"), [(50.0, "no gain"), (0.0, "nothing known before"), (None, "-")]
)
def test_undefined_stream_metrics_have_their_reason(before: float | None, text: str) -> None:
    metrics: dict[str, object] = dict.fromkeys(metric.key for metric in STREAM_METRICS)
    sets = {"invariant": {"em": {"before": before}}}
    summary = {"probe_sets": sets, "columns": ["2024-Q1", "2024-Q2"], **metrics}
    rows = dict(
        line.split("  ", 1) for line in drawn(140, stream_table(summary, SPENT)).split("\n")[2:10]
    )
    assert rows["FUAR"].strip().startswith(text)
    assert rows["forgetting"].strip().startswith("nothing to forget")
    assert rows["KAR"].strip().startswith("- ")


@pytest.mark.parametrize(
    ("ties", "begins"),
    [
        ([0, 0], None),
        ([1, 0], "One answer is a near-tie"),
        ([2, 1200], "1,202 answers are near-ties"),
    ],
)
def test_near_ties_are_told_where_there_are_any(ties: list[int], begins: str | None) -> None:
    scores = [Score("new", "x", 9, 0.0, 0.0, 0.0, -1.0, near_ties=n) for n in ties]
    assert [text[: len(begins or "")] for text in near_tie_notes(scores)] == (
        [begins] if begins else []
    )
