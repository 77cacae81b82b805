"""Traces a module as a file for onnxruntime."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fki.exporting.formats.base import import_library

onnx: Any = import_library("onnx", extra="onnx")

OPSET = 17  # the oldest opset with every operator of these graphs
LIMIT = 2**31 - 2**24  # bytes of weights that fit into one protobuf file

Axes = dict[str, dict[int, str]]  # input or output: its dynamic axes


def trace_graph(
    part: nn.Module, arguments: tuple[Tensor, ...], inputs: Axes, outputs: Axes, file: Path
) -> None:
    """Write one graph; weights above the limit go to a separate file."""
    scratch = file.with_suffix(".tracing")  # the exporter writes large models as many files
    scratch.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about constant shapes; the parity check covers them
        torch.onnx.export(
            part.eval(),
            arguments,
            str(scratch / file.name),
            input_names=[*inputs],
            output_names=[*outputs],
            dynamic_axes={**inputs, **outputs},
            opset_version=OPSET,
            dynamo=False,
        )
    pack_graph(scratch / file.name, file)
    shutil.rmtree(scratch)


def pack_graph(traced: Path, file: Path, limit: int = LIMIT) -> None:
    """Move a graph to its file; weights of more than `limit` bytes go to `<name>_data`."""
    graph = onnx.load(str(traced))
    weights = sum(len(tensor.raw_data) for tensor in graph.graph.initializer)
    onnx.save(
        graph,
        str(file),
        save_as_external_data=weights > limit,
        location=f"{file.name}_data",
        size_threshold=1024,
    )
