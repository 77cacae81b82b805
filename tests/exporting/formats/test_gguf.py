"""Runs as a file for llama.cpp, where its Python binding is installed: it answers like the run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import CannotFold, CheckFailed, ConfigError
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import open_run
from fki.runs.run_dir import Run
from fki.testing import toy_causal_tokenizer, toy_model

pytest.importorskip("gguf")
llama: Any = pytest.importorskip("llama_cpp")

from fki.exporting.formats import gguf, gguf_decoder  # noqa: E402
from fki.exporting.formats.llama_cpp_runtime import LlamaDecoderRuntime  # noqa: E402

RunOf = Callable[..., Run]


def short(run: Run) -> Any:
    """The run with answers of a few tokens at most: llama.cpp is asked one at a time."""
    opened = open_run(run)
    return replace(opened, config=opened.config.model_copy(update={"output_length": 6}))


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("method", ["vanilla", "lora"])
def test_a_file_for_llama_cpp_answers_like_the_run(
    run_of: RunOf, tmp_path: Path, method: str, untied: bool
) -> None:
    parity = export(short(run_of(method, untied=untied)), load_format("gguf"), tmp_path / "out")
    assert parity.asked == parity.same_answers == parity.same_beams > 0
    assert parity.largest_difference < (2e-2 if untied else 1e-3)  # GELU is a table of fp16


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
def test_a_head_scaled_wrongly_is_caught(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untied: bool
) -> None:
    wrong = toy_model().config.d_model ** -0.5 if untied else 1.0
    monkeypatch.setattr(gguf, "measure_head_scale", lambda model: wrong)
    with pytest.raises(CheckFailed, match=r": 0 of [1-9]"):
        export(short(run_of("vanilla", untied=untied)), load_format("gguf"), tmp_path / "out")


def test_other_relative_positions_than_llama_cpp_has_are_refused(
    run_of: RunOf, tmp_path: Path
) -> None:
    opened = short(run_of("vanilla"))
    opened.model.config.relative_attention_max_distance = 64
    with pytest.raises(ConfigError, match="relative_attention_max_distance"):
        export(opened, load_format("gguf"), tmp_path / "out")


def test_what_llama_cpp_has_no_place_for_is_told_where_to_go(run_of: RunOf, tmp_path: Path) -> None:
    with pytest.raises(CannotFold, match="kadapter_2") as caught:
        export(short(run_of("kadapter_2")), load_format("gguf"), tmp_path / "out")
    assert caught.value.hint == "Try: --to onnx"


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_llama_cpp_answers_like_a_decoder_and_reads_its_tokens(
    decoder_run: RunOf, tmp_path: Path, family: str
) -> None:
    parity = export(short(decoder_run(family)), load_format("gguf"), tmp_path / "out")
    assert gguf_decoder.DECODER.runtime == "llama.cpp"
    assert parity.asked == parity.same_answers == parity.same_beams > 0
    assert parity.largest_difference < 1e-4
    tokenizer = toy_causal_tokenizer()
    runtime = gguf_decoder.load(tmp_path / "out", tokenizer)
    assert isinstance(runtime, LlamaDecoderRuntime)
    sources, targets = [[1], [1, *range(100, 140)]], [[5, 6], [5, tokenizer.end_id]]
    expected = TorchRuntime(open_run(decoder_run(family)).model, tokenizer)
    scores = [r.score(sources, targets) for r in (runtime, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    for text in ("The mayor of Ys is Ada.", "It's 2023:  caf\u00e9\n\U0001f600"):
        content, found = text.encode(), (llama.llama_token * 200)()
        size = llama.llama_tokenize(
            runtime.vocabulary, content, len(content), found, 200, True, True
        )
        assert [*found[:size]] == tokenizer.tokenizer(text).input_ids
