"""`fki train --methods --seeds`: what is shown of many runs, and how the command ends."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from fki.commands._sweep_view import SweepTable
from fki.core.types import Step
from fki.training.sweep import Progress
from fki.training.trainer import Trainer

Fki = Callable[..., Any]
TWO = ("--methods", "vanilla,recadam", "--seeds", "1", "--output-dir", "grid")


@pytest.fixture
def several(dataset: Path) -> list[str]:
    """Options of two runs that take a second each."""
    sets = ("max_periods=1", "num_train_epochs=1", "max_probes_per_set=5")
    return [*TWO, "--dataset", str(dataset), *(part for s in sets for part in ("--set", s))]


def test_a_cell_is_the_run_that_its_own_preset_makes(
    fki: Fki, several: list[str], tmp_path: Path
) -> None:
    assert fki("train", *several).code == 0
    shared = several[len(TWO) :]
    alone = ("--preset", "t5_recadam", "--seed", "0", "--output-dir", "alone")
    assert fki("train", *alone, *shared).code == 0
    name = Path("checkpoints") / "2023-Q1" / "weights.safetensors"
    ours, theirs = tmp_path / "grid" / "recadam-s0", tmp_path / "alone"
    assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    configs = [json.loads((run / "run.json").read_text())["config"] for run in (ours, theirs)]
    assert configs[0] | {"output_dir": "alone"} == configs[1]


def test_away_from_a_terminal_each_cell_has_a_line_and_then_all_have_a_table(
    fki: Fki, several: list[str]
) -> None:
    shown = fki("train", *several)
    lines = [line for line in shown.err.splitlines() if line.startswith(("vanilla", "recadam"))]
    assert [line.split(":")[0] for line in lines] == ["vanilla-s0", "recadam-s0"]
    assert all("done, EM learned" in line for line in lines)
    assert "2 runs in grid, 2 of them" in shown.words
    assert "Next: fki compare grid" in shown.words
    rows = [line.split() for line in shown.out.splitlines()]
    assert [row[:3] for row in rows[1:3]] == [["vanilla", "0", "done"], ["recadam", "0", "done"]]
    compared = fki("compare", "grid").out.splitlines()
    assert compared[0].startswith("Which one to take: ")
    arms = [line.split()[:2] for line in compared if line.startswith(("vanilla ", "recadam "))]
    assert sorted(arms)[:2] == [["recadam", "1"], ["vanilla", "1"]]
    assert {f.parent.name for f in Path("grid").glob("*/report.html")} == {
        "vanilla-s0",
        "recadam-s0",
    }


def test_the_same_command_again_has_nothing_left_to_do(fki: Fki, several: list[str]) -> None:
    first, again = fki("train", *several), fki("train", *several)
    assert again.code == 0 and "2 runs in grid, 0 of them" in again.words
    assert again.out == first.out


def test_json_lines_say_which_cell_they_are_of(fki: Fki, several: list[str]) -> None:
    rows = fki("train", *several, "--json").rows
    assert all(row["cell"] in ("vanilla-s0", "recadam-s0") for row in rows)
    ours = [row for row in rows if row["cell"] == "recadam-s0"]
    assert ours[0]["status"] == "running" and ours[-1]["status"] == "done"
    assert {row["after"] for row in ours[1:-1]} == {"base", "2023-Q1"}
    assert ours[-1]["run"] == "grid/recadam-s0" and "probe_sets" in ours[-1]["summary"]


def test_without_a_folder_the_same_settings_find_the_same_one(
    fki: Fki, several: list[str], tmp_path: Path
) -> None:
    at = several.index("--output-dir")
    bare = [*several[:at], *several[at + 2 :]]
    assert fki("train", *bare).code == 0
    assert "0 of them" in fki("train", *bare).words
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("t5-quarter-")
    assert {f.name for f in folder.iterdir()} == {"vanilla-s0", "recadam-s0"}


def test_a_cell_that_fails_is_reported_at_the_end_with_its_error(
    fki: Fki, several: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer.backward

    def backward(self: Trainer, cut: Any) -> Any:
        if self.config.method == "vanilla":
            return torch.tensor([torch.nan, 1.0])
        return original(self, cut)

    monkeypatch.setattr(Trainer, "backward", backward)
    shown = fki("train", *several)
    assert shown.code == 1 and "Error: 1 of 2 runs failed. vanilla-s0: The loss" in shown.words
    assert "Traceback" not in shown.err and "Next: fki compare grid" in shown.words
    assert [line.split()[2] for line in shown.out.splitlines()[1:3]] == ["failed", "done"]


WRONG = {
    "a misspelt method": (("--methods", "recadem"), "Did you mean 'recadam'?"),
    "a method and several": (("--method", "lora"), "--method and --methods"),
    "a seed and several": (("--seed", "1"), "--seed and --seeds"),
    "no number of seeds": (("--seeds", "x"), "--seeds must be a count of at least 1"),
    "a part that there is not": (("--partition", "3/2"), "--partition must be I/N"),
    "a misspelt setting": (("--set", "sed=1"), "Did you mean 'seed'?"),
    "an option out of range": (("--set", "recadam.gamma=-1"), "recadam.gamma must be"),
    "a method that would train nothing": (("--set", "freeze_level=2"), "Use freeze_level = 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_input_ends_with_words_and_2_before_any_run(
    fki: Fki, several: list[str], tmp_path: Path, case: str
) -> None:
    more, words = WRONG[case]
    shown = fki("train", *several, *more)
    assert (shown.code, "Traceback" in shown.err) == (2, False)
    assert words in shown.words
    assert not (tmp_path / "grid").exists()


def test_other_settings_in_a_cells_folder_end_with_2(fki: Fki, several: list[str]) -> None:
    fki("train", *several)
    shown = fki("train", *several, "--set", "learning_rate=0.5")
    assert shown.code == 2
    assert "grid/vanilla-s0 contains a run with other settings: learning_rate" in shown.words
    assert "grid/recadam-s0 contains a run with other settings: learning_rate" in shown.words


def test_a_part_of_one_run_is_an_error(fki: Fki) -> None:
    shown = fki("train", "--partition", "1/2")
    assert shown.code == 2 and "Add --methods or --seeds" in shown.words


def test_a_plan_adds_up_what_all_cells_take(fki: Fki, several: list[str], tmp_path: Path) -> None:
    options = [*several, "--seeds", "3"]
    *each, total = fki("plan", *options, "--json").rows
    assert [(row["method"], row["cells"]) for row in each] == [("vanilla", 3), ("recadam", 3)]
    assert total["cells"] == 6 and total["folder"] == "grid"
    assert total["steps"] == 3 * sum(row["plan"]["steps"] for row in each)
    minutes = [row["plan"]["minutes"] for row in each]
    assert total["minutes"] == pytest.approx(3 * sum(minutes)) and 0 < max(minutes) < 1
    shown = fki("plan", *options)
    assert "no run was started" in shown.words and "optimizer steps" in shown.out
    assert not (tmp_path / "grid").exists()
    assert fki("plan", *several, "--to-toml").code == 2


def test_two_processes_share_a_grid_and_neither_hurts_the_other(
    several: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "fki", "train", *several, "--seeds", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    runs = sorted((tmp_path / "grid").glob("*/run.json"))
    assert [json.loads(run.read_text())["status"] for run in runs] == ["done"] * 4
    for run in runs:
        lines = (run.parent / "samples.jsonl").read_text().splitlines()
        asked = (run.parent / "probes.jsonl").read_text().splitlines()
        assert len(lines) == 2 * len(asked)


def drawn(count: int, *, height: int, at: int) -> list[str]:
    """The live table of so many cells on a terminal of 80 columns while one of them runs."""
    mine = [
        SimpleNamespace(name=f"c{i}", config=SimpleNamespace(method="kadapter_2", seed=i))
        for i in range(count)
    ]
    progress = {cell.name: Progress() for cell in mine}
    for cell in mine[:at]:
        progress[cell.name] = Progress("done", 1.0, 61.8, 93.7, 3725)
    progress[f"c{at}"] = Progress("running", 0.344, None, 100.0, 3725)
    names = lambda status: [n for n, p in progress.items() if p.status == status]  # noqa: E731
    grid: Any = SimpleNamespace(own_cells=mine, progress=progress, with_status=names)
    console = Console(file=io.StringIO(), width=80, height=height, force_terminal=True)
    table = SweepTable(console, grid)
    table.show_event(mine[at], Step("2023-Q1", 0, 1, 10, 1.0, 1e-3, 0.5, 32, 400, 0.1))  # type: ignore[arg-type]
    plain = Console(file=io.StringIO(), width=80)
    plain.print(table.render())
    assert isinstance(plain.file, io.StringIO)
    return plain.file.getvalue().splitlines()


def test_the_live_table_has_a_line_a_cell_and_fits_80_columns() -> None:
    lines = drawn(21, height=40, at=9)
    assert len(lines) == 1 + 21 + 1 and max(map(len, lines)) < 80
    assert lines[10].split() == ["kadapter_2", "9", "running", "34", "%", "-", "100.0", "1:02:05"]
    assert lines[11].split() == ["kadapter_2", "10", "waiting", "-", "-", "-"]
    assert lines[-1].startswith("9 of 21 done  c9: 2023-Q1 epoch 1  loss 1.000")


@pytest.mark.parametrize("at", [0, 30, 69])
def test_on_a_low_terminal_the_live_table_shows_the_rows_around_the_one_that_runs(
    at: int,
) -> None:
    lines = drawn(70, height=24, at=at)
    assert len(lines) < 24 and any("running" in line for line in lines)
    assert "54 not shown" in lines[-1]
