"""Runs as onnx graphs and for CTranslate2: asked by a process that has neither fki nor torch, with
the code that docs/export.md shows, they answer like the run; broken ones do not pass."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import MT5Config, MT5ForConditionalGeneration

from fki.core.errors import CannotFold, CheckFailed, ConfigError
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.exporting.parity import Parity
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import open_run
from fki.runs.run_dir import Run
from fki.testing import toy_causal_tokenizer, toy_model, toy_tokenizer

for needed in ("onnx", "onnxruntime", "ctranslate2"):
    pytest.importorskip(needed)

from fki.exporting.formats import ctranslate2  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
LENGTH = 6
SOURCES = ["The mayor of Oz is <extra_id_0>.", "The mayor of the old port of Ys is <extra_id_0>."]
PLAIN = ["vanilla", "lora", "mixreview", "recadam"]
BESIDE = ["kadapter_2", "kadapter_3", "modular"]
METHODS = {"onnx": [*PLAIN, *BESIDE], "ctranslate2": PLAIN}
HEADS = {"tied": False, "untied": True}
SHOWN = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/export.md").read_text("utf-8"), re.M | re.S
)
ASK = {  # of each format: a line of its code in the docs, and the call
    "onnx": ("class Model:", "rows = Model(folder).write(sources, length)"),
    "ctranslate2": ("import Translator", "rows = write(folder, sources, length)"),
}
ASK_DECODERS = {
    "onnx": ("class Decoder:", "rows = [Decoder(folder).complete(s, length) for s in sources]"),
    "ctranslate2": ("import Generator", "rows = complete(folder, sources, length)"),
}
PROMPTS = ["The mayor of Avalon is", "The mayor of the old port of Ys is"]

RunOf = Callable[..., Run]


class Made(NamedTuple):
    """A run's export, and what a process without fki and torch writes with it."""

    parity: Parity
    rows: list[list[int]]


def alone(
    folders: Sequence[Path], sources: Sequence[str], line: str, call: str
) -> list[list[list[int]]]:
    """What the code in the docs writes for the sources with each folder, in a new process."""
    [code] = [text for text in SHOWN if line in text]
    script = f"""
import json, sys
for name in ("fki", "torch", "transformers", "onnx"):
    sys.modules[name] = None  # importing it is an error
sources, length, found = {[*sources]!r}, {LENGTH}, []
__name__ = "shown"
exec({code!r})
for folder in {[*map(str, folders)]!r}:
    {call}
    found.append([[int(token) for token in row if token != 0] for row in rows])
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[list[list[int]]] = json.loads(done.stdout)
    return found


def written(run: Run) -> list[list[int]]:
    """What the run writes."""
    runtime = TorchRuntime(open_run(run).model, toy_tokenizer())
    sources = toy_tokenizer().tokenize_sources(SOURCES)
    return [rows[0] for rows in runtime.generate(sources, length=LENGTH)]


@pytest.fixture(scope="module")
def made(run_of: RunOf, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """A function of format, method and head; all of a format are asked in one process."""
    found: dict[str, dict[tuple[str, str], Made]] = {}

    def make(form: str, method: str, head: str) -> Made:
        if form not in found:
            home = tmp_path_factory.mktemp(form)
            parities = {
                (m, h): export(
                    open_run(run_of(m, untied=untied)), load_format(form), home / f"{m}_{h}"
                )
                for m in METHODS[form]
                for h, untied in HEADS.items()
            }
            folders = [home / f"{m}_{h}" for m, h in parities]
            answers = alone(folders, SOURCES, *ASK[form])
            pairs = zip(parities.values(), answers, strict=True)
            found[form] = dict(zip(parities, (Made(*pair) for pair in pairs), strict=True))
        return found[form][method, head]

    return make


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("form", "method"), [(f, m) for f in METHODS for m in METHODS[f]])
def test_a_process_without_fki_and_torch_answers_like_the_run(
    made: Callable[..., Made], run_of: RunOf, form: str, method: str, head: str
) -> None:
    found = made(form, method, head)
    assert found.rows == written(run_of(method, untied=HEADS[head]))
    assert found.parity.asked == found.parity.same_answers == found.parity.same_beams > 0
    assert found.parity.largest_difference < 1e-3


def test_int8_is_near_to_the_run_and_a_third_of_its_size(run_of: RunOf, tmp_path: Path) -> None:
    run = run_of("vanilla", model="t5-mini")
    sizes = []
    for name in ("ctranslate2", "ctranslate2_int8"):
        parity = export(open_run(run), load_format(name), tmp_path / name)
        sizes.append((tmp_path / name / "model.bin").stat().st_size)
    assert 1e-3 < parity.largest_difference <= parity.tolerance
    assert sizes[1] < sizes[0] / 3


@pytest.fixture(scope="session")
def mt5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mT5: untied, more rows than tokens, a decoder of another depth, heads of another width."""
    torch.manual_seed(0)
    tokenizer = toy_tokenizer().tokenizer
    model = MT5ForConditionalGeneration(
        MT5Config(
            vocab_size=len(tokenizer) + 12,
            d_model=16,
            d_kv=12,
            num_heads=2,
            d_ff=24,
            num_layers=2,
            num_decoder_layers=1,
            decoder_start_token_id=0,
            tie_word_embeddings=False,
        )
    )
    model.lm_head.weight = torch.nn.Parameter(0.25 * torch.randn_like(model.shared.weight))
    folder = tmp_path_factory.mktemp("models") / "mt5"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("form", METHODS)
