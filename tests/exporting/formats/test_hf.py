"""`hf`: what transformers loads alone, of every method and both kinds of head."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForSeq2SeqLM,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from fki.config.schema import Config
from fki.core import registry
from fki.core.errors import CannotFold, CheckFailed, ConfigError
from fki.exporting.export import export
from fki.exporting.formats.hf import HF, ROUNDING, write_plain
from fki.exporting.formats.registry import load_format
from fki.inference import open_predictor
from fki.modeling import modeling_fki
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import LoadedModel, open_model, open_run
from fki.runs.run_dir import Run
from fki.testing import Case, logits, toy_model, toy_tokenizer
from fki.training import session
from fki.training.runner import Runner

LENGTH = 6
SOURCES = ["The mayor of Oz is <extra_id_0>.", "The mayor of the old port of Ys is <extra_id_0>."]
BRANCHED = ["kadapter_2", "kadapter_3", "modular"]
CASES = [
    *(("hf", name) for name in registry.BUILTIN if registry.method_class(name).trains),
    ("peft", "lora"),
]
ALONE = """
import json, sys, warnings
sys.modules["fki"] = None  # importing it is an error
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

def own(folder):
    return {"trust_remote_code": True} if (folder / "modeling_fki.py").exists() else {}

def load(folder):
    if not (folder / "adapter_config.json").exists():
        return AutoModelForSeq2SeqLM.from_pretrained(folder, **own(folder))
    return PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(folder / "base"), folder)

def written(model, batch, beams):
    rows = model.eval().generate(**batch, max_new_tokens=LENGTH, num_beams=beams)
    return [[t for t in row if t != 0] for row in rows.tolist()]

found = {}
for folder in map(Path, FOLDERS):
    tokenizer = AutoTokenizer.from_pretrained(folder, **own(folder))
    batch = tokenizer(SOURCES, return_tensors="pt", padding=True)
    model = load(folder)
    rows = found[str(folder)] = [written(model, batch, beams) for beams in (1, 2)]
    again = folder.with_name(folder.name + "-again")
    if not (folder / "adapter_config.json").exists():
        model.save_pretrained(again)
        assert [written(load(again), batch, beams) for beams in (1, 2)] == rows
