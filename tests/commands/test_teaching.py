"""`teach_base` teaches before a run or a sweep, once, and the runs have something to keep."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Fki = Callable[..., Any]


def test_a_sweep_and_a_run_share_the_taught_model(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    options = ["--preset", "t5", "--dataset", dataset, *short, "--set", "teach_base=true"]
    runs = tmp_path / "runs"
    shown = fki("train", *options, "--methods", "vanilla,recadam", "--output-dir", runs)
    assert shown.code == 0, shown.err
    assert "Teaching t5-mini the base knowledge of mine first." in shown.words
    [taught] = runs.glob("t5-mini-base-*")
    again = fki("train", *options, "--method", "lora", "--output-dir", runs / "lora")
    assert again.code == 0 and "Teaching" not in again.words and str(taught) in again.words
    compared = fki("compare", runs)
    assert taught.name in compared.out and "2 groups" not in compared.words


def test_a_plan_counts_the_teaching(fki: Fki, dataset: Path, short: list[str]) -> None:
    shown = fki("plan", "--dataset", dataset, *short, "--set", "teach_base=true")
    assert "steps teach the base knowledge, roughly" in shown.words
