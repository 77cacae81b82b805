"""`onnx` of encoder-decoders: three graphs: encoder, decoder, and decoder with past key values.

Decoders have a module of their own, `onnx_decoder`.

Files, inputs and outputs have the names that Optimum's ORTModelForSeq2SeqLM expects. A graph
contains every module, so each method can be exported.

Torch's tracing exporter writes the graphs. The newer exporter (torch.export) gives the same numbers
in some 30 times the time, needs another library, and fails on T5's default attention.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from fki.core.errors import CannotFold
from fki.core.formatting import quote_python
from fki.exporting.formats import onnx_decoder
from fki.exporting.formats.base import Format
from fki.exporting.formats.onnx_runtime import DECODER, ENCODER, PAST, load
from fki.exporting.formats.trace_graph import Axes, trace_graph
from fki.runs.open_run import LoadedModel

OWN = ("decoder.key", "decoder.value")  # [B, heads, U, width], of the decoded tokens
ALL = (*OWN, "encoder.key", "encoder.value")  # and [B, heads, T, width], of the source


class EncoderGraph(nn.Module):
    """Tokens and mask [B, T] to states [B, T, D]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.get_encoder()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state


class DecoderGraph(nn.Module):
    """Decoded tokens [B, U], states and mask to logits [B, U, V] and past key values."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, states: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return self.ask(ids, states, mask)

    def ask(
        self, ids: Tensor, states: Tensor, mask: Tensor, past: EncoderDecoderCache | None = None
    ) -> tuple[Tensor, ...]:
        """Logits, and for each layer the tensors of ALL."""
        out = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            decoder_input_ids=ids,
            past_key_values=past,
            use_cache=True,
        )
        tensors = [out.logits]
        past = out.past_key_values
        for own, source in zip(
            past.self_attention_cache.layers, past.cross_attention_cache.layers, strict=True
        ):
            tensors += [own.keys, own.values, source.keys, source.values]
        return tuple(tensors)


class DecoderWithPastGraph(DecoderGraph):
    """Next token [B, 1], mask and past to logits [B, 1, V] and the decoder's past key values."""

    def forward(self, ids: Tensor, mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        own, source = DynamicCache(), DynamicCache()
        for layer, i in enumerate(range(0, len(past), len(ALL))):
            own.update(past[i], past[i + 1], layer)
            source.update(past[i + 2], past[i + 3], layer)
        unread = past[2].new_zeros(*mask.shape, self.model.config.d_model)
        logits, *tensors = self.ask(ids, unread, mask, EncoderDecoderCache(own, source))
        return logits, *(t for i, t in enumerate(tensors) if i % len(ALL) < len(OWN))


def write(loaded: LoadedModel, folder: Path) -> None:
    """Write the plain model, or the method's own model where there is no plain one."""
    try:
        model: Any = loaded.method.fold(loaded.model)
    except CannotFold:
        model = loaded.model
    model.config.use_cache = True
    model.config.save_pretrained(folder)
    model.generation_config.max_new_tokens = loaded.config.output_length
    model.generation_config.num_beams = loaded.config.num_beams
    model.generation_config.save_pretrained(folder)
    write_graphs(model.eval(), folder)


@torch.no_grad()
def write_graphs(model: Any, folder: Path) -> None:
    """Write three graphs. The tracing inputs fix nothing: batch size and lengths are dynamic."""
    ids = torch.ones(2, 3, dtype=torch.long, device=model.device)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]], device=model.device)
    source, target = {0: "batch", 1: "source"}, {0: "batch", 1: "target"}
    states = EncoderGraph(model)(ids, mask)
    past = DecoderGraph(model)(ids[:, :2], states, mask)[1:]
    layers = len(past) // len(ALL)
    trace_graph(
        EncoderGraph(model),
        (ids, mask),
        {"input_ids": source, "attention_mask": source},
        {"last_hidden_state": source},
        folder / ENCODER,
    )
    trace_graph(
        DecoderGraph(model),
        (ids[:, :2], states, mask),
        {"input_ids": target, "encoder_hidden_states": source, "encoder_attention_mask": source},
        {"logits": target, **_name_past("present", layers, ALL)},
        folder / DECODER,
    )
    trace_graph(
        DecoderWithPastGraph(model),
        (ids[:, :1], mask, *past),
        {
            "input_ids": {0: "batch"},
            "encoder_attention_mask": source,
            **_name_past("past_key_values", layers, ALL),
        },
        {"logits": {0: "batch"}, **_name_past("present", layers, OWN)},
        folder / PAST,
    )


def _name_past(kind: str, layers: int, parts: Sequence[str]) -> Axes:
    names = [(part, f"{kind}.{i}.{part}") for i in range(layers) for part in parts]
    own = "written" if kind == "present" else "past"
    return {name: {0: "batch", 2: own if part in OWN else "source"} for part, name in names}


def loading_code(folder: Path, name: str) -> str:
    """Loads the three graphs and the tokenizer."""
    return (
        "from onnxruntime import InferenceSession\n"
        "from tokenizers import Tokenizer\n"
        'parts = ("encoder", "decoder", "decoder_with_past")\n'
        f'graphs = [InferenceSession({quote_python(name)} + f"/{{part}}_model.onnx") '
        "for part in parts]\n"
        f"tokenizer = Tokenizer.from_file({quote_python(name + '/tokenizer.json')})"
    )


# Disk: three graphs, embeddings and head in both decoders, and one graph twice while it is moved.
ONNX = Format(
    "onnx",
    "onnxruntime",
    write,
    load,
    library="onnx",
    loading_code=loading_code,
    bytes_per_parameter=16.0,
    decoder=onnx_decoder.DECODER,
)
