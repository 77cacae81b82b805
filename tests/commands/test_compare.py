"""`fki compare`: which runs are put together, which are left out, and what is said of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.metrics.registry import ANSWER_METRICS, EM, STREAM_METRICS

Fki = Callable[..., Any]


def copied(trained: Path, to: Path) -> Path:
    """A copy of the run, to harm."""
    return Path(shutil.copytree(trained, to))


def test_compare_puts_runs_side_by_side_and_lists_broken_ones(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    copied(trained, tmp_path / "runs" / "good")
    for name, text in {"torn": "{", "empty": "{}", "odd": "[]"}.items():
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "run.json").write_text(text, encoding="utf-8")
    shown = fki("compare", "runs", "--json")
    assert shown.code == 0
    assert [row["runs"] for row in shown.rows if "runs" in row] == [["runs/good"]]
    assert "cloze" not in fki("compare", "runs").out
    skipped = {Path(row["skipped"]).name for row in shown.rows if "skipped" in row}
    assert skipped == {"empty", "odd", "torn"}


def test_compare_shows_a_run_whose_scores_are_not_there_yet(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    run = copied(trained, tmp_path / "runs" / "early")
    (run / "scores.json").unlink()
    (run / "outcomes.npz").unlink()
    shown = fki("compare")
    assert shown.code == 0 and "Skipped runs/early" in shown.words


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"rows": 3, "summary": []}',
        '{"rows": [], "summary": {"columns": 3}}',
        '{"rows": [{"after": "base"}], "summary": {"columns": []}}',
        '{"rows": [{"after": "base", "scores": [{"probe_set": "new"}]}]}',
    ],
)
def test_compare_leaves_out_a_run_whose_scores_are_of_another_shape(
    fki: Fki, trained: Path, tmp_path: Path, text: str
) -> None:
    run = copied(trained, tmp_path / "runs" / "odd")
    (run / "scores.json").write_text(text, encoding="utf-8")
    (run / "outcomes.npz").unlink()
    shown = fki("compare", "runs")
    assert shown.code == 0 and "Skipped runs/odd" in shown.words


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("run.json", ["spent"], None),
        ("run.json", ["spent", "train_seconds"], "long"),
        ("run.json", ["protocol"], ["greedy"]),
        ("run.json", ["config", "method"], None),
        ("run.json", ["config", "seed"], "x"),
        ("run.json", ["status"], 3),
        ("run.json", ["parameters", "trainable"], "all"),
        ("run.json", ["origins"], "default"),
        ("scores.json", ["summary", "columns"], 3),
        ("scores.json", ["rows"], "all"),
    ],
)
def test_compare_leaves_out_a_run_with_a_value_of_another_kind(
    fki: Fki, trained: Path, tmp_path: Path, file: str, keys: list[str], value: Any
) -> None:
    run = copied(trained, tmp_path / "runs" / "odd")
    place = whole = json.loads((run / file).read_text(encoding="utf-8"))
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (run / file).write_text(json.dumps(whole), encoding="utf-8")
    (run / "outcomes.npz").unlink()
    shown = fki("compare", "runs", "--json")
    assert shown.code == 0 and [row["skipped"] for row in shown.rows] == ["runs/odd"]


def changed(run: Path, table: str, **values: Any) -> Path:
    """The run, with other values in its run.json."""
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    info[table] |= values
    (run / "run.json").write_text(json.dumps(info), encoding="utf-8")
    return run


@pytest.mark.parametrize(
    ("table", "values", "told"),
    [
        ("dataset", {"digest": "another"}, "data: mine"),
        ("dataset", {"version": "day"}, "version: quarter, day"),
        ("model", {"name": "t5-other"}, "base model: t5-mini"),
        ("model", {"tokenizer": "0123456789"}, "tokenizer: "),
        ("protocol", {"prompt_format": "prefix"}, "prompt_format: sentinel, prefix"),
        ("protocol", {"num_beams": 2}, "num_beams: 1, 2"),
        ("protocol", {"eval_every": 2}, "eval_every: 0, 2"),
        ("config", {"continue_from": "another"}, "start: the base model, another"),
    ],
)
def test_runs_that_differ_in_what_was_asked_are_not_compared_and_it_is_said(
    fki: Fki, trained: Path, tmp_path: Path, table: str, values: dict[str, Any], told: str
) -> None:
    copied(trained, tmp_path / "runs" / "one")
    changed(copied(trained, tmp_path / "runs" / "other"), table, **values)
    shown = fki("compare")
    assert shown.code == 0 and "2 groups of runs, not compared" in shown.words
    assert told in shown.words
    forced = fki("compare", "--force", "--by", "method")
    assert "groups of runs" not in forced.words
    assert f"Forced: these runs are not comparable. They differ in {told}" in forced.words
    rows = fki("compare", "--force", "--json").rows
    assert any(told in warning for warning in rows[0]["warnings"])


def test_what_says_nothing_of_how_a_run_learns_does_not_keep_runs_apart(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    copied(trained, tmp_path / "runs" / "one")
    other = copied(trained, tmp_path / "runs" / "other")
    changed(other, "config", seed=8, output_dir="elsewhere", num_workers=3)
    (other / "outcomes.npz").unlink()
    samples = (other / "samples.jsonl").read_text(encoding="utf-8")
    samples = samples.replace('"log_likelihood": -', '"log_likelihood": -1')  # another model
    (other / "samples.jsonl").write_text(samples, encoding="utf-8")
    shown = fki("compare", "--json")
    [row] = [row for row in shown.rows if "runs" in row]
    assert row["runs"] == ["runs/one", "runs/other"] and row["seeds"] == [7, 8]


def test_of_two_runs_with_the_same_settings_and_seed_the_newer_counts(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    old = copied(trained, tmp_path / "runs" / "old")
    info = json.loads((old / "run.json").read_text(encoding="utf-8"))
    (old / "run.json").write_text(json.dumps(info | {"created": "2001"}), encoding="utf-8")
    copied(trained, tmp_path / "runs" / "fresh")
    arm, _, left_out = fki("compare", "--json").rows
    assert arm["runs"] == ["runs/fresh"] and left_out["skipped"] == "runs/old"


def test_compare_takes_a_run_itself(fki: Fki, trained: Path) -> None:
    shown = fki("compare", trained)
    assert shown.code == 0 and "vanilla" in shown.out


@pytest.mark.parametrize("is_there", [True, False])
def test_compare_of_nothing_says_how_to_get_a_run(fki: Fki, tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "runs").mkdir()
    shown = fki("compare")
    assert shown.code == 3 and "Run: fki train" in shown.words


def test_a_page_and_figures_are_written_beside_what_is_shown(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    copied(trained, tmp_path / "runs" / "one")
    shown = fki("compare", "--html", "page.html", "--figures", "figures")
    assert shown.code == 0 and "vanilla" in shown.out and "Page: page.html" in shown.words
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "vanilla" in text
    assert {f.suffix for f in (tmp_path / "figures").iterdir()} == {".svg"}


@pytest.mark.parametrize(
    ("form", "begins"), [("--csv", "group,arm"), ("--latex", r"%"), ("--markdown", "## mine")]
)
def test_other_programs_get_nothing_but_their_form_on_stdout(
    fki: Fki, trained: Path, form: str, begins: str
) -> None:
    shown = fki("compare", trained, form)
    assert shown.code == 0 and shown.out.startswith(begins) and "vanilla" in shown.out
    assert "one seed" in shown.words


def test_there_is_one_form_on_stdout(fki: Fki, trained: Path) -> None:
    shown = fki("compare", trained, "--csv", "--json")
    assert shown.code == 2 and "one of --csv" in shown.words


def test_wide_shows_intervals_and_every_metric(fki: Fki, trained: Path) -> None:
    shown = fki("compare", trained, "--wide")
    lines = [line for line in shown.out.splitlines() if line.strip()]
    starts = [line.split("  ")[0] if line[:1].strip() else line.split()[0] for line in lines]
    assert " to " in shown.out
    for row in (
        "EM, %",
        "updated",
        "learned",
        "before",
        "ACC",
        "KAR",
        "F1, %",
        "accuracy, %",
    ):
        assert row in starts
    assert {"perplexity", "log-likelihood, nats", "old answer, %"} <= {*starts}


def test_an_answer_metric_is_shown_for_each_probe_set(fki: Fki, trained: Path) -> None:
    shown = fki("compare", trained, "--metric", "f1", "--metric", "updated.perplexity", "--json")
    [arm] = [row for row in shown.rows if "estimates" in row]
    for key in ("updated.f1", "invariant.f1", "updated.perplexity"):
        assert arm["estimates"][key]["value"] is not None
    assert "upd F1" in fki("compare", trained, "--metric", "f1").out


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--by", "learning_rat", "learning_rate"),
        ("--metric", "updatd", "updated"),
        ("--sort", "fuarr", "fuar"),
        ("--baseline", "vanila", "vanilla"),
    ],
)
def test_what_is_mistyped_is_told_the_nearest(
    fki: Fki, trained: Path, option: str, value: str, told: str
) -> None:
    shown = fki("compare", trained, option, value)
    assert shown.code == 2 and told in shown.words and "Traceback" not in shown.err


def test_the_help_names_every_metric(fki: Fki) -> None:
    words = fki("compare", "--help").out.replace("\n", " ").split()
    named = {word.strip("│,.") for word in words}
    assert {"success_by_case", "em_by_relation"} <= named  # the forms of means by group
    for metric in (*STREAM_METRICS, *ANSWER_METRICS):
        key = metric.key.removesuffix("_by_case").removesuffix("_by_relation")
        assert key in named or key == EM.key
