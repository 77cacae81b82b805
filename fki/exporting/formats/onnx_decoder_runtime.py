"""Runs an `onnx` folder of a decoder: onnxruntime for the graph, numpy between its calls."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fki.exporting.formats.base import import_library
from fki.exporting.formats.beam_search import log_softmax, search_beams
from fki.exporting.formats.plain_decoder import read_endings
from fki.modeling.decoding import MAX_TARGET_TOKENS
from fki.modeling.runtime import BATCH_SIZE

onnxruntime: Any = import_library("onnxruntime", extra="onnx")

MODEL = "model.onnx"
TOKEN_INPUTS = 3  # ids, mask and positions; the other inputs are states

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Rows = Sequence[list[int]]


class TextState(NamedTuple):
    """The states of texts that are padded on the left."""

    mask: Ids  # [B, T], 1 where a token is real
    past: dict[str, Floats]  # by input of the graph, [B, heads, T, width]

    def rows(self, chosen: Ids) -> "TextState":
        """The state of the chosen rows [K]."""
        past = {name: part[chosen] for name, part in self.past.items()}
        return TextState(self.mask[chosen], past)


class OnnxDecoderRuntime:
    """The graph on the CPU."""

    has_beams = True

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.graph = onnxruntime.InferenceSession(
            str(folder / MODEL), options, providers=["CPUExecutionProvider"]
        )
        self.states = self.graph.get_inputs()[TOKEN_INPUTS:]
        self.ends = read_endings(folder)

    def generate(
        self, sources: Rows, *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """Greedy with one beam."""
        if beams > 1:
            return [self._beams(source, length, beams)[:best] for source in sources]
        return [[row] for part in _batches(sources) for row in self._greedy(part, length)]

    def score(self, sources: Rows, targets: Rows) -> list[float]:
        """Teacher-forced: the prompts run first, and their states serve the targets."""
        scores: list[float] = []
        for prompts in _batches(sources):
            scores += self._forced(prompts, targets[len(scores) : len(scores) + len(prompts)])
        return scores

    def _read(self, prompts: Rows) -> tuple[Floats, TextState]:
        """Logits [B, V] after the prompts, and their state."""
        size, width = len(prompts), max(map(len, prompts))
        ids, mask = np.zeros((2, size, width), dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :], mask[row, width - len(prompt) :] = prompt, 1
        nothing = {
            state.name: np.zeros((size, state.shape[1], 0, state.shape[3]), np.float32)
            for state in self.states
        }
        logits, state = self._run(ids, mask, TextState(mask[:, :0], nothing))
        return logits[:, -1], state

    def _run(self, ids: Ids, mask: Ids, state: TextState) -> tuple[Floats, TextState]:
        """Logits [B, U, V] after each of further tokens [B, U], and the state with them."""
        whole = np.concatenate([state.mask, mask], 1)
        positions = np.maximum(whole.cumsum(1) - 1, 0)[:, whole.shape[1] - ids.shape[1] :]
        inputs = {"input_ids": ids, "attention_mask": whole, "position_ids": positions}
        logits, *past = self.graph.run(None, {**inputs, **state.past})
        names = (one.name for one in self.states)
        return logits, TextState(whole, dict(zip(names, past, strict=True)))

    def _next(self, tokens: Ids, state: TextState) -> tuple[Floats, TextState]:
        """Logits [B, V] after one more token for each row [B]."""
        logits, state = self._run(tokens[:, None], np.ones_like(tokens[:, None]), state)
        return logits[:, -1], state

    def _greedy(self, prompts: Rows, length: int) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in prompts]
        last, state = self._read(prompts)
        alive = np.arange(len(rows))
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

    def _beams(self, prompt: list[int], length: int, beams: int) -> list[list[int]]:
        first, state = self._read([prompt])

        def step(rows: Ids, tokens: Ids) -> Floats:
            nonlocal state
            last, state = self._next(tokens, state.rows(rows))
            return last

        return search_beams(first, step, length=length, beams=beams, ends=self.ends)

    def _forced(self, prompts: Rows, targets: Rows) -> list[float]:
        last, state = self._read(prompts)
        width = max(map(len, targets))
        ids, mask = np.zeros((2, len(targets), width), dtype=np.int64)
        for row, target in enumerate(targets):
            ids[row, : len(target)], mask[row, : len(target)] = target, 1
        steps = [last[:, None]]
        if width > 1:
            steps.append(self._run(ids[:, :-1], mask[:, :-1], state)[0])
        likely = log_softmax(np.concatenate(steps, 1))
        of = np.take_along_axis(likely, ids[..., None], -1)[..., 0]
        return [float(row[: len(t)].sum()) for row, t in zip(of, targets, strict=True)]


def _batches(prompts: Rows) -> Iterator[Rows]:
    """The prompts in order, in batches whose padded tokens have logits that fit into memory."""
    start = 0
    while start < len(prompts):
        size, width = 0, 0
        for prompt in prompts[start : start + BATCH_SIZE]:
            width = max(width, len(prompt))
            if size and (size + 1) * width > MAX_TARGET_TOKENS:
                break
            size += 1
        yield prompts[start : start + size]
        start += size
