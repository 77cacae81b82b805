"""A budget is stated in a preset and shown by `fki plan`; trackers are named with `--track`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fki = Callable[..., Any]


def test_a_budget_in_a_preset_is_planned_and_kept(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('extends = "t5"\n[budget]\nsteps = 1\n', encoding="utf-8")
    options = ["--preset", preset, "--dataset", dataset, *short, "--set", "train_batch_size=1"]
    planned = fki("plan", *options)
    assert "100% of its steps; it ends 1 of 1 periods" in " ".join(planned.out.split())
    rows = fki("plan", *options, "--json").rows
    [place] = [row["origin"] for row in rows if row.get("setting") == "budget.steps"]
    assert place == f"{preset}:3"
    [plan] = [row["plan"] for row in rows if "plan" in row]
    *_, end = fki("train", *options, "--output-dir", tmp_path / "run", "--json").rows
    assert end["spent"]["steps"] == plan["steps"] == 1
    assert end["spent"]["tokens"] == plan["tokens"]
    assert end["spent"]["flops"] == pytest.approx(plan["flops"])


def test_a_budget_is_written_as_a_preset_that_gives_it_again(fki: Fki, tmp_path: Path) -> None:
    stated = ["--set", "budget.flops=1e12", "--set", "budget.tokens=500"]
    written = fki("plan", "--preset", "t5_vanilla", *stated, "--to-toml")
    preset = tmp_path / "mine.toml"
    preset.write_text(written.out, encoding="utf-8")
    assert "[budget]\ntokens = 500  # --set\nflops = 1000000000000.0  # --set\n" in written.out
    again = fki("plan", "--preset", preset, "--to-toml").out
    assert [line.partition("  #")[0] for line in again.splitlines()] == [
        line.partition("  #")[0] for line in written.out.splitlines()
    ]


def test_a_misspelt_limit_names_its_line_and_the_right_one(fki: Fki, tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text("[budget]\nflop = 1e12\n", encoding="utf-8")
    shown = fki("plan", "--preset", preset)
    assert shown.code == 2
    assert f"{preset}:2: unknown key 'budget.flop'. Did you mean 'flops'?" in shown.words


def test_a_tracker_that_is_not_there_stops_before_anything_is_made(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fki.training import tracking

    monkeypatch.setattr(tracking, "get_available_trackers", list)
    run = tmp_path / "run"
    shown = fki(
        "train", "--dataset", dataset, *short, "--output-dir", run, "--track", "tensorboard"
    )
    assert shown.code == 2
    assert "needs the package tensorboard" in shown.words
    assert "pip install tensorboard" in shown.words
    assert not run.exists()


def test_a_tracker_is_no_setting(fki: Fki) -> None:
    shown = fki("plan", "--set", "track=tensorboard")
    assert shown.code == 2 and "unknown key 'track'" in shown.words
