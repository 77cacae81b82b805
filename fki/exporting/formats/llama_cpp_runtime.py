"""Runs a `gguf` file by llama.cpp: one source at a time, as token ids."""

import ctypes
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import import_library
from fki.exporting.formats.beam_search import log_softmax, search_beams
from fki.exporting.formats.plain_decoder import read_endings

llama: Any = import_library("llama_cpp", extra="gguf")

MIN_CONTEXT = 512  # tokens; more where the run's lengths need it
F32 = 0  # ggml's id of the type

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


def _silence(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """Discard llama.cpp's log, which lists every tensor; return values show errors."""


_silent = llama.llama_log_callback(_silence)


class LlamaCpp:
    """A model in llama.cpp, on the CPU and in fp32."""

    has_beams = True

    def __init__(self, file: Path, encoder: ExampleTokenizer) -> None:
        llama.llama_log_set(_silent, ctypes.c_void_p(0))
        llama.llama_backend_init()
        settings = llama.llama_model_default_params()
        settings.n_gpu_layers = 0
        self.model = llama.llama_model_load_from_file(str(file).encode(), settings)
        if not self.model:
            raise OSError(f"llama.cpp cannot load {file}")
        self.context = llama.llama_init_from_model(self.model, _context_settings(encoder))
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        self.size = llama.llama_vocab_n_tokens(self.vocabulary)
        self.ends = [llama.llama_vocab_eos(self.vocabulary)]
        weakref.finalize(self, _free, self.context, self.model)

    def generate(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """Greedy with one beam."""
        if beams > 1:
            return [self._beams(source, length, beams)[:best] for source in sources]
        return [[self._greedy(source, length)] for source in sources]

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """Teacher-forced."""
        scores = []
        for source, target in zip(sources, targets, strict=True):
            self._read(source)
            likely = log_softmax(self._after(target[:-1]))
            scores.append(float(likely[range(len(target)), target].sum()))
        return scores

    def _read(self, source: Sequence[int]) -> None:
        """Take a source; later calls of `_after` follow it."""
        raise NotImplementedError

    def _after(self, tokens: Sequence[int]) -> Floats:
        """Logits [1 + U, V] before the first and after each of the tokens [U] of an answer."""
        raise NotImplementedError

    def _decode(self, tokens: Sequence[int]) -> Floats:
        """Logits [T, V] after each of the tokens [T] of a whole text."""
        self._run(llama.llama_decode, tokens)
        logits = llama.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, (len(tokens), self.size)).copy()

    def _run(self, what: Any, tokens: Sequence[int]) -> None:
        llama.llama_memory_clear(
            llama.llama_get_memory(self.context), True
        )  # keeps the encoded source
        batch = llama.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, 0, 1
        failed = what(self.context, batch)
        llama.llama_batch_free(batch)
        if failed:
            raise OSError(f"llama.cpp failed with {failed}")

    def _greedy(self, source: list[int], length: int) -> list[int]:
        self._read(source)
        written: list[int] = []
        while len(written) < length and not {*written[-1:]} & {*self.ends}:
            written.append(int(self._after(written)[-1].argmax()))
        return written

    def _beams(self, source: list[int], length: int, beams: int) -> list[list[int]]:
        self._read(source)
        texts: list[list[int]] = [[]]

        def step(rows: Ids, tokens: Ids) -> Floats:
            nonlocal texts
            texts = [[*texts[row], int(token)] for row, token in zip(rows, tokens, strict=True)]
            return np.stack([self._after(text)[-1] for text in texts])

        return search_beams(self._after([])[-1:], step, length=length, beams=beams, ends=self.ends)


class LlamaRuntime(LlamaCpp):
    """An encoder-decoder: a source is encoded once."""

    def __init__(self, file: Path, encoder: ExampleTokenizer) -> None:
        super().__init__(file, encoder)
        self.start = llama.llama_model_decoder_start_token(self.model)

    def _read(self, source: Sequence[int]) -> None:
        self._run(llama.llama_encode, source)

    def _after(self, tokens: Sequence[int]) -> Floats:
        return self._decode([self.start, *tokens])


class LlamaDecoderRuntime(LlamaCpp):
    """A decoder: each call runs the prompt again."""

    def __init__(self, file: Path, encoder: ExampleTokenizer) -> None:
        super().__init__(file, encoder)
        self.ends = read_endings(file.parent)
        self.prompt: list[int] = []

    def _read(self, source: Sequence[int]) -> None:
        self.prompt = [*source]

    def _after(self, tokens: Sequence[int]) -> Floats:
        return self._decode([*self.prompt, *tokens])[len(self.prompt) - 1 :]


def _free(context: Any, model: Any) -> None:
    llama.llama_free(context)
    llama.llama_model_free(model)


def _context_settings(encoder: ExampleTokenizer) -> Any:
    settings = llama.llama_context_default_params()
    room = max(MIN_CONTEXT, encoder.input_length + encoder.output_length + 1)
    settings.n_ctx = settings.n_batch = settings.n_ubatch = room
    half = max(1, torch.get_num_threads() // 2)  # they wait for one another by spinning
    settings.n_threads = settings.n_threads_batch = half
    settings.type_k = settings.type_v = F32
    settings.flash_attn_type = 0  # none: it rounds to fp16
    return settings
