"""An export answers like its run, or is kept aside; an opened run is the one that was trained."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from fki.core.atomic_io import scratch_path
from fki.core.errors import CheckFailed, DataError, FkiError
from fki.exporting.export import export
from fki.exporting.formats.hf import HF
from fki.exporting.model_card import write_card
from fki.exporting.provenance import describe_data
from fki.modeling.runtime import TorchRuntime
from fki.runs import checkpoint
from fki.runs.open_run import LoadedModel, find_run, open_model, open_run
from fki.runs.run_dir import Run
from fki.testing import logits, toy_model, toy_tokenizer


@pytest.fixture(scope="module", params=["vanilla", "lora"])
def run(request: pytest.FixtureRequest, run_of: Callable[..., Run]) -> Run:
    """A run of one quarter by a method that folds."""
    return run_of(request.param)


@pytest.fixture
def opened(run: Run) -> LoadedModel:
    """The run, opened afresh: folding changes the model."""
    return open_run(run)


def test_the_exported_folder_answers_like_the_run(opened: LoadedModel, tmp_path: Path) -> None:
    before = logits(opened.model.eval())
    parity = export(opened, HF, tmp_path / "out")
    assert parity.asked == parity.same_answers == parity.same_beams > 0
    assert parity.largest_difference <= parity.tolerance
    plain: Any = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert torch.allclose(logits(plain.eval()), before, atol=1e-4)
    assert not list(tmp_path.glob(".out*"))


def test_an_export_removes_what_a_killed_one_left(opened: LoadedModel, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = scratch_path(tmp_path / "out")
    left = left.with_name(left.name.replace(str(os.getpid()), str(ended.pid)))
    left.mkdir()
    (left / "model.safetensors").touch()
    (tmp_path / ".out.mine").touch()
    export(opened, HF, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".out.mine", "out"]


def test_whoever_may_read_one_file_of_the_folder_may_read_all(
    opened: LoadedModel, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("")
    export(opened, HF, tmp_path / "out")
    modes = {file.stat().st_mode for file in (tmp_path / "out").iterdir()}
    assert modes == {(tmp_path / "mine").stat().st_mode}


def test_the_exported_folder_brings_tokenizer_length_and_origin(
    opened: LoadedModel, tmp_path: Path
) -> None:
    export(opened, HF, tmp_path / "out")
    text = "The mayor of Oz is ___."
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    whole = text.replace("___", "<extra_id_0>")
    assert tokenizer(whole).input_ids == toy_tokenizer().tokenize_sources([text])[0]
    plain: Any = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert plain.generation_config.max_new_tokens == 10
    assert plain.config.use_cache is True
    assert {f.name for f in (tmp_path / "out").iterdir()} >= {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "fki_export.json",
    }


def test_an_opened_run_is_not_the_base_model(opened: LoadedModel) -> None:
    assert not torch.equal(logits(opened.model.eval()), logits(toy_model()))


def test_an_export_that_answers_differently_is_kept_aside(
    opened: LoadedModel, tmp_path: Path
) -> None:
    def spoiled(opened: LoadedModel, folder: Path) -> None:
        HF.write(opened, folder)
        file = folder / "model.safetensors"
        tensors = load_file(file)
        tensors["decoder.final_layer_norm.weight"] *= 1.01
        save_file(tensors, file, metadata={"format": "pt"})

    with pytest.raises(CheckFailed, match="differ") as caught:
        export(opened, replace(HF, write=spoiled), tmp_path / "out")
    assert caught.value.exit_code == 4
    assert [f.name for f in tmp_path.iterdir() if "out" in f.name] == ["out.failed-check"]
    assert "out.failed-check" in (caught.value.hint or "")


@pytest.mark.parametrize("is_better", [False, True])
def test_beams_may_find_likelier_texts_than_the_run_but_no_less_likely_ones(
    run: Run, tmp_path: Path, is_better: bool
) -> None:
    class Other(TorchRuntime):
        def generate(self, sources: Any, *, length: int, beams: int = 1, best: int = 1) -> Any:
            if beams == 1 or is_better:
                return super().generate(sources, length=length, beams=8 * beams - 7)  # 1 or 9
            return [[[self.tokenizer.tokenizer.eos_token_id]] for _ in sources]

    form = replace(HF, load=lambda folder, encoder: Other(HF.load(folder, encoder).model, encoder))
    parity = export(open_run(run), replace(form, least_same=0.0), tmp_path / "out")
    assert (parity.same_beams == parity.asked) is is_better
    assert parity.same_answers == parity.asked


def test_a_second_export_that_fails_is_a_failed_check_too(run: Run, tmp_path: Path) -> None:
    for name in ("out.failed-check", "out.failed-check-2"):
        with pytest.raises(CheckFailed):
            export(open_run(run), replace(HF, tolerance=-1.0), tmp_path / "out")
        assert (tmp_path / name / "config.json").is_file()


def test_a_folder_that_holds_files_is_left_untouched(opened: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FkiError, match="must be a new or empty folder"):
        export(opened, HF, tmp_path / "out")
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_folder_may_be_filled(opened: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(opened, HF, tmp_path / "out")
    assert (tmp_path / "out" / "config.json").is_file()


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("", "no probes"),
        ('{"id": "a"}\n', "not a probe"),
        ('{"id": "a", "period": "base", "source": 3, "answers": ["x"]}\n', "not a probe"),
        ('{"id": "a", "period": "base", "source": "x", "answers": []}\n', "without an answer"),
    ],
)
def test_a_run_without_readable_questions_cannot_be_exported(
    opened: LoadedModel, tmp_path: Path, lines: str, what: str
) -> None:
    (tmp_path / "probes.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=what):
        export(replace(opened, run=Run(tmp_path)), HF, tmp_path / "out")
    assert [f.name for f in tmp_path.iterdir()] == ["probes.jsonl"]


def test_a_base_model_with_other_weights_is_refused(run: Run, tmp_path: Path) -> None:
    other = toy_model()
    with torch.no_grad():
        other.shared.weight[0, 0] += 1
    other.save_pretrained(tmp_path / "model")
    toy_tokenizer().tokenizer.save_pretrained(tmp_path / "model")
    info = run.info
    try:
        run.update(config={**info["config"], "model": str(tmp_path / "model")})
        with pytest.raises(DataError, match="The weights of"):
            open_run(run)
    finally:
        run.update(**info)


def test_a_model_folder_is_no_run_and_opens_as_it_is(
    toy_folder: Path, run: Run, opened: LoadedModel
) -> None:
    assert find_run(str(run.folder))[0] is not None
    assert find_run(str(toy_folder)) == (None, "")
    plain = open_model(str(toy_folder), opened.config)
    assert plain.run is None
    assert torch.equal(logits(plain.model.eval()), logits(toy_model()))


def test_a_checkpoint_within_a_period_is_asked_itself_and_claims_no_whole_period(
    tmp_path: Path, make_runner: Callable[..., Any]
) -> None:
    runner = make_runner(tmp_path / "run", keep_last=9, save_every_steps=1, max_periods=2)
    list(runner.events())
    names = [folder.name for folder in checkpoint.list_checkpoints(runner.run.folder)]
    [name, *_] = [name for name in names if name.startswith("2024-Q2-step")]
    opened = open_run(runner.run, name)
    assert describe_data(opened).periods == ("2024-Q1",)
    parity = export(opened, HF, tmp_path / "out", partial(write_card, name="out"))
    assert parity.holds and sum(one.n for one in parity.probe_sets) > 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "has no scores for this checkpoint" in card and "**2024-03-10**" in card


def test_the_card_states_the_replay_policy_and_its_options(
    run_of: Callable[..., Run], tmp_path: Path
) -> None:
    run = run_of("vanilla", replay="prioritized", prioritized={"ratio": 1.5})
    export(open_run(run), HF, tmp_path / "out", partial(write_card, name="out"))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| replay | prioritized |" in card and "| prioritized.ratio | 1.5 |" in card
