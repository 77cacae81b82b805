"""Graphs of decoders say what torch says, whatever batch, length and beams; altered ones fail."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from fki.config.schema import Config
from fki.core.errors import CheckFailed, ConfigError
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import open_run
from fki.testing import DECODERS, toy_causal_tokenizer

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from fki.exporting.formats import onnx_decoder as form  # noqa: E402
from fki.exporting.formats import onnx_decoder_runtime  # noqa: E402

Runtimes = tuple[Any, Any]  # torch and onnxruntime


def random_ids(number: int, longest: int) -> list[list[int]]:
    """Texts of many lengths, which a batch pads."""
    rng = np.random.default_rng(0)
    return [rng.integers(3, 4000, n).tolist() for n in rng.integers(1, longest, number)]


@pytest.fixture(scope="module")
def runtimes(
    decoder_run: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Runtimes]:
    """A function of a family: its run in torch, and its graph. Gemma has windows of 8 tokens."""
    found: dict[str, Runtimes] = {}

    def make(family: str) -> Runtimes:
        if family not in found:
            opened, tokenizer = open_run(decoder_run(family)), toy_causal_tokenizer()
            folder = tmp_path_factory.mktemp("graphs")
            form.DECODER.write(opened, folder)
            found[family] = (
                TorchRuntime(opened.model, tokenizer),
                form.DECODER.load(folder, tokenizer),
            )
        return found[family]

    return make


@pytest.mark.parametrize("family", DECODERS)
def test_a_graph_writes_and_scores_as_torch_does_whatever_the_padding(
    runtimes: Callable[[str], Runtimes], family: str
) -> None:
    both = runtimes(family)
    sources, targets = random_ids(14, 40), random_ids(14, 6)
    ours, its = (runtime.score(sources, targets) for runtime in both)
    assert ours == pytest.approx(its, abs=1e-4)
    for length in (1, 7):
        ours, its = (runtime.generate(sources, length=length) for runtime in both)
        assert ours == its


@pytest.mark.parametrize("beams", [2, 4])
def test_beams_over_a_graph_are_those_of_generate(
    runtimes: Callable[[str], Runtimes], beams: int
) -> None:
    cut, sources = toy_causal_tokenizer().cut_after_end, random_ids(6, 20)
    for length in (1, 6):
        ours, its = (
            [
                [*map(cut, texts)]
                for texts in runtime.generate(sources, length=length, beams=beams, best=beams)
            ]
            for runtime in runtimes("llama")
        )
        assert ours == its


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [([3] * 5, [5]), ([10] * 70, [64, 6]), ([1, 600, 600, 600, 1], [3, 2]), ([3000], [1])],
)
def test_a_batch_has_no_more_tokens_than_fit(lengths: list[int], sizes: list[int]) -> None:
    prompts = [[0] * length for length in lengths]
    batches = [*onnx_decoder_runtime._batches(prompts)]
    assert [len(batch) for batch in batches] == sizes
    assert [row for batch in batches for row in batch] == prompts


def test_adapters_beside_the_blocks_are_part_of_the_graph(decoder_run: Any, tmp_path: Path) -> None:
    run = decoder_run("llama", method="kadapter_2", freeze_level=1)
    parity = export(open_run(run), load_format("onnx"), tmp_path / "out")
    assert parity.asked == parity.same_answers == parity.same_beams > 0
    assert parity.largest_difference < 1e-4
    names = {one.name for one in form.DECODER.load(tmp_path / "out", toy_causal_tokenizer()).states}  # type: ignore[attr-defined]
    assert f"past_key_values.{2 + 2 - 1}.value" in names  # the model's blocks and the adapters'


def test_a_graph_with_one_altered_tensor_is_caught(decoder_run: Any, tmp_path: Path) -> None:
    def write(opened: Any, folder: Path) -> None:
        form.DECODER.write(opened, folder)
        graph = onnx.load(folder / "model.onnx")
        tensor = next(t for t in graph.graph.initializer if "norm.weight" in t.name)
        values = onnx.numpy_helper.to_array(tensor) * np.float32(1.05)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save(graph, folder / "model.onnx")

    with pytest.raises(CheckFailed, match="log-likelihoods differ"):
        export(open_run(decoder_run("llama")), replace(form.DECODER, write=write), tmp_path / "out")
    assert (tmp_path / "out.failed-check").is_dir() and not (tmp_path / "out").exists()


def test_a_model_without_a_cache_is_told_where_to_go() -> None:
    config = CONFIG_MAPPING["mamba"](
        vocab_size=50, hidden_size=8, num_hidden_layers=1, state_size=4, intermediate_size=16
    )
    base = SimpleNamespace(model=AutoModelForCausalLM.from_config(config))
    loaded: Any = SimpleNamespace(base=base, config=Config(model="some/model"))
    with pytest.raises(ConfigError, match=r"'some/model' .* no key-value cache") as caught:
        form.check(loaded)
    assert caught.value.hint == "Try: --to hf"


def test_a_model_that_torch_cannot_trace_is_an_error_in_words(
    decoder_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("an operator")

    monkeypatch.setattr(form, "trace_graph", fail)
    with pytest.raises(ConfigError, match=r"cannot trace it .RuntimeError: an operator"):
        form.DECODER.write(open_run(decoder_run("llama")), tmp_path)
