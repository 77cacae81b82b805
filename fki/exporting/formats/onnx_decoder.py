"""`onnx` of decoders: one graph with key-value cache, for prompts and single tokens alike.

File, inputs and outputs have the names that Optimum's ORTModelForCausalLM expects. The cache is
empty at a prompt. A graph contains every module, so K-Adapter can be exported too.

Torch's tracing exporter writes the graph, as for T5: llama-mini takes 3 seconds, and SmolLM2-135M
took 63. The newer exporter (torch.export) needs another library and did not finish SmolLM2 in 170.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from fki.core.errors import CannotFold
from fki.core.formatting import quote_python
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import Format
from fki.exporting.formats.onnx_decoder_runtime import MODEL, OnnxDecoderRuntime
from fki.exporting.formats.plain_decoder import GENERATION, build_refusal, write_endings
from fki.exporting.formats.trace_graph import trace_graph
from fki.modeling.causal_decoding import reuses_prompts
from fki.runs.open_run import LoadedModel

RUNTIME = "onnxruntime"
STATES = ("key", "value")  # of a block, [B, heads, T, width]


class DecoderGraph(nn.Module):
    """Tokens and positions [B, U], mask [B, T + U] and past to logits [B, U, V] and all states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor, positions: Tensor, *past: Tensor) -> Any:
        cache = DynamicCache()
        for layer, place in enumerate(range(0, len(past), len(STATES))):
            cache.update(past[place], past[place + 1], layer)
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        states = [part for layer in cache.layers for part in (layer.keys, layer.values)]
        return out.logits, *states


def check(loaded: LoadedModel) -> None:
    """Raises ConfigError for a decoder without a key-value cache."""
    if not reuses_prompts(loaded.base.model):
        raise build_refusal(loaded, RUNTIME, "it has no key-value cache that a graph could receive")


def write(loaded: LoadedModel, folder: Path) -> None:
    """Write the plain model, or the method's own model where there is no plain one.

    Raises ConfigError where torch cannot trace the model.
    """
    try:
        model: Any = loaded.method.fold(loaded.model)
    except CannotFold:
        model = loaded.model
    model.config.use_cache = True
    model.config.save_pretrained(folder)
    write_endings(model, loaded, folder)
    try:
        write_graph(model.eval(), folder)
    except Exception as error:  # tracing raises many types
        why = f"torch cannot trace it ({type(error).__name__}: {error})"
        raise build_refusal(loaded, RUNTIME, why) from error


@torch.no_grad()
def write_graph(model: Any, folder: Path) -> None:
    """Write the graph. The tracing inputs fix nothing: batch size and lengths are dynamic.

    One row is padded, so that the mask is not left out of the graph.
    """
    ids = torch.ones(2, 3, dtype=torch.long, device=model.device)
    mask = torch.ones_like(ids)
    graph, positions = DecoderGraph(model), ids.cumsum(1) - 1
    past = graph(ids, mask, positions)[1:]
    layers = range(len(past) // len(STATES))
    states = [f"{layer}.{part}" for layer in layers for part in STATES]
    tokens, whole = {0: "batch", 1: "tokens"}, {0: "batch", 1: "total"}
    padded = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]], device=model.device)
    trace_graph(
        graph,
        (ids[:, :2], padded, (padded.cumsum(1) - 1)[:, -2:], *past),
        {
            "input_ids": tokens,
            "attention_mask": whole,
            "position_ids": tokens,
            **{f"past_key_values.{name}": {0: "batch", 2: "past"} for name in states},
        },
        {"logits": tokens, **{f"present.{name}": {0: "batch", 2: "total"} for name in states}},
        folder / MODEL,
    )


def load(folder: Path, encoder: ExampleTokenizer) -> OnnxDecoderRuntime:
    """Load by onnxruntime."""
    return OnnxDecoderRuntime(folder)


def loading_code(folder: Path, name: str) -> str:
    """Loads the graph and the tokenizer."""
    return (
        "import json\n"
        "import numpy as np\n"
        "from onnxruntime import InferenceSession\n"
        "from tokenizers import Tokenizer\n"
        f"graph = InferenceSession({quote_python(f'{name}/{MODEL}')})\n"
        f"tokenizer = Tokenizer.from_file({quote_python(name + '/tokenizer.json')})"
    )


def asking_code(name: str, prompt: str, length: int) -> str:
    """Prints the greedy answer; for brevity, each token runs the whole text again."""
    return (
        f"with open({quote_python(f'{name}/{GENERATION}')}) as file:\n"
        '    ends = json.load(file)["eos_token_id"]\n'
        "past = {\n"
        "    state.name: np.zeros((1, state.shape[1], 0, state.shape[3]), np.float32)\n"
        "    for state in graph.get_inputs()[3:]\n"
        "}\n"
        f"ids = tokenizer.encode({quote_python(prompt)}, add_special_tokens=False).ids\n"
        "written = []\n"
        f"while len(written) < {length} and not {{*written}} & {{*ends}}:\n"
        "    text = np.array([ids + written])\n"
        "    inputs = {\n"
        '        "input_ids": text,\n'
        '        "attention_mask": np.ones_like(text),\n'
        '        "position_ids": np.arange(text.size)[None],\n'
        "    }\n"
        '    [logits] = graph.run(["logits"], {**inputs, **past})\n'
        "    written.append(int(logits[0, -1].argmax()))\n"
        "print(tokenizer.decode(written))"
    )


# Disk: the weights, a tied head once more, and all of it twice while the graph is moved.
DECODER = Format(
    "onnx",
    RUNTIME,
    write,
    load,
    library="onnx",
    check=check,
    loading_code=loading_code,
    asking_code=asking_code,
    bytes_per_parameter=16.0,
)
