"""Runs an `onnx` folder: onnxruntime for the three graphs, numpy between them."""

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

TOGETHER = 2  # tokens of an answer that the first decoder graph scores
ENCODER, DECODER, PAST = "encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


class DecoderState(NamedTuple):
    """The decoder's state of each row."""

    mask: Ids  # [B, T], of the source
    past: dict[str, Floats]  # by input of the graph, [B, heads, T or U, width]

    def rows(self, chosen: Ids) -> "DecoderState":
        """The state of the chosen rows [K]."""
        return DecoderState(
            self.mask[chosen], {name: part[chosen] for name, part in self.past.items()}
        )


class OnnxRuntime:
    """The three graphs on the CPU."""

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
        """Greedy with one beam."""
        if beams > 1:
            return [self._beams(source, length, beams)[:best] for source in sources]
        return [
            [row]
            for batch_sources in iter_batches(sources)
            for row in self._greedy(batch_sources, length)
        ]

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """Teacher-forced."""
        return [
            value
            for batch_sources, batch_targets in zip(
                iter_batches(sources), iter_batches(targets), strict=True
            )
            for value in self._forced(batch_sources, batch_targets)
        ]

    def _read(self, sources: Sequence[list[int]]) -> tuple[Floats, Ids]:
        """Encoder states [B, T, D] and their mask [B, T]."""
        batch = self.encoder.collate([TokenizedExample(source, [0]) for source in sources])
        mask = batch.attention_mask.numpy()
        inputs = {"input_ids": batch.input_ids.numpy(), "attention_mask": mask}
        return self.encode.run(None, inputs)[0], mask

    def _begin(self, ids: Ids, states: Floats, mask: Ids) -> tuple[Floats, DecoderState]:
        """Logits [B, 1 + U, V] after the start token and tokens [B, U], and the decoder's state."""
        starts = np.full((len(ids), 1), self.start, dtype=np.int64)
        inputs = {
            "input_ids": np.concatenate([starts, ids], 1),
            "encoder_hidden_states": states,
            "encoder_attention_mask": mask,
        }
        logits, past = _run(self.decode, inputs)
        return logits, DecoderState(mask, past)

    def _next(self, tokens: Ids, state: DecoderState) -> tuple[Floats, DecoderState]:
        """Logits [B, V] after one more token for each row [B]."""
        inputs = {"input_ids": tokens[:, None], "encoder_attention_mask": state.mask, **state.past}
        logits, new_past = _run(self.go_on, inputs)
        return logits[:, -1], DecoderState(state.mask, {**state.past, **new_past})

    def _greedy(self, sources: Sequence[list[int]], length: int) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in sources]
        logits, state = self._begin(_ids(rows), *self._read(sources))
        last, alive = logits[:, -1], np.arange(len(rows))
        for left in reversed(range(length)):
            tokens = last.argmax(-1)
            for i, token in zip(alive, tokens.tolist(), strict=True):
                rows[i].append(token)
            going = np.flatnonzero(~np.isin(tokens, self.ends))
            if not left or not len(going):
                break
            alive = alive[going]
            last, state = self._next(tokens[going], state.rows(going))
        return rows

    def _beams(self, source: list[int], length: int, beams: int) -> list[list[int]]:
        logits, state = self._begin(_ids([[]]), *self._read([source]))

        def step(rows: Ids, tokens: Ids) -> Floats:
            nonlocal state
            last, state = self._next(tokens, state.rows(rows))
            return last

        return search_beams(logits[:, -1], step, length=length, beams=beams, ends=self.ends)

    def _forced(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """Score the first tokens at once and the others one by one, so that each graph is used."""
        ids = _ids(targets, self.pad)
        logits, state = self._begin(ids[:, : TOGETHER - 1], *self._read(sources))
        steps = [logits]
        for place in range(TOGETHER - 1, ids.shape[1] - 1):
            last, state = self._next(ids[:, place], state)
            steps.append(last[:, None])
        likely = log_softmax(np.concatenate(steps, 1)[:, : ids.shape[1]])
        of = np.take_along_axis(likely, ids[..., None], -1)[..., 0]
        return [float(row[: len(t)].sum()) for row, t in zip(of, targets, strict=True)]


def _run(graph: Any, inputs: dict[str, Any]) -> tuple[Floats, dict[str, Floats]]:
    """Logits, and the other outputs by the names of the inputs that receive them."""
    names = [output.name.replace("present", "past_key_values") for output in graph.get_outputs()]
    logits, *rest = graph.run(None, inputs)
    return logits, dict(zip(names[1:], rest, strict=True))


def _ids(rows: Sequence[list[int]], pad: int = 0) -> Ids:
    """Token ids [B, U], padded at the end."""
    ids = np.full((len(rows), max(map(len, rows))), pad, dtype=np.int64)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    return ids


def load(folder: Path, encoder: ExampleTokenizer) -> OnnxRuntime:
    """Load by onnxruntime."""
    return OnnxRuntime(folder, encoder)
