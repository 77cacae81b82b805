"""The code in the card of a decoder is complete: it prints the run's answer to its first probe.
fki asks such a folder as it asks the run."""

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from fki.config.schema import Config
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.exporting.model_card import write_card
from fki.inference import open_predictor
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import open_run
from fki.runs.run_dir import Run
from fki.testing import logits, toy_causal_tokenizer

# peft calls a function that transformers has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
LIBRARIES = {"gguf": "gguf", "onnx": "onnxruntime", "ctranslate2": "ctranslate2"}


FORMS = ["hf", "peft", "gguf", "onnx", "ctranslate2", "ctranslate2_int8"]
QUESTION = "The mayor of Avalon is ___."


class Exported(NamedTuple):
    """A run of a decoder, and its folder."""

    run: Run
    folder: Path


@pytest.fixture(scope="module")
def exported(
    decoder_run: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Exported]:
    """A function of a format: a run, exported with its card."""
    found: dict[str, Exported] = {}

    def make(form: str) -> Exported:
        pytest.importorskip(LIBRARIES.get(form.partition("_")[0], "torch"))
        if form not in found:
            settings = {"method": "lora", "freeze_level": 2} if form == "peft" else {}
            run = decoder_run("llama", **settings)
            folder = tmp_path_factory.mktemp(form) / "out"
            card = partial(write_card, name=str(folder))
            export(open_run(run), load_format(form), folder, card)
            found[form] = Exported(run, folder)
        return found[form]

    return make


def read_code(folder: Path) -> str:
    """The Python code of a card."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", card, re.M | re.S)
    return str(code)


@pytest.mark.parametrize("form", FORMS)
def test_the_code_of_a_card_prints_the_answer_without_fki(
    exported: Callable[[str], Exported],
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, folder = exported(form)
    tokenizer = toy_causal_tokenizer()
    question = next(run.read_lines("probes.jsonl"))["source"]
    [[tokens]] = TorchRuntime(open_run(run).model, tokenizer).generate(
        tokenizer.tokenize_sources([question]), length=10
    )
    monkeypatch.setitem(sys.modules, "fki", None)  # importing it is an error
    capsys.readouterr()
    exec(read_code(folder), {})
    assert tokenizer.prompts.read_answer(capsys.readouterr().out) == tokenizer.read_answer(tokens)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "An answer ends at the end token, at a newline, or else with its first sentence." in card


@pytest.mark.parametrize("form", [form for form in FORMS if form != "ctranslate2_int8"])
def test_fki_asks_the_folder_as_it_asks_the_run(
    exported: Callable[[str], Exported], form: str
) -> None:
    replies = [
        open_predictor(str(target), "", Config()).predict([QUESTION], runners_up=2)[0]
        for target in (exported(form).run.folder, exported(form).folder)
    ]
    run, folder = ([reply.answer, *reply.runners_up] for reply in replies)
    assert [answer.text for answer in run] == [answer.text for answer in folder]
    likelihoods = [answer.log_likelihood for answer in folder]
    assert [answer.log_likelihood for answer in run] == pytest.approx(likelihoods, abs=1e-3)


def test_the_code_of_an_adapter_of_a_t5_loads_its_own_base(
    run_of: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    card = partial(write_card, name=str(out))
    export(open_run(run_of("lora")), load_format("peft"), out, card)
    monkeypatch.setitem(sys.modules, "fki", None)
    found: dict[str, Any] = {}
    exec(read_code(out), found)
    monkeypatch.undo()
    assert torch.equal(logits(found["model"].eval()), logits(open_run(run_of("lora")).model.eval()))
