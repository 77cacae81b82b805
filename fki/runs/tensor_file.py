"""Write tensors into a file of safetensors one after another, so that one at a time is in memory.

The library's own writer needs all of them at once. A sharded tensor is gathered when its turn
comes, so a checkpoint of a sharded model needs the memory of its largest tensor. Format:
https://github.com/huggingface/safetensors#format
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from fki.modeling.sharding import full_tensor

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, some of which may be shards: the other processes then call `send_shards`.

    Raises OSError if the file cannot be written.
    """
    names = _in_order(tensors)
    header, end = dict[str, object](), 0
    for name in names:
        tensor, start = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": [*tensor.shape],
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            out.write(_read_bytes(tensors[name]))


def _read_bytes(tensor: Tensor) -> memoryview:
    whole = full_tensor(tensor.detach()).cpu().contiguous()
    return whole.reshape(-1).view(torch.uint8).numpy().data


def send_shards(tensors: Mapping[str, Tensor]) -> None:
    """Take part in `write_tensors` of the main process, with the same names."""
    for name in _in_order(tensors):
        full_tensor(tensors[name].detach())


def _in_order(tensors: Mapping[str, Tensor]) -> Iterable[str]:
    """The names, those of larger numbers first, so that each tensor is aligned."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
