"""The tables of `fki compare` on a terminal, wide or narrow."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from fki.commands._compare_tables import (
    describe_columns,
    describe_rows,
    difference_table,
    iter_arm_rows,
    main_table,
    wide_table,
)
from fki.comparison.compare import compare
from fki.comparison.types import Group
from fki.core.errors import ConfigError
from fki.metrics.registry import STREAM_METRICS
from fki.testing.toy_runs import write_run

BETTER = {"invariant": (0.9, 0.95, 0.97, 1.0), "initial": (0.9, 0.95, 0.97, 1.0)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vanilla and one that forgets nothing, six seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(6):
        write_run(folder / f"vanilla-s{seed}", "vanilla", seed)
        write_run(folder / f"recadam-s{seed}", "recadam", seed, BETTER)
    return folder


@pytest.fixture(scope="module")
def group(folder: Path) -> Group:
    return compare([folder]).groups[0]


def lines(table: Table, width: int = 160) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_main_table_has_a_row_for_each_arm_and_fits_80_columns(group: Group) -> None:
    shown = lines(main_table(group, ""), 80)
    assert len(shown) == 2 + len(group.arms)
    assert shown[1].split() == ["arm", "seeds", *(m.short for m in group.metrics), "time"]
    assert "100.0▲" in shown[-1]


def test_arms_are_sorted_by_a_metric_that_is_shown(group: Group) -> None:
    assert lines(main_table(group, "invariant"))[2].startswith("recadam")
    assert lines(main_table(group, "fuar"))[2].startswith("recadam")
    with pytest.raises(ConfigError, match=r"not 'fuarr'.*fuar"):
        main_table(group, "fuarr")


def test_the_wide_table_has_a_section_for_each_answer_metric(folder: Path) -> None:
    [group] = compare([folder], everything=True).groups
    shown = [line.rstrip() for line in lines(wide_table(group, ""))]
    answers = ("EM, %", "F1, %", "accuracy, %", "log-likelihood, nats", "perplexity")
    for head in (*answers, "answer contained, %", "token accuracy, %", "stream", "cost"):
        assert head in shown
    assert sum(line.startswith("invariant ") for line in shown) == 7
    assert [
        line.split()[0] for line in shown if line.startswith("  ") and line.split()[0].isalpha()
    ]
    described = describe_rows(group)
    without = (m for m in STREAM_METRICS if not m.key.startswith("edit_score"))  # no distractors
    for metric in without:
        assert f"{metric.label}: {metric.describe()}" in described


def test_each_column_is_described_once(group: Group) -> None:
    text = describe_columns(group)
    for metric in group.metrics:
        assert text.count(f"{metric.short}: ") == 1
    assert "vanilla" in text and "Holm-adjusted" in text


def test_differences_with_evidence_are_shown_and_the_others_are_counted(group: Group) -> None:
    table, note = difference_table(group, is_wide=False)
    evident = [d for d in group.differences if d.verdict in ("better", "worse")]
    others = len(group.differences) - len(evident)
    assert 0 < len(evident) == table.row_count and others
    assert f"{others} of {len(group.differences)}" in note and "paired bootstrap" in note
    row = next(line for line in lines(table) if line.startswith("inv "))
    assert "recadam" in row and "▲" in row and "●" in row
    everything, note = difference_table(group, is_wide=True)
    assert everything.row_count == len(group.differences) and "--wide" not in note


def test_a_row_of_data_has_the_arm_and_its_differences(group: Group) -> None:
    rows = {row["name"]: row for row in iter_arm_rows(group)}
    assert rows["vanilla"]["differences"] == [] and rows["vanilla"]["baseline"] == "vanilla"
    recadam = rows["recadam"]
    assert {d["metric"] for d in recadam["differences"]} == {m.key for m in group.metrics}
    assert recadam["estimates"]["invariant"]["value"] == 100.0
