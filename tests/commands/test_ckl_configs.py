"""Configs of the original research code on the command line: trained from, planned, translated."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fki = Callable[..., Any]
OLD = {
    "input_length": 64,
    "output_length": 32,
    "num_train_epochs": 1,
    "output_dir": "outputs/mine",
    "dataset": "mine",
    "dataset_version": "quarter",
    "train_batch_size": 4,
    "eval_batch_size": 8,
    "learning_rate": 1e-3,
    "model": "t5-mini",
    "method": "baseline",
    "freeze_level": 0,
    "gradient_accumulation_steps": 1,
    "ngpu": 1,
    "num_workers": 0,
    "use_deepspeed": False,
    "use_lr_scheduling": False,
    "check_validation": False,
    "checkpoint_path": "outputs/mine",
    "output_log": "log/mine/",
    "wandb_log": False,
    "repeat_num": 1,
}


def old(tmp_path: Path, **changes: Any) -> str:
    """The path, as a user types it, of a config in their layout."""
    text = json.dumps(OLD | changes, indent=4)
    (tmp_path / "old.json").write_text(text, encoding="utf-8")
    return "old.json"


def settings(rows: list[dict[str, Any]], column: str) -> dict[str, Any]:
    return {row["setting"]: row[column] for row in rows if "setting" in row}


def test_a_run_is_trained_from_an_old_config(fki: Fki, dataset: Path, tmp_path: Path) -> None:
    shown = fki("train", "--config", old(tmp_path), "--set", "max_periods=1", "--json")
    assert shown.code == 0
    info = json.loads((tmp_path / "outputs/mine/run.json").read_text(encoding="utf-8"))
    assert (info["status"], info["config"]["method"]) == ("done", "vanilla")
    assert info["origins"]["learning_rate"] == "old.json:10"
    assert (tmp_path / "log" / "mine" / "scores.csv").is_file()
    assert "old.json:12: method 'baseline' is read as 'vanilla'." in shown.words
    assert "old.json: ignored: wandb_log (" in shown.words
    assert all("run" in row or "probe_set" in row for row in shown.rows)


def test_an_old_config_evaluates_what_it_has_trained(
    fki: Fki, dataset: Path, tmp_path: Path
) -> None:
    assert fki("train", "-c", old(tmp_path), "--set", "max_periods=1").code == 0
    evaluation = old(tmp_path, check_validation=True, output_log="log/again.csv")
    shown = fki("train", "-c", evaluation, "--set", "max_periods=1", "--json")
    assert shown.code == 0 and shown.rows[-1]["spent"]["steps"] == 0
    assert shown.rows[-1]["run"].startswith("runs")
    assert (tmp_path / "log" / "again.csv").is_file()


@pytest.mark.parametrize("option", ["--config", "-c", "--preset", "-p"])
def test_a_plan_shows_the_line_of_each_value_of_an_old_config(
    fki: Fki, dataset: Path, tmp_path: Path, option: str
) -> None:
    origins = settings(fki("plan", option, old(tmp_path), "--json").rows, "origin")
    assert origins["dataset"] == "old.json:6"
    assert origins["optimizer"] == "default of the original code"
    assert origins["num_beams"] == "default"


def test_a_plan_gives_its_notes_as_data_too(fki: Fki, dataset: Path, tmp_path: Path) -> None:
    shown = fki("plan", "--config", old(tmp_path), "--json")
    [row] = [row for row in shown.rows if "notes" in row]
    assert "old.json:12: method 'baseline' is read as 'vanilla'." in row["notes"]
    assert all(f"Note: {note}" in shown.words for note in row["notes"])


def test_to_toml_writes_a_preset_that_gives_the_same_settings(
    fki: Fki, dataset: Path, tmp_path: Path
) -> None:
    path = old(tmp_path, method="kadapter3", freeze_level=1)
    shown = fki("plan", "--config", path, "--to-toml")
    assert shown.code == 0 and "3 equal modules in parallel" in shown.words
    (tmp_path / "mine.toml").write_text(shown.out, encoding="utf-8")
    before, after = (fki("plan", "-p", p, "--json").rows for p in (path, "mine.toml"))
    assert settings(before, "value") == settings(after, "value")
    assert settings(after, "origin")["kadapter.mode"].startswith("mine.toml:")


def test_to_toml_writes_any_settings(fki: Fki, tmp_path: Path) -> None:
    arguments = ("--preset", "t5_recadam", "--version", "day", "--set", "recadam.w=0.5")
    shown = fki("plan", *arguments, "--to-toml", "--json")
    assert 'dataset_version = "day"  # --version\n' in shown.out
    assert "\n[recadam]\ngamma = 300" in shown.out and "w = 0.5  # --set\n" in shown.out
    assert "anneal" not in shown.out


def test_to_toml_needs_no_torch_and_no_dataset(tmp_path: Path) -> None:
    path = old(tmp_path, method="recadam", dataset="nowhere")
    code = (
        "import sys\nfrom fki.commands.app import main\n"
        f"try: main(['plan', '-c', '{path}', '--to-toml'])\n"
        "finally: print({'torch', 'transformers'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "set()"
    assert 'dataset = "nowhere"  # old.json:6\n' in done.stdout


WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an unknown key": ({"lerning_rate": 1}, ("old.json:24: ", "Did you mean 'learning_rate'?")),
    "an unknown method": ({"method": "recadem"}, ("old.json:12: ", "Did you mean 'recadam'?")),
    "DeepSpeed": (
        {"use_deepspeed": True},
        ("'adafactor' needs whole rows", "use_deepspeed = true", "--set optimizer=adamw"),
    ),
    "answers that do not fit": (
        {"output_length": 2},
        ("output_length = 2", "Add: --set output_length="),
    ),
}


@pytest.mark.parametrize("command", ["train", "plan"])
@pytest.mark.parametrize("case", WRONG)
def test_an_old_config_that_cannot_be_used_ends_with_words_and_no_run(
    fki: Fki, dataset: Path, tmp_path: Path, command: str, case: str
) -> None:
    changes, words = WRONG[case]
    shown = fki(command, "--config", old(tmp_path, **changes))
    assert shown.code == 2 and "Traceback" not in shown.err
    assert all(word in shown.words for word in words)
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "runs").exists()


MISSING = {
    "recentnews": "fki download ckl --from FOLDER",
    "0801-0901_changed": "fki download temporalwiki --from hub:seonghyeonye/TemporalWiki",
    "WOW": "is a task of KILT",
}


@pytest.mark.parametrize("name", MISSING)
def test_data_that_is_not_installed_is_named_with_the_command_that_builds_it(
    fki: Fki, tmp_path: Path, name: str
) -> None:
    path = old(tmp_path, dataset=name, dataset_version="full")
    assert fki("plan", "--config", path, "--to-toml").code == 0
    shown = fki("train", "--config", path)
    assert shown.code == 3 and MISSING[name] in shown.words


def test_weights_of_lightning_are_refused_where_they_would_be_read(
    fki: Fki, dataset: Path, tmp_path: Path
) -> None:
    path = old(tmp_path, check_validation=True, checkpoint_path="a.ckpt")
    assert fki("plan", "--config", path, "--to-toml").code == 0
    shown = fki("train", "--config", path)
    assert shown.code == 3 and "a.ckpt is a file of PyTorch Lightning" in shown.words
    assert "--set checkpoint_path=" in shown.words and not (tmp_path / "outputs").exists()


def test_the_untouched_model_is_evaluated(fki: Fki, dataset: Path, tmp_path: Path) -> None:
    shown = fki("train", "--config", old(tmp_path, method="initial"), "--json")
    assert shown.code == 0 and shown.rows[-1]["spent"]["steps"] == 0
    info = json.loads((tmp_path / "outputs/mine/run.json").read_text(encoding="utf-8"))
    assert (info["config"]["method"], info["config"]["check_validation"]) == ("vanilla", True)
    again = fki("train", "--dataset", "mine", "--method", "initial", "--json")
    assert again.code == 0 and "initial-quarter-s0-" in again.rows[-1]["run"]
    first, second = (shot.rows[-1]["summary"]["probe_sets"] for shot in (shown, again))
    for key in ("n", "em", "f1", "accuracy"):  # batches differ, and with them the last bits
        assert {n: row[key] for n, row in first.items()} == {
            n: row[key] for n, row in second.items()
        }


def test_changed_values_are_noted_even_if_the_data_is_refused(
    fki: Fki, dataset: Path, tmp_path: Path
) -> None:
    shown = fki("train", "--config", old(tmp_path, output_length=2))
    assert "is read as 'vanilla'" in shown.words and "Error:" in shown.words


@pytest.mark.parametrize("text", ["{", "[1]", "", "[" * 100_000])
def test_to_toml_of_no_config_writes_nothing_to_stdout(fki: Fki, tmp_path: Path, text: str) -> None:
    (tmp_path / "old.json").write_text(text, encoding="utf-8")
    shown = fki("plan", "--config", "old.json", "--to-toml")
    assert (shown.code, shown.out) == (2, "") and "Traceback" not in shown.err
