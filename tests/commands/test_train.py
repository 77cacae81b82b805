"""`fki train` leaves a folder that explains itself, and `fki plan` leaves nothing."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.config.schema import flatten

Fki = Callable[..., Any]
NUMBERS = ["n", "em", "f1", "accuracy", "log_likelihood", "old_em", "old_n", "tokens", "perplexity"]
EDITING = ("contains", "token_accuracy", "success", "magnitude", "contrast_n")
COLUMNS = [
    *("after", "probe_set", "period", *NUMBERS, "lasts", "near_ties", "unscored", *EDITING),
    *("same_answer", "same_tokens", "same_n", "case_em", "case_n"),
    *("precision_at_1", "precision_at_10", "ranked_n", "test_passed", "test_n"),
    *(f"{key}_by_relation" for key in ("em", "precision_at_1", "precision_at_10", "ranked_n")),
    *(f"{key}_by_case" for key in ("success", "magnitude", "contrast_n", "token_accuracy")),
    *(f"{key}_by_case" for key in ("n", "same_tokens", "same_n")),
]
FILES = {
    *("run.json", "config.toml", "metrics.jsonl", "probes.jsonl", "samples.jsonl", "scores.json"),
    *("outcomes.npz", "report.html"),
}


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_run_is_a_folder_of_its_parts(trained: Path) -> None:
    assert {f.name for f in trained.iterdir()} == FILES | {"checkpoints", ".lock"}
    assert {f.name for f in (trained / "checkpoints").iterdir()} == {"2023-Q1", "LATEST"}


def test_a_run_describes_itself(trained: Path) -> None:
    info = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    assert info["status"] == "done" and info["config"]["seed"] == 7
    assert info["origins"]["seed"] == "--set" and info["origins"]["output_dir"] == "--output-dir"
    assert info["dataset"]["periods"] == ["2023-Q1"] and len(info["dataset"]["digest"]) == 64
    assert info["spent"]["examples"] == 4


def test_every_prediction_belongs_to_a_probe(trained: Path) -> None:
    asked = {(p["probe_set"], p["id"]) for p in lines(trained / "probes.jsonl")}
    answered = [(s["probe_set"], s["id"]) for s in lines(trained / "samples.jsonl")]
    assert set(answered) == asked and len(answered) == 2 * len(asked)


def test_the_config_of_a_run_is_a_preset_that_gives_it_again(fki: Fki, trained: Path) -> None:
    rows = fki("plan", "--preset", trained / "config.toml", "--json").rows
    values = {row["setting"]: row["value"] for row in rows if "setting" in row}
    config = json.loads((trained / "run.json").read_text(encoding="utf-8"))["config"]
    assert values == flatten(config)


def test_a_run_is_shown_as_tables_with_the_next_command(
    fki: Fki, dataset: Path, short: list[str]
) -> None:
    shown = fki("train", "--dataset", dataset, *short)
    assert shown.code == 0
    for words in ("Exact match (EM), %", "updated", "FUAR", "examples/s"):
        assert words in shown.out
    assert "fki compare runs" in shown.words and "fki export runs/" in shown.words


def test_json_lines_are_the_scores_and_then_the_run(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    shown = fki("train", "--dataset", dataset, "--output-dir", "run", *short, "--json")
    *scores, end = shown.rows
    assert {row["after"] for row in scores} == {"base", "2023-Q1"}
    assert all([*row] == COLUMNS for row in scores)
    assert end["run"] == "run" and "updated" in end["summary"]["probe_sets"]
    assert (tmp_path / "run" / "scores.json").is_file()


@pytest.mark.parametrize("log", ["logs/a.csv", "logs/a.jsonl", "logs"])
def test_output_log_is_a_further_copy_of_the_scores(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path, log: str
) -> None:
    more = ["--set", f"output_log={log}", "--set", "check_validation=true"]
    shown = fki("train", "--dataset", dataset, *short, *more, "--json")
    file = tmp_path / log if "." in log else tmp_path / log / "scores.csv"
    with file.open(encoding="utf-8", newline="") as text:
        is_csv = file.suffix == ".csv"
        rows = list(csv.DictReader(text)) if is_csv else [json.loads(line) for line in text]
    assert [[*row] for row in rows] == [COLUMNS] * len(shown.rows[:-1])


def test_an_output_log_that_exists_is_refused_before_training(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("mine", encoding="utf-8")
    shown = fki("train", "--dataset", dataset, *short, "--set", "output_log=a.csv")
    assert shown.code == 2 and "does not overwrite it" in shown.words
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "runs").exists()


def test_an_output_log_that_cannot_be_made_is_refused_before_training(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    shown = fki("train", "--dataset", dataset, *short, "--set", "output_log=file/x/a.csv")
    assert shown.code == 2 and "output_log: the folder file/x cannot be created" in shown.words
    assert not (tmp_path / "runs").exists()


def test_check_validation_scores_and_trains_nothing(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    more = ["--set", "check_validation=true", "--output-dir", "run"]
    *scores, end = fki("train", "--dataset", dataset, *short, *more, "--json").rows
    assert {row["after"] for row in scores} == {"base"}
    assert end["spent"]["steps"] == 0
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_check_validation_scores_the_weights_at_checkpoint_path(
    fki: Fki, trained: Path, short: list[str]
) -> None:
    more = ["--set", "check_validation=true", "--set"]
    more += [f"checkpoint_path={trained / 'checkpoints' / '2023-Q1'}"]
    *scores, _ = fki("train", "--dataset", trained.parent / "mine", *short, *more, "--json").rows
    after = [row for row in lines(trained / "metrics.jsonl") if row.get("after") == "2023-Q1"]
    found = {row["probe_set"]: row["log_likelihood"] for row in scores}
    assert found == pytest.approx({r["probe_set"]: r["log_likelihood"] for r in after}, abs=1e-4)


def test_an_output_dir_that_holds_files_is_refused_and_left_as_it_is(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine", encoding="utf-8")
    shown = fki("train", "--dataset", dataset, "--output-dir", "run", *short)
    assert shown.code == 1 and "fki does not delete files" in shown.words
    assert [f.read_text(encoding="utf-8") for f in (tmp_path / "run").iterdir()] == ["mine"]


WRONG = {
    "a misspelt key": (("--set", "learning_rat=1"), 2, "Did you mean 'learning_rate'?"),
    "a value of another type": (("--set", "train_batch_size=many"), 2, "an integer"),
    "a version that there is not": (("--version", "monthly"), 2, "Did you mean 'month'?"),
    "a set without its equals sign": (("--set", "seed"), 2, "KEY=VALUE"),
    "an unknown method": (("--method", "recadem"), 2, "Did you mean 'recadam'?"),
    "an unknown preset": (("--preset", "t5_recadm"), 2, "Did you mean 't5_recadam'?"),
    "an old config that is not there": (("--config", "old.json"), 2, "old.json not found"),
    "a dataset that is not here": (("--dataset", "wiki"), 3, "Run: fki download wiki"),
    "an unknown dataset": (("--dataset", "wikki"), 3, "Did you mean 'wiki'?"),
    "an unknown model": (("--model", "./t5-mni"), 3, "t5-mni not found"),
    "a wrong device count": (("--set", "ngpu=0"), 2, "of at least 1"),
    "an unknown option": (("--epochs", "3"), 2, "No such option"),
    "answers that do not fit": (("--set", "output_length=2"), 2, "--set output_length="),
    "an option out of range": (
        ("--preset", "t5_mixreview", "--set", "mixreview.ratio=-1"),
        2,
        "mixreview.ratio must be a number of at least 0, not -1",
    ),
    "taps outside of the model": (
        ("--preset", "t5_kadapter_2", "--set", "kadapter.layers=[1, 5]"),
        2,
        "must be 2 numbers from 0 to 2, the model's depth, not [1, 5]",
    ),
    "a corpus that is missing": (
        ("--preset", "t5_mixreview", "--set=mixreview.source=corpus", "--set=mixreview.corpus=old"),
        3,
        "old must be an existing .jsonl or .csv file",
    ),
    "nothing left to train": (
        ("--preset", "t5_recadam", "--set", "freeze_level=2"),
        2,
        "Use freeze_level = 0 or 1",
    ),
    "a checkpoint that is not there": (
        ("--set", "check_validation=true", "--set", "checkpoint_path=nowhere"),
        3,
        "nowhere",
    ),
}


@pytest.mark.parametrize("command", ["train", "plan"])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_input_ends_with_words_a_code_and_no_run(
    fki: Fki, dataset: Path, tmp_path: Path, command: str, case: str
) -> None:
    arguments, code, words = WRONG[case]
    shown = fki(command, "--dataset", dataset, *arguments)
    assert (shown.code, "Traceback" in shown.err) == (code, False)
    assert words in shown.words
    assert not (tmp_path / "runs").exists()


def test_a_bad_row_is_reported_before_training(fki: Fki, dataset: Path, tmp_path: Path) -> None:
    with (dataset / "stream.jsonl").open("a", encoding="utf-8") as text:
        text.write('{"subject": "x"}\n')
    shown = fki("train", "--dataset", dataset)
    assert shown.code == 3 and "stream.jsonl:6: 'relation' is missing" in shown.words
    assert not (tmp_path / "runs").exists()


def follow(command: list[str], moment: str, folder: Path) -> int:
    """Start a command and kill it as soon as a file of the folder matches; its exit code."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if folder.exists() and (not moment or any(folder.glob(moment))):
            process.kill()
            break
        time.sleep(0.0005)
    return process.wait()


