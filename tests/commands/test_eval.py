"""`fki eval` and `fki export` agree on the scores of a run, and refuse what is broken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

Fki = Callable[..., Any]


def copied(trained: Path, to: Path) -> Path:
    """A copy of the run, to harm."""
    return Path(shutil.copytree(trained, to))


def em(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Exact match after the last thing, by probe set."""
    sets = rows[-1]["summary"]["probe_sets"]
    return {name: scores["em"]["after"] for name, scores in sets.items()}


def test_eval_of_a_run_gives_the_scores_that_it_ended_with(fki: Fki, trained: Path) -> None:
    summary = json.loads((trained / "scores.json").read_text(encoding="utf-8"))["summary"]
    assert em(fki("eval", trained, "--json").rows) == em([{"summary": summary}])


def test_eval_of_the_exported_folder_gives_the_run_s_scores(
    fki: Fki, trained: Path, short: list[str], tmp_path: Path
) -> None:
    fki("export", trained, "--output", tmp_path / "out")
    plain = fki("eval", tmp_path / "out", "--dataset", trained.parent / "mine", *short, "--json")
    run = fki("eval", trained, "--json")
    assert em(plain.rows) == em(run.rows) and plain.code == run.code == 0
    likelihood = [[r["log_likelihood"] for r in shown.rows[:-1]] for shown in (plain, run)]
    assert likelihood[0] == pytest.approx(likelihood[1], abs=1e-3)


def test_eval_shows_a_table(fki: Fki, trained: Path) -> None:
    shown = fki("eval", trained, "--checkpoint", "2023-Q1")
    assert "run after 2023-Q1" in shown.words
    first_cells = {line.split()[0] for line in shown.out.splitlines()}
    assert first_cells >= {"updated", "new", "paraphrase", "invariant", "initial"}


def test_eval_reports_that_the_dataset_changed_since_training(
    fki: Fki, trained: Path, dataset: Path
) -> None:
    same = fki("eval", trained, "--set", f"dataset={dataset}")
    assert same.code == 0 and "changed since training" not in same.words
    with (dataset / "stream.jsonl").open("a", encoding="utf-8") as out:
        out.write('{"prompt": "The hill of Utopia is", "target": "Ida", "date": "2023-05-01"}\n')
    changed = fki("eval", trained, "--set", f"dataset={dataset}")
    assert changed.code == 0 and "Dataset 'mine' changed since training" in changed.words