print(json.dumps(found))
"""


def alone(folders: list[Path], cache: Path) -> dict[str, list[list[list[int]]]]:
    """By folder, what a process without fki writes for the sources, greedy and by two beams."""
    told = f"FOLDERS, SOURCES, LENGTH = {[str(f) for f in folders]!r}, {SOURCES!r}, {LENGTH}\n"
    done = subprocess.run(
        [sys.executable, "-c", told + ALONE],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "HF_MODULES_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[list[int]]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def written(run: Run) -> list[list[list[int]]]:
    """What the run writes, greedy and by two beams."""
    runtime, sources = (
        TorchRuntime(open_run(run).model, toy_tokenizer()),
        toy_tokenizer().tokenize_sources,
    )
    return [
        [
            [t for t in rows[0] if t != 0]
            for rows in runtime.generate(sources(SOURCES), length=LENGTH, beams=n)
        ]
        for n in (1, 2)
    ]


class Exported(NamedTuple):
    """An exported folder, its run, and what a process without fki wrote with it."""

    folder: Path
    run: Run
    written: list[list[list[int]]]


@pytest.fixture(scope="module")
def exported(
    run_of: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str, bool], Exported]:
    """Every case by (format, method, untied), all of them loaded by one process."""
    home = tmp_path_factory.mktemp("exported")
    runs = {(*case, u): run_of(case[1], untied=u) for case in CASES for u in (False, True)}
    folders = {key: home / "-".join(map(str, key)) for key in runs}
    for key, run in runs.items():
        parity = export(open_run(run), load_format(key[0]), folders[key])
        assert parity.asked == parity.same_answers == parity.same_beams > 0
    found = alone([*folders.values()], home / "modules")
    return {key: Exported(folders[key], runs[key], found[str(folders[key])]) for key in runs}


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize(("form", "method"), CASES)
def test_a_process_without_fki_loads_it_saves_it_again_and_answers_like_the_run(
    exported: dict[tuple[str, str, bool], Exported], form: str, method: str, untied: bool
) -> None:
    one = exported[form, method, untied]
    assert one.written == written(one.run)


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("method", BRANCHED)
def test_the_modelling_file_in_the_folder_is_the_one_that_trains(
    exported: dict[tuple[str, str, bool], Exported], method: str, untied: bool
) -> None:
    folder = exported["hf", method, untied].folder
    ours = Path(modeling_fki.__file__).read_bytes()
    assert (folder / "modeling_fki.py").read_bytes() == ours
    again = folder.with_name(f"{folder.name}-again")
    assert (again / "modeling_fki.py").read_bytes() == ours


def test_the_modelling_file_needs_torch_and_transformers_alone() -> None:
    lines = Path(modeling_fki.__file__).read_text(encoding="utf-8").splitlines()
    imported = {
        line.split()[1].split(".")[0] for line in lines if line.startswith(("import", "from"))
    }
    assert imported == {"copy", "typing", "torch", "transformers"}


@pytest.mark.parametrize("method", BRANCHED)
def test_fki_loads_it_by_its_own_code_and_never_runs_the_folders(
    exported: dict[tuple[str, str, bool], Exported], method: str, tmp_path: Path
) -> None:
    one = exported["hf", method, True]
    shutil.copytree(one.folder, tmp_path / "out")
    (tmp_path / "out" / "modeling_fki.py").write_text("raise SystemExit('run')", encoding="utf-8")
    found = open_model(str(tmp_path / "out"), open_run(one.run).config).model
    assert torch.equal(logits(found.eval()), logits(open_run(one.run).model.eval()))


@pytest.mark.parametrize("method", BRANCHED)
def test_fki_asks_the_folder_as_it_asks_the_run(
    exported: dict[tuple[str, str, bool], Exported], method: str
) -> None:
    one = exported["hf", method, False]
    replies = []
    for target in (one.run.folder, one.folder):
        speaker = open_predictor(str(target), "", Config())
        replies.append(speaker.predict(SOURCES, runners_up=1))
    for run, folder in zip(*replies, strict=True):
        assert run.answer.text == folder.answer.text
        assert run.answer.log_likelihood == pytest.approx(folder.answer.log_likelihood, abs=1e-3)


@pytest.mark.parametrize("method", BRANCHED)
def test_an_altered_weight_of_the_branch_is_caught(
    run_of: Callable[..., Run], tmp_path: Path, method: str
) -> None:
    def spoiled(opened: LoadedModel, folder: Path) -> None:
        HF.write(opened, folder)
        file = folder / "model.safetensors"
        tensors = load_file(file)
        last = ("adapters.0.norm.weight", "projection.weight")
        name = next(name for name in tensors if name.endswith(last))
        tensors[name] += 0.5
        save_file(tensors, file, metadata={"format": "pt"})

    with pytest.raises(CheckFailed, match="log-likelihoods differ"):
        export(open_run(run_of(method)), replace(HF, write=spoiled), tmp_path / "out")


def test_a_model_with_a_branch_is_not_trained_further(
    exported: dict[tuple[str, str, bool], Exported], resolved: Callable[..., Any]
) -> None:
    folder = exported["hf", "modular", False].folder
    with pytest.raises(ConfigError, match="not train it further") as caught:
        session.build_session(resolved(model=str(folder), method="lora").config)
    assert "--continue-from" in (caught.value.hint or "")


@pytest.mark.parametrize("method", BRANCHED)
@pytest.mark.parametrize("options", [{}, {"mode": "parallel"}, {"size": "same"}], ids=str)
@pytest.mark.parametrize("base", ["t5", "v1.1", "mt5"])
def test_every_branch_on_every_base_is_the_same_after_a_round_trip(
    base: str, options: dict[str, str], method: str, tmp_path: Path
) -> None:
    if options and ("size" in options) != (method == "modular"):
        return
    ready = Case(method, options=options, model=base_model(base)).train()
    before = logits(ready.model)
    bundled = ready.method.bundle(ready.model)
    assert torch.equal(logits(bundled), before)
    write_plain(bundled, tmp_path / "out", length=8, beams=1)
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    assert torch.equal(logits(back), before)
    assert (back.lm_head.weight is back.shared.weight) == (base == "t5")


def test_a_branch_on_another_base_is_refused() -> None:
    ready = Case("modular").prepare(1)
    ready.model.config.model_type = "umt5"  # type: ignore[union-attr]
    with pytest.raises(CannotFold, match="a T5 or mT5 as its base"):
        ready.method.bundle(ready.model)


def base_model(name: str) -> PreTrainedModel:
    """A toy: T5 as it first was; v1.1, which FLAN has the shape of; mT5."""
    if name != "mt5":
        return toy_model(untied=name == "v1.1")
    plain = toy_model(untied=True)
    model = MT5ForConditionalGeneration(MT5Config(**plain.config.to_dict()))
    model.lm_head.weight = nn.Parameter(plain.lm_head.weight.detach().clone())
    return model.eval()


def written_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


@pytest.mark.parametrize("base", ["t5", "v1.1", "mt5"])
def test_a_head_of_its_own_is_told_to_every_reader_and_nothing_changes(
    base: str, tmp_path: Path
) -> None:
    model = base_model(base)
    before = logits(model)
    model.save_pretrained(tmp_path / "plain")
    assert written_config(tmp_path / "plain")["tie_word_embeddings"] is True  # of every T5
    write_plain(model, tmp_path / "out", length=8, beams=1)
    is_own = base != "t5"
    assert written_config(tmp_path / "out")["tie_word_embeddings"] is not is_own
    assert ("lm_head.weight" in load_file(tmp_path / "out" / "model.safetensors")) == is_own
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    assert torch.equal(logits(back), before)
    assert getattr(back.config, "scale_decoder_outputs", False) is not is_own


def test_a_t5_that_is_made_from_a_config_has_a_tied_head_whatever_the_config_says(
    tmp_path: Path,
) -> None:
    config = {**toy_model().config.to_dict(), "tie_word_embeddings": False}
    del config["scale_decoder_outputs"]
    model = T5ForConditionalGeneration(T5Config(**config)).eval()
    assert model.lm_head.weight is model.shared.weight and not model.config.scale_decoder_outputs
    before = logits(model)
    write_plain(model, tmp_path / "out", length=8, beams=1)
    # a reader that does not tie must find a head all the same
    assert "lm_head.weight" in load_file(tmp_path / "out" / "model.safetensors")
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    assert torch.equal(logits(back), before)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory, make_runner: Callable[..., Runner]) -> Run:
    """LoRA on the embedded model, whose answers are sharper than a toy's."""
    folder = tmp_path_factory.mktemp("runs") / "mini"
    runner = make_runner(folder, method="lora", model="t5-mini", max_periods=1)
    list(runner.events())
    return runner.run


