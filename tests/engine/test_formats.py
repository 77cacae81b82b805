"""Each format is loaded by its own runtime, without fki, and answers like the run."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fki.core.errors import ConfigError, GateFailed
from fki.core.store import Run
from fki.engine.exporter import export, format_of
from fki.engine.formats.base import TorchRuntime
from fki.engine.opener import open_run
from fki.testing import toy_encoder

WITHOUT_FKI = "import sys; sys.modules['fki'] = None\n"  # importing it is an error
LENGTH = 6
SOURCES = ["The mayor of Oz is <extra_id_0>.", "The mayor of the old port of Ys is <extra_id_0>."]


def alone(code: str, folder: Path) -> list[list[int]]:
    """What a new process without fki writes for the sources, by code that sets `rows`."""
    start = f"{WITHOUT_FKI}folder, sources, length = {str(folder)!r}, {SOURCES!r}, {LENGTH}\n"
    ending = "\nimport json; print(json.dumps([list(map(int, row)) for row in rows]))"
    done = subprocess.run(
        [sys.executable, "-c", start + code + ending], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return [[t for t in row if t != 0] for row in rows]


def written(run: Run) -> list[list[int]]:
    """What the run writes."""
    runtime = TorchRuntime(open_run(run).model, toy_encoder())
    return [rows[0] for rows in runtime.write(toy_encoder().sources(SOURCES), length=LENGTH)]


TRANSFORMERS = """
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
model = AutoModelForSeq2SeqLM.from_pretrained(folder)
"""
PEFT = """
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from peft import PeftModel
model = PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(folder + "/base"), folder)
"""
WRITE = """
tokenizer = AutoTokenizer.from_pretrained(folder)
batch = tokenizer(sources, return_tensors="pt", padding=True)
rows = model.eval().generate(**batch, max_new_tokens=length, num_beams=1)
"""
CODE = {"hf": TRANSFORMERS + WRITE, "peft": PEFT + WRITE}
FOLDABLE = ["vanilla", "lora", "mixreview", "recadam"]
CASES = [("hf", method) for method in FOLDABLE] + [("peft", "lora")]


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize(("form", "method"), CASES)
def test_a_process_without_fki_loads_it_and_it_answers_like_the_run(
    run_of: Callable[..., Run], tmp_path: Path, form: str, method: str, untied: bool
) -> None:
    run = run_of(method, untied=untied)
    parity = export(open_run(run), format_of(form), tmp_path / "out")
    assert parity.asked == parity.same_answers > 0
    assert alone(CODE[form], tmp_path / "out") == written(run)


@pytest.mark.parametrize("method", ["vanilla", "kadapter_2"])
def test_only_lora_is_an_adapter_of_peft(
    run_of: Callable[..., Run], tmp_path: Path, method: str
) -> None:
    with pytest.raises(ConfigError, match=f"the run's method is '{method}'") as caught:
        export(open_run(run_of(method)), format_of("peft"), tmp_path / "out")
    assert caught.value.hint is not None and not [*tmp_path.glob("*out*")]


def test_an_adapter_without_its_base_weights_would_be_another_model(
    run_of: Callable[..., Run], tmp_path: Path
) -> None:
    run = run_of("lora", freeze_level=0)
    export(open_run(run), format_of("peft"), tmp_path / "out")
    base = load_file(tmp_path / "out" / "base" / "model.safetensors")
    start = load_file(Path(run.info["config"]["model"]) / "model.safetensors")
    assert not torch.equal(base["shared.weight"], start["shared.weight"])
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == "base"


def test_an_adapter_with_one_altered_tensor_is_caught(
    run_of: Callable[..., Run], tmp_path: Path
) -> None:
    plain = format_of("peft")

    def write(opened: object, folder: Path) -> None:
        plain.write(opened, folder)  # type: ignore[arg-type]
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        name = next(n for n in tensors if "lora_B" in n and "decoder" in n)
        tensors[name] += 0.1
        save_file(tensors, file, metadata={"format": "pt"})

    with pytest.raises(GateFailed):
        export(open_run(run_of("lora")), replace(plain, write=write), tmp_path / "out")
    assert [f.name for f in tmp_path.iterdir()] == ["out.failed-check"]
