"""What runs an `onnx` folder: onnxruntime for the three graphs, numpy for what is between them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.exporting.formats.base import import_library
from fki.exporting.formats.beam_search import log_softmax, search_beams
from fki.modeling.runtime import iter_batches

onnxruntime: Any = import_library("onnxruntime", extra="onnx")

TOGETHER = 2  # tokens of an answer that are scored by the first graph of the decoder
ENCODER, DECODER, PAST = "encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


class DecoderState(NamedTuple):
    """What the decoder has of each row so far."""

    mask: Ids  # [B, T], of the source
    past: dict[str, Floats]  # by input of the graph, [B, heads, T or U, width]

    def rows(self, chosen: Ids) -> "DecoderState":
        """Some of them, in any order and number."""
        return DecoderState(
            self.mask[chosen], {name: part[chosen] for name, part in self.past.items()}
        )


class OnnxRuntime:
    """The three graphs on the processor."""

    has_beams = True

    def __init__(self, folder: Path, encoder: ExampleTokenizer) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.encode, self.decode, self.go_on = (
            onnxruntime.InferenceSession(
                str(folder / name), options, providers=["CPUExecutionProvider"]
            )
            for name in (ENCODER, DECODER, PAST)
        )
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.start, self.pad = settings["decoder_start_token_id"], settings["pad_token_id"]
        end = settings["eos_token_id"]
        self.ends = end if isinstance(end, list) else [end]
        self.encoder = encoder

    def generate(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """Greedy where there is one beam."""
        if beams > 1:
            return [self._beams(source, length, beams)[:best] for source in sources]
        return [[row] for some in iter_batches(sources) for row in self._greedy(some, length)]

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """Teacher-forced."""
        return [
            value
            for some, wanted in zip(iter_batches(sources), iter_batches(targets), strict=True)
            for value in self._forced(some, wanted)
        ]

    def _read(self, sources: Sequence[list[int]]) -> tuple[Floats, Ids]:
        """The encoder's states [B, T, D], and their mask."""
        batch = self.encoder.collate([TokenizedExample(source, [0]) for source in sources])
        mask = batch.attention_mask.numpy()
        asked = {"input_ids": batch.input_ids.numpy(), "attention_mask": mask}
        return self.encode.run(None, asked)[0], mask

    def _begin(self, ids: Ids, states: Floats, mask: Ids) -> tuple[Floats, DecoderState]:
        """Logits [B, U, V] after tokens [B, U] behind the start, and what is kept of them."""
        starts = np.full((len(ids), 1), self.start, dtype=np.int64)
        asked = {
            "input_ids": np.concatenate([starts, ids], 1),
            "encoder_hidden_states": states,
            "encoder_attention_mask": mask,
        }
        logits, past = _run(self.decode, asked)
        return logits, DecoderState(mask, past)

    def _next(self, tokens: Ids, memory: DecoderState) -> tuple[Floats, DecoderState]:
        """Logits [B, V] after one more token each [B]."""
        asked = {"input_ids": tokens[:, None], "encoder_attention_mask": memory.mask, **memory.past}
        logits, news = _run(self.go_on, asked)
        return logits[:, -1], DecoderState(memory.mask, {**memory.past, **news})

    def _greedy(self, sources: Sequence[list[int]], length: int) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in sources]
        logits, memory = self._begin(_ids(rows), *self._read(sources))
        last, alive = logits[:, -1], np.arange(len(rows))
        for left in reversed(range(length)):
            tokens = last.argmax(-1)
            for i, token in zip(alive, tokens.tolist(), strict=True):
                rows[i].append(token)
            going = np.flatnonzero(~np.isin(tokens, self.ends))
            if not left or not len(going):
                break
            alive = alive[going]
            last, memory = self._next(tokens[going], memory.rows(going))
        return rows

    def _beams(self, source: list[int], length: int, beams: int) -> list[list[int]]:
        logits, memory = self._begin(_ids([[]]), *self._read([source]))

        def step(rows: Ids, tokens: Ids) -> Floats:
            nonlocal memory
            last, memory = self._next(tokens, memory.rows(rows))
            return last

        return search_beams(logits[:, -1], step, length=length, beams=beams, ends=self.ends)

    def _forced(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """The first tokens at once and the others one by one, so that every graph counts."""
        ids = _ids(targets, self.pad)
        logits, memory = self._begin(ids[:, : TOGETHER - 1], *self._read(sources))
        found = [logits]
        for place in range(TOGETHER - 1, ids.shape[1] - 1):
            last, memory = self._next(ids[:, place], memory)
            found.append(last[:, None])
        likely = log_softmax(np.concatenate(found, 1)[:, : ids.shape[1]])
        of = np.take_along_axis(likely, ids[..., None], -1)[..., 0]
        return [float(row[: len(t)].sum()) for row, t in zip(of, targets, strict=True)]


def _run(graph: Any, asked: dict[str, Any]) -> tuple[Floats, dict[str, Floats]]:
    """Logits, and the rest by the names of the inputs that it becomes."""
    names = [output.name.replace("present", "past_key_values") for output in graph.get_outputs()]
    logits, *rest = graph.run(None, asked)
    return logits, dict(zip(names[1:], rest, strict=True))


def _ids(rows: Sequence[list[int]], pad: int = 0) -> Ids:
    """[B, U], filled up behind."""
    ids = np.full((len(rows), max(map(len, rows))), pad, dtype=np.int64)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    return ids


def load(folder: Path, encoder: ExampleTokenizer) -> OnnxRuntime:
    """By onnxruntime alone."""
    return OnnxRuntime(folder, encoder)