def test_one_command_repeated_after_every_kill_gets_to_the_end(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    log = ["--set", f"output_log={tmp_path / 'log.csv'}", "--set", "save_every_steps=1"]
    arguments = ["train", "--dataset", str(dataset), *short, *log, "--output-dir", str(run)]
    command = [sys.executable, "-m", "fki", *arguments, "--resume"]
    for moment in ("", "probes.jsonl", "checkpoints/.*"):
        assert follow(command, moment, run) == -signal.SIGKILL
    shown = fki(*arguments, "--resume")
    assert shown.code == 0 and f"Resuming {run} from" in shown.words
    whole = fki(*arguments, "--set", f"output_log={tmp_path / 'w.csv'}", "--output-dir", "whole")
    assert whole.code == 0
    assert (run / "samples.jsonl").read_bytes() == Path("whole/samples.jsonl").read_bytes()
    (tmp_path / "log.csv").unlink()  # as if killed between the last status and these files
    (run / "report.html").unlink()
    before = (run / "run.json").read_bytes()
    shown = fki(*arguments, "--resume", "--json")
    assert shown.code == 0 and f"The run in {run} is already complete." in shown.words
    assert [row["run"] for row in shown.rows] == [str(run)]
    assert (tmp_path / "log.csv").read_bytes() == (tmp_path / "w.csv").read_bytes()
    assert (run / "report.html").exists() and (run / "run.json").read_bytes() == before
    assert fki(*arguments, "--resume", "--seed", "8").code == 2
    shown = fki(*arguments)
    assert shown.code == 1 and f"The run in {run} is done." in shown.words


def test_a_sweep_repeated_with_resume_gets_to_the_end(
    fki: Fki, dataset: Path, short: list[str], tmp_path: Path
) -> None:
    sweep = ["train", "--dataset", dataset, *short[:-2], "--seeds", "2", "--output-dir", "s"]
    cut = tmp_path / "s" / "vanilla-s1"
    cut.mkdir(parents=True)
    (cut / "run.json").write_text('{"fki":')
    assert fki(*sweep, "--resume").code == 0
    again = fki(*sweep, "--resume")
    assert again.code == 0 and "0 of them unfinished" in again.words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_step_can_be_repeated(
    fki: Fki, dataset: Path, short: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from fki.training import session

    monkeypatch.setattr(session, "build_session", lambda *_, **__: os.kill(os.getpid(), number))
    shown = fki("train", "--dataset", dataset, *short, "--output-dir", "run", "--resume")
    assert shown.code == 75 and shown.words.startswith("Error: Interrupted. Run the same command")


def test_all_wrong_settings_are_reported_at_once(fki: Fki) -> None:
    shown = fki("train", "--set", "sed=1", "--set", "num_beams=0", "--method", "lorra")
    assert shown.code == 2 and "3 settings are invalid" in shown.words


@pytest.mark.parametrize("version", ["week", "year", "all"])
def test_periods_may_be_weeks_years_or_the_whole_stream(
    fki: Fki, dataset: Path, short: list[str], version: str
) -> None:
    arguments = ("--dataset", dataset, "--version", version, *short, "--set", "max_periods=0")
    shown = fki("train", *arguments, "--json")
    assert shown.code == 0
    info = json.loads((Path(shown.rows[-1]["run"]) / "run.json").read_text(encoding="utf-8"))
    names = info["dataset"]["periods"]
    assert names == sorted(names) and info["dataset"]["version"] == version
    form = {"week": r"\d{4}-W\d\d", "year": r"\d{4}", "all": "all"}[version]
    assert all(re.fullmatch(form, name) for name in names)
    assert fki("eval", shown.rows[-1]["run"]).code == 0


def test_rows_without_dates_are_trained_on_as_one_period(
    fki: Fki, tmp_path: Path, short: list[str]
) -> None:
    folder = tmp_path / "undated"
    folder.mkdir()
    rows = [{"subject": s, "relation": "head", "object": "Ada"} for s in ("Arven", "Brel")]
    (folder / "stream.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = fki("train", "--dataset", folder, *short)
    assert shown.code == 0
    assert "Note: The rows of undated have no dates: they are a single period, 'all'" in shown.words
    assert "1 period;" in shown.words
    assert "--version all" in fki("download", "--check", folder).words
    checked = fki("download", "--check", folder, "--json")
    versions = [row for row in checked.rows if "version" in row]
    assert {(row["periods"], row["first"]) for row in versions} == {(1, None)}