def test_lora_is_folded_in_fp32_and_only_then_cast(mini: Run, tmp_path: Path) -> None:
    opened = open_run(mini)
    before = logits(opened.model.eval())
    folded = opened.method.fold(opened.model)
    off = (logits(folded) - before).abs().max()
    assert off < 1e-4
    export(open_run(mini), load_format("hf", dtype="bfloat16"), tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    exact = {name: tensor.bfloat16() for name, tensor in folded.state_dict().items()}
    assert all(torch.equal(tensor, exact[name]) for name, tensor in written.items())
    rough = open_run(mini)
    in_bf16 = rough.model.bfloat16().merge_and_unload()  # type: ignore[operator]
    assert (logits(in_bf16.float()) - before).abs().max() > 100 * off


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_precision_with_fewer_bits_is_half_as_large_and_answers_in_it(
    mini: Run, tmp_path: Path, dtype: str
) -> None:
    export(open_run(mini), load_format("hf"), tmp_path / "whole")
    parity = export(open_run(mini), load_format("hf", dtype=dtype), tmp_path / "half")
    whole, half = ((tmp_path / n / "model.safetensors").stat().st_size for n in ("whole", "half"))
    assert half < 0.6 * whole
    assert 1e-3 < parity.largest_difference <= parity.tolerance == ROUNDING[dtype][0]
    assert HF.load(tmp_path / "half", toy_tokenizer()).model.dtype is getattr(torch, dtype)


def test_a_large_model_is_written_in_parts(run_of: Callable[..., Run], tmp_path: Path) -> None:
    run = run_of("kadapter_2", untied=True)
    parity = export(open_run(run), load_format("hf", max_shard_size="300KB"), tmp_path / "out")
    assert parity.holds and len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    assert (tmp_path / "out" / "model.safetensors.index.json").is_file()