def test_eval_writes_its_answers_into_a_new_folder_only(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    assert fki("eval", trained, "--output", tmp_path / "e").code == 0
    assert sorted(f.name for f in (tmp_path / "e").iterdir()) == ["samples.jsonl", "scores.json"]
    assert not list(tmp_path.glob(".e*"))
    before = (tmp_path / "e" / "scores.json").stat().st_mtime_ns
    again = fki("eval", trained, "--output", tmp_path / "e")
    assert again.code == 0 and "Scores and all answers" in again.words
    assert (tmp_path / "e" / "scores.json").stat().st_mtime_ns == before
    other = fki("eval", trained, "--output", tmp_path / "e", "--set", "max_periods=2")
    assert other.code == 1 and "contains another evaluation" in other.words
    assert (tmp_path / "e" / "scores.json").stat().st_mtime_ns == before
    (tmp_path / "e" / "notes.txt").touch()
    mine = fki("eval", trained, "--output", tmp_path / "e")
    assert mine.code == 1 and "new or empty" in mine.words


@pytest.mark.parametrize("output", ["file", "file/e"])
def test_eval_refuses_an_output_that_cannot_be_a_folder(
    fki: Fki, trained: Path, tmp_path: Path, output: str
) -> None:
    (tmp_path / "file").touch()
    shown = fki("eval", trained, "--output", output)
    assert shown.code == 1 and f"--output {output}" in shown.words


def test_eval_of_a_checkpoint_s_folder_is_that_of_its_run(fki: Fki, trained: Path) -> None:
    at_run, at_checkpoint = (
        fki("eval", place, "--json").rows
        for place in (trained, trained / "checkpoints" / "2023-Q1")
    )
    assert at_checkpoint[:-1] == at_run[:-1]
    assert at_checkpoint[-1]["checkpoint"] == "2023-Q1"


def test_eval_of_a_folder_of_runs_says_which_there_are(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    copied(trained, tmp_path / "a-run")
    shown = fki("eval", ".")
    assert shown.code == 3 and "is not a run; it contains 1 run." in shown.words
    assert "Name one of them: a-run" in shown.words


def test_eval_of_a_run_as_another_model_is_refused(fki: Fki, trained: Path) -> None:
    shown = fki("eval", trained, "--set", "method=lora")
    assert shown.code == 2 and all(fact in shown.words for fact in ("vanilla", "method"))


@pytest.mark.parametrize(
    "stated", ["learning_rate=1", "budget.steps=3", "num_train_epochs=2", "freeze_level=1"]
)
def test_eval_cannot_change_how_a_run_was_trained(fki: Fki, trained: Path, stated: str) -> None:
    key, _, value = stated.partition("=")
    shown = fki("eval", trained, "--set", stated)
    assert shown.code == 2 and f"The run has {key} = " in shown.words and value in shown.words


def test_eval_notes_settings_without_effect(
    fki: Fki, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = fki("eval", trained, "--set", "keep_last=9", "--set", "eval_batch_size=8")
    assert noted.code == 0 and "keep_last has no effect on this evaluation." in noted.words
    assert "eval_batch_size has" not in noted.words
    monkeypatch.setenv("FKI_LEARNING_RATE", "1.0")  # the environment is for all commands
    silent = fki("eval", trained, "--set", "num_train_epochs=1")  # the run's own value
    assert silent.code == 0 and "no effect" not in silent.words


def test_eval_of_a_model_notes_settings_of_training(
    fki: Fki, dataset: Path, short: list[str]
) -> None:
    shown = fki("eval", "t5-mini", "--dataset", dataset, *short, "--set", "lora.r=4")
    assert shown.code == 0
    for key in ("num_train_epochs", "seed", "lora.r"):
        assert f"{key} has no effect on this evaluation." in shown.words
    assert "max_periods has" not in shown.words and "max_probes_per_set has" not in shown.words


def test_eval_of_a_model_has_no_checkpoint(fki: Fki) -> None:
    shown = fki("eval", "t5-mini", "--checkpoint", "2023-Q1")
    assert shown.code == 2 and "'t5-mini' is not a run" in shown.words


@pytest.mark.parametrize("output", [".", "..", "/"])
def test_export_needs_a_folder_with_a_name(fki: Fki, trained: Path, output: str) -> None:
    shown = fki("export", trained, "--output", output)
    assert shown.code == 1 and "--output must name" in shown.words


def test_eval_does_not_change_the_run(fki: Fki, trained: Path) -> None:
    before = {f: f.stat().st_mtime_ns for f in trained.rglob("*")}
    fki("eval", trained)
    assert {f: f.stat().st_mtime_ns for f in trained.rglob("*")} == before


@pytest.mark.parametrize("command", ["eval", "export"])
def test_a_checkpoint_that_there_is_not_brings_those_that_there_are(
    fki: Fki, trained: Path, command: str
) -> None:
    shown = fki(command, trained, "--checkpoint", "2023-Q9")
    assert shown.code == 3 and "2023-Q1" in shown.words


@pytest.mark.parametrize("command", ["eval", "export"])
def test_a_damaged_checkpoint_is_refused(
    fki: Fki, trained: Path, tmp_path: Path, command: str
) -> None:
    run = copied(trained, tmp_path / "run")
    weights = run / "checkpoints" / "2023-Q1" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    shown = fki(command, run)
    assert shown.code == 3 and "damaged" in shown.words
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"config": {"sed": 1}}'])
@pytest.mark.parametrize("command", ["eval", "export"])
def test_a_run_with_a_broken_run_file_is_refused(
    fki: Fki, trained: Path, tmp_path: Path, command: str, text: str
) -> None:
    run = copied(trained, tmp_path / "run")
    (run / "run.json").write_text(text, encoding="utf-8")
    shown = fki(command, run)
    assert shown.code == 3 and "run.json" in shown.words and "Traceback" not in shown.err


@pytest.mark.parametrize("command", ["eval", "export"])
def test_a_run_that_is_not_there_is_an_error_with_a_hint(fki: Fki, command: str) -> None:
    shown = fki(command, "./runs/nothing")
    assert shown.code == 3 and "runs/nothing" in shown.words


def test_transformers_alone_loads_the_exported_folder(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    shown = fki("export", trained, "--to", "hf", "--output", "out", "--json")
    [row] = shown.rows
    assert row["same_answers"] == row["asked"] > 0 and row["checkpoint"] == "2023-Q1"
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("The head of Utopia is <extra_id_0>.", return_tensors="pt").input_ids
    assert tokenizer.decode(model.generate(ids, max_new_tokens=8)[0])


def test_an_export_over_files_is_refused_and_they_stay(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("mine", encoding="utf-8")
    shown = fki("export", trained, "--output", "out")
    assert shown.code == 1 and "--output out-2" in shown.words
    assert [f.read_text(encoding="utf-8") for f in (tmp_path / "out").iterdir()] == ["mine"]


def test_an_export_leaves_nothing_but_the_folder(fki: Fki, trained: Path, tmp_path: Path) -> None:
    fki("export", trained, "--output", tmp_path / "out")
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith((".", "out"))] == ["out"]


def test_a_format_that_there_is_not_is_refused(fki: Fki, trained: Path) -> None:
    shown = fki("export", trained, "--to", "tflite")
    assert shown.code == 2 and "onnx" in shown.words


def test_the_perplexity_of_documents_is_shown(fki: Fki, tmp_path: Path) -> None:
    file = tmp_path / "changed.jsonl"
    file.write_text('{"text": "Ada is the mayor of Avalon."}\n')
    assert fki("eval", "llama-mini", "--texts", file).out.split()[-4:-1] == [str(file), "1", "13"]
    [row] = fki("eval", "llama-mini", "--texts", file, "--json").rows
    assert row["perplexity"] > 1


def test_the_perplexity_of_documents_is_written_nowhere(fki: Fki, tmp_path: Path) -> None:
    shown = fki("eval", "llama-mini", "--texts", "x.jsonl", "--output", tmp_path / "out")
    assert shown.code == 2 and "--texts has no --output" in shown.words
