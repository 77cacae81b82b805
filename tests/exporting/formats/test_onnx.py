"""Graphs say what torch says, whatever batch, length and beams; altered ones are caught."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fki.core.errors import CheckFailed
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.modeling.runtime import TorchRuntime
from fki.runs.open_run import open_run
from fki.runs.run_dir import Run
from fki.testing import toy_tokenizer

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from fki.exporting.formats import onnx_runtime  # noqa: E402
from fki.exporting.formats.trace_graph import pack_graph  # noqa: E402

RunOf = Callable[..., Run]


def random_sources(number: int) -> list[list[int]]:
    """Sources of many lengths, which a batch pads."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, number)
    return [
        [*rng.integers(3, 4000, n).tolist(), toy_tokenizer().tokenizer.eos_token_id]
        for n in lengths
    ]


@pytest.fixture(scope="module")
def graphs(run_of: RunOf, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A run with a branch beside its encoder in torch, and its graphs."""
    opened = open_run(run_of("kadapter_2"))
    folder = tmp_path_factory.mktemp("graphs")
    load_format("onnx").write(opened, folder)
    encoder = toy_tokenizer()
    return TorchRuntime(opened.model, encoder), onnx_runtime.load(folder, encoder)


@pytest.mark.parametrize("length", [1, 2, 12])
@pytest.mark.parametrize("beams", [1, 2, 4])
def test_beams_over_graphs_are_those_of_generate(
    graphs: tuple[Any, Any], beams: int, length: int
) -> None:
    sources = random_sources(30)
    ours, its = (
        [
            [[token for token in text if token != 0] for text in texts]
            for texts in runtime.generate(sources, length=length, beams=beams, best=beams)
        ]
        for runtime in graphs
    )
    assert ours == its


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_graphs_score_as_torch_does_whatever_the_padding(
    graphs: tuple[Any, Any], length: int
) -> None:
    sources = random_sources(12)
    targets = [source[-1 - i % length - 1 :][:length] for i, source in enumerate(sources)]
    ours, its = (runtime.score(sources, targets) for runtime in graphs)
    assert ours == pytest.approx(its, abs=1e-4)
    assert its == pytest.approx(
        [graphs[1].score([s], [t])[0] for s, t in zip(sources, targets, strict=True)], abs=1e-4
    )


def spoil_graph(name: str) -> Callable[[Path], None]:
    """A function that changes one tensor of a graph by a hundredth."""

    def spoil(folder: Path) -> None:
        graph = onnx.load(folder / name)
        tensor = next(t for t in graph.graph.initializer if "final_layer_norm" in t.name)
        values = onnx.numpy_helper.to_array(tensor) * np.float32(1.05)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save(graph, folder / name)

    return spoil


@pytest.mark.parametrize(
    "name", ["encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"]
)
def test_a_graph_with_one_altered_tensor_is_caught(
    run_of: RunOf, tmp_path: Path, name: str
) -> None:
    form = load_format("onnx")

    def write(opened: Any, folder: Path) -> None:
        form.write(opened, folder)
        spoil_graph(name)(folder)

    with pytest.raises(CheckFailed):
        export(open_run(run_of("vanilla")), replace(form, write=write), tmp_path / "out")
    assert (tmp_path / "out.failed-check").is_dir() and not (tmp_path / "out").exists()


def test_weights_that_are_too_many_for_one_file_are_beside_the_graph(
    graphs: tuple[Any, Any], run_of: RunOf, tmp_path: Path
) -> None:
    form = load_format("onnx")

    def write(opened: Any, folder: Path) -> None:
        form.write(opened, folder)
        for file in folder.glob("*.onnx"):
            pack_graph(file, file, limit=1)

    export(open_run(run_of("vanilla")), replace(form, write=write), tmp_path / "out")
    for file in (tmp_path / "out").glob("*.onnx"):
        assert file.stat().st_size < 2**18 < file.with_name(f"{file.name}_data").stat().st_size
