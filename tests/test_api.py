"""`import fki` is quick, and its functions give what the commands of their names give."""

import inspect
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fki
from fki.core.types import RowScored, Step
from fki.report.table_formats import to_latex
from fki.testing.toy_runs import write_run

Fki = Callable[..., Any]
FUNCTIONS = (fki.ask, fki.compare, fki.evaluate, fki.export, fki.load_dataset, fki.train)
SHORT = {"num_train_epochs": 1, "max_periods": 1, "optimizer": "adamw", "seed": 3}
HEAVY = {"torch", "numpy", "pydantic", "typer", "rich", "transformers", "pandas"}


@pytest.fixture
def train(toy_folder: Path, dataset: Path) -> Callable[..., fki.TrainResult]:
    """`fki.train` of a short run of the toy model."""

    def run(*presets: str, **settings: Any) -> fki.TrainResult:
        places = {"model": toy_folder, "dataset": dataset}
        return fki.train(presets or "t5_vanilla", **{**places, **SHORT, **settings})

    return run


@pytest.fixture(scope="module")
def run_dir(toy_folder: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that is only read."""
    folder = tmp_path_factory.mktemp("runs") / "vanilla"
    fki.train("t5_vanilla", model=toy_folder, dataset=dataset, output_dir=folder, **SHORT)
    return folder


def test_importing_fki_imports_nothing_that_it_may_not_need() -> None:
    code = (
        "import sys, fki\n"
        "assert {'train', 'FkiError', '__version__'} <= set(dir(fki))\n"
        "fki.train, fki.compare, fki.FkiError, fki.TrainResult, fki.Step\n"
        f"print(sorted({HEAVY!r} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(fki, name) is not None for name in fki.__all__)
    assert set(fki.__all__) <= set(dir(fki))
    with pytest.raises(AttributeError, match="trian"):
        fki.trian  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_every_function_documents_its_parameters_with_an_example(function: Any) -> None:
    text = inspect.getdoc(function)
    assert text and ">>> import fki" in text
    for section in ("Args:", "Returns:", "Raises:", "Examples:"):
        assert section in text
    documented = text[text.index("Args:") : text.index("Returns:")]
    for name in inspect.signature(function).parameters:
        assert f"    {name}: " in documented or f"    **{name}: " in documented


def lines(file: Path, *without: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [{key: row[key] for key in row if key not in without} for row in rows]


def test_a_run_equals_that_of_the_command_bit_for_bit(
    fki: Fki, train: Any, toy_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    result = train("t5_recadam", output_dir=tmp_path / "api", recadam={"gamma": 10.0})
    options = [
        "--model",
        toy_folder,
        "--dataset",
        dataset,
        "--seed",
        "3",
        "--output-dir",
        "command",
    ]
    for text in ("num_train_epochs=1", "max_periods=1", "optimizer=adamw", "recadam.gamma=10.0"):
        options += ["--set", text]
    assert fki("train", "--preset", "t5_recadam", *options).code == 0
    ours, theirs = tmp_path / "api", tmp_path / "command"
    assert {f.name for f in ours.iterdir()} == {f.name for f in theirs.iterdir()}
    for name in ("samples.jsonl", "probes.jsonl"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert lines(ours / "metrics.jsonl", "seconds") == lines(theirs / "metrics.jsonl", "seconds")
    [weights] = ours.glob("checkpoints/*/weights.safetensors")
    assert weights.read_bytes() == (theirs / weights.relative_to(ours)).read_bytes()
    scores = json.loads((theirs / "scores.json").read_text(encoding="utf-8"))
    assert list(result.scores) == [row["after"] for row in scores["rows"]]
    timed = {"kar"}
    for key in result.summary.keys() - timed:
        assert result.summary[key] == scores["summary"][key], key


def test_settings_are_laid_over_the_environment_and_that_over_presets(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FKI_LEARNING_RATE", "0.5")
    monkeypatch.setenv("FKI_SEED", "8")
    result = train("t5_recadam", seed=9, recadam={"gamma": 7.0}, check_validation=True)
    values, origins = result.settings, result.origins
    assert (values["learning_rate"], values["seed"]) == (0.5, 9)
    assert values["recadam"]["gamma"] == 7.0
    assert origins["learning_rate"] == "FKI_LEARNING_RATE"
    assert origins["seed"] == origins["recadam.gamma"] == "fki.train(...)"
    assert origins["method"].startswith("t5_recadam.toml:")
    assert origins["num_beams"] == "default"


def test_a_method_alone_means_its_own_preset(toy_folder: Path, dataset: Path) -> None:
    result = fki.train(
        method="lora", model=toy_folder, dataset=dataset, check_validation=True, **SHORT
    )
    assert result.settings["method"] == "lora"
    assert result.origins["learning_rate"].startswith("t5_lora.toml:")


def test_a_setting_may_be_a_dotted_name_and_a_version(train: Any) -> None:
    more = {"recadam.gamma": 5.0, "dataset_version": "month"}
    result = train("t5_recadam", check_validation=True, **more)
    assert result.settings["recadam"]["gamma"] == 5.0
    assert result.settings["dataset_version"] == "month"


def test_unknown_settings_are_all_named_with_their_origin(train: Any) -> None:
    with pytest.raises(fki.ConfigError) as caught:
        train(num_train_epoch=2, train_batch_size="many")
    message = str(caught.value)
    assert "num_train_epochs" in message and "train_batch_size" in message
    assert "fki.train(...)" in message


def test_a_dataset_that_is_not_here_is_refused_with_what_to_type() -> None:
    with pytest.raises(fki.NotDownloaded) as caught:
        fki.load_dataset("wiki")
    assert caught.value.hint is not None and "fki download wiki" in caught.value.hint


def test_a_finished_run_is_not_begun_again(train: Any, run_dir: Path) -> None:
    with pytest.raises(fki.RunLocked):
        train(output_dir=run_dir)


def test_events_are_steps_and_scored_rows_in_order(train: Any) -> None:
    events: list[Step | RowScored] = []
    result = train(on_event=events.append)
    assert [type(e) for e in (events[0], events[1], events[-1])] == [RowScored, Step, RowScored]
    rows = [event for event in events if isinstance(event, RowScored)]
    assert {row.after: tuple(row.scores) for row in rows} == result.scores
    assert len(events) - len(rows) == result.spent["steps"]


def test_nothing_is_printed_and_notes_are_logged(
    train: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="fki"):
        result = train(ngpu=2)
    assert capsys.readouterr() == ("", "")
    [note] = result.notes
    assert "ngpu = 2" in note and note in caplog.messages


def stop_at(step: int, how: Callable[[], None]) -> Callable[[Step | RowScored], None]:
    """A callback that stops a run at an optimizer step."""
    taken: list[Step] = []

    def on_event(event: Step | RowScored) -> None:
        if isinstance(event, Step):
            taken.append(event)
            if len(taken) == step:
                how()

    return on_event


def test_ctrl_c_saves_the_run_and_it_can_be_resumed(train: Any, tmp_path: Path) -> None:
    whole = train(num_train_epochs=3, output_dir=tmp_path / "whole")
    more = {"num_train_epochs": 3, "output_dir": tmp_path / "run"}
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(fki.Interrupted, match="run"):
        train(on_event=stop_at(2, lambda: os.kill(os.getpid(), signal.SIGINT)), **more)
    assert signal.getsignal(signal.SIGINT) is handler
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    result = train(resume=True, **more)
    assert result.scores == whole.scores
    assert any(note.startswith("Resuming ") for note in result.notes)


def test_an_exception_of_the_callback_leaves_a_run_that_can_be_resumed(
    train: Any, tmp_path: Path
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    whole = train(output_dir=tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        train(on_event=stop_at(1, fail), output_dir=tmp_path / "run")
    assert train(resume=True, output_dir=tmp_path / "run").scores == whole.scores


def test_an_evaluation_equals_that_of_the_command(fki: Fki, run_dir: Path, tmp_path: Path) -> None:
    from fki import evaluate

    result = evaluate(run_dir, version="month", output=tmp_path / "ours")
    end = fki("eval", run_dir, "--version", "month", "--output", "theirs", "--json").rows[-1]
    assert result.summary == end["summary"] and result.checkpoint == end["checkpoint"]
    for name in ("scores.json", "samples.jsonl"):
        ours, theirs = tmp_path / "ours" / name, tmp_path / "theirs" / name
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_run_is_not_evaluated_as_another_model(run_dir: Path) -> None:
    with pytest.raises(fki.ConfigError, match="method"):
        fki.evaluate(run_dir, method="lora")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four runs, made of answers alone."""
    folder = tmp_path_factory.mktemp("compared") / "runs"
    for seed in (0, 1):
        write_run(folder / f"vanilla-{seed}", "vanilla", seed)
        write_run(folder / f"lora-{seed}", "lora", seed, {"updated": (0.1, 0.8, 0.8, 0.9)})
    return folder


def test_a_comparison_equals_that_of_the_command(fki: Fki, compared: Path) -> None:
    from fki import compare

    result = compare(compared, baseline="vanilla", metrics=["updated", "updated.learned"])
    options = ["--baseline", "vanilla", "--metric", "updated", "--metric", "updated.learned"]
    assert result.to_csv() == fki("compare", compared, *options, "--csv").out
    assert result.to_markdown() == fki("compare", compared, *options, "--markdown").out
    assert result.to_latex() == to_latex(result.comparison)


def test_an_export_is_checked_and_answers_as_the_run(run_dir: Path, tmp_path: Path) -> None:
    result = fki.export(run_dir, tmp_path / "out", to="hf")
    assert result.parity.same_answers == result.parity.asked > 0
    assert result.output == tmp_path / "out" and result.format == "hf" and result.losses == {}
    question = "___ is the mayor of Avalon."
    [ours], [theirs] = fki.ask(run_dir, question), fki.ask(result.output, [question])
    assert ours.answer.text == theirs.answer.text
    assert callable(fki.export)  # and no module of this name has taken its place


def test_options_of_an_export_that_contradict_are_refused(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(fki.ConfigError):
        fki.export([run_dir, run_dir], tmp_path / "out")
    with pytest.raises(fki.ConfigError, match="public"):
        fki.export(run_dir, tmp_path / "out", public=True)
    assert not (tmp_path / "out").exists()


def test_an_average_of_checkpoints_is_exported(train: Any, tmp_path: Path) -> None:
    for seed in (1, 2):
        train(seed=seed, output_dir=tmp_path / f"run{seed}")
    runs = [tmp_path / "run1", tmp_path / "run2"]
    result = fki.export(runs, tmp_path / "out", average="newest")
    assert len(result.averaged) == 2


def test_answers_equal_those_of_the_command(fki: Fki, run_dir: Path) -> None:
    from dataclasses import asdict

    from fki import ask

    questions = ["The mayor of Avalon is ___.", "___ is the mayor of Oz."]
    found = ask(run_dir, questions, runners_up=2)
    assert [asdict(one) for one in found] == fki(
        "ask", run_dir, *questions, "--runners-up", "2", "--json"
    ).rows


def test_a_dataset_is_a_stream_that_prints_its_size(dataset: Path) -> None:
    stream = fki.load_dataset(dataset)
    assert [period.name for period in stream.periods] == ["2024-Q1", "2024-Q2"]
    assert {s.name for s in stream.probe_sets} >= {"invariant", "updated", "new"}
    text = repr(stream)
    for words in ("tiny", "2024-Q1", "2024-Q2", "invariant (2)", "facts"):
        assert words in text
    assert "object at" not in text


@pytest.mark.parametrize(("version", "form"), [("decade", "sentinel"), ("day", "suffix")])
def test_a_dataset_is_loaded_in_known_forms_only(dataset: Path, version: Any, form: Any) -> None:
    with pytest.raises(fki.ConfigError, match=r"fki\.load_dataset"):
        fki.load_dataset(dataset, version, prompt_format=form)


def test_a_result_prints_its_tables_and_a_notebook_shows_them(
    train: Any, compared: Path, run_dir: Path
) -> None:
    results = {
        "invariant": train(),
        "accuracy": fki.evaluate(run_dir),
        "lora": fki.compare(compared),
        "log-likelihood": fki.ask(run_dir, "The mayor of Avalon is ___."),
    }
    for words, result in results.items():
        html = result._repr_html_()
        assert words in repr(result) and words in html and "<table" in html
        assert "<script" not in html and "color" not in html