def test_an_mt5_with_more_embeddings_than_tokens_goes_everywhere(
    run_of: RunOf, mt5_folder: Path, tmp_path: Path, form: str
) -> None:
    run = run_of("vanilla", model=str(mt5_folder))
    parity = export(open_run(run), load_format(form), tmp_path / "out")
    assert parity.asked == parity.same_answers == parity.same_beams > 0
    assert alone([tmp_path / "out"], SOURCES, *ASK[form]) == [written(run)]


@pytest.mark.parametrize("form", METHODS)
def test_a_process_without_fki_and_torch_completes_prompts_like_the_run(
    decoder_run: RunOf, tmp_path: Path, form: str
) -> None:
    opened, tokenizer = open_run(decoder_run("llama")), toy_causal_tokenizer()
    runtime = TorchRuntime(opened.model, tokenizer)
    sources = tokenizer.tokenize_sources([f"{prompt} ___." for prompt in PROMPTS])
    expected = [rows[0] for rows in runtime.generate(sources, length=LENGTH)]
    load_format(form).for_tokenizer(tokenizer).write(opened, tmp_path)
    opened.base.tokenizer.save_pretrained(tmp_path)
    assert alone([tmp_path], PROMPTS, *ASK_DECODERS[form]) == [expected]


@pytest.mark.parametrize("form", METHODS)
def test_an_answer_that_was_cut_off_is_scored_without_an_end(
    run_of: RunOf, tmp_path: Path, form: str
) -> None:
    opened, encoder = open_run(run_of("vanilla")), toy_tokenizer()
    load_format(form).write(opened, tmp_path)
    end = encoder.tokenizer.eos_token_id
    sources, targets = encoder.tokenize_sources(SOURCES), [[5, 6, 7], [5, 6, end]]
    ours, its = (
        runtime.score(sources, targets)
        for runtime in (
            load_format(form).load(tmp_path, encoder),
            TorchRuntime(opened.model, encoder),
        )
    )
    assert ours == pytest.approx(its, abs=1e-4)


@pytest.mark.parametrize("method", BESIDE)
def test_what_ctranslate2_has_no_place_for_is_told_where_to_go(
    run_of: RunOf, tmp_path: Path, method: str
) -> None:
    with pytest.raises(CannotFold, match=method) as caught:
        export(open_run(run_of(method)), load_format("ctranslate2"), tmp_path / "out")
    assert caught.value.hint == "Try: --to onnx" and not [*tmp_path.glob("*out*")]


@pytest.mark.parametrize("form", ["ctranslate2", "ctranslate2_int8"])
@pytest.mark.parametrize("head", HEADS)
def test_a_head_scaled_wrongly_is_caught_although_its_likeliest_token_is_right(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, head: str
) -> None:
    wrong = toy_model().config.d_model ** -0.5 if HEADS[head] else 1.0
    monkeypatch.setattr(ctranslate2, "measure_head_scale", lambda model: wrong)
    count = r"\d+" if form == "ctranslate2_int8" else "0"
    with pytest.raises(CheckFailed, match=f"run: {count} of [1-9]"):
        export(open_run(run_of("vanilla", untied=HEADS[head])), load_format(form), tmp_path / "out")


@pytest.mark.parametrize("head", HEADS)
def test_how_a_head_is_scaled_is_found_by_trying_it(head: str) -> None:
    model = toy_model(untied=HEADS[head])
    right = 1.0 if HEADS[head] else model.config.d_model**-0.5
    assert ctranslate2.measure_head_scale(model) == pytest.approx(right)


def test_one_altered_tensor_is_caught_in_ctranslate2(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(model: Any, tokenizer: Any, *, right: Any = ctranslate2.build_spec) -> Any:
        spec = right(model, tokenizer)
        spec.decoder.layer_norm.gamma = spec.decoder.layer_norm.gamma * 1.05
        return spec

    monkeypatch.setattr(ctranslate2, "build_spec", altered)
    with pytest.raises(CheckFailed):
        export(open_run(run_of("vanilla")), load_format("ctranslate2"), tmp_path / "out")


@pytest.mark.parametrize(
    ("form", "library"), [("onnx", "onnxruntime"), ("onnx", "onnx"), ("ctranslate2", "ctranslate2")]
)
def test_a_missing_library_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, form: str, library: str
) -> None:
    for name in [n for n in sys.modules if n.startswith("fki.exporting.formats.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=library) as caught:
        load_format(form)
    assert f"[{form}]" in str(caught.value.hint)
