"""`hf`: what transformers loads alone, of every method and both kinds of head."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from fki.core import registry
from fki.core.errors import CannotFold, ConfigError
from fki.core.store import Run
from fki.engine import models
from fki.engine.exporter import export, format_of
from fki.engine.formats.base import TorchRuntime
from fki.engine.formats.hf import HF, write_plain
from fki.engine.opener import open_model, open_run
from fki.methods import modeling_fki
from fki.testing import Case, logits, toy_encoder, toy_model

LENGTH = 6
SOURCES = ["The mayor of Oz is <extra_id_0>.", "The mayor of the old port of Ys is <extra_id_0>."]
BRANCHED = ["kadapter_2", "kadapter_3", "modular"]
CASES = [
    *((form, name) for form in ["hf"] for name in registry.BUILTIN),
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
    runtime, sources = TorchRuntime(open_run(run).model, toy_encoder()), toy_encoder().sources
    return [
        [
            [t for t in rows[0] if t != 0]
            for rows in runtime.write(sources(SOURCES), length=LENGTH, beams=n)
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
        parity = export(open_run(run), format_of(key[0]), folders[key])
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
