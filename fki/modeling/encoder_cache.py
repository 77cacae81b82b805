"""A frozen encoder's outputs, computed once for each source and read from memory-mapped files.

A step that reads the cache skips the encoder's forward pass. The price is disk space, 4 * d_model
bytes in fp32 for each source token and cached layer, and an encoder without dropout: cached
outputs are computed in evaluation mode.

The cache computes a group of sources as a whole, in fixed batches. Its bits then depend only on the
group and the encoder, and a resumed run continues with the same ones.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from fki.core.types import Batch
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.packing import split_micro_batches
from fki.modeling.seq2seq import encoder_attention_mask, replace_forward

logger = logging.getLogger(__name__)

BATCH_TOKENS = 4096  # padded source tokens of a batch in which the cache is filled
DISK_RESERVE = 256 * 2**20  # bytes that stay free on the disk
STORAGE_DTYPES = {"fp32": np.float32, "bf16": np.int16}  # numpy has no bfloat16: its bits


class FrozenEncoder(NamedTuple):
    """An encoder without trainable parameters, whose outputs can be cached."""

    encoder: Any
    taps: tuple[int, ...] = ()  # hidden states read beside the output; 0: embeddings


class CachedStates:
    """The hidden states of a group of sources."""

    def __init__(self, table: Tensor, offsets: dict[bytes, int]) -> None:
        self.table = table  # [tokens of all sources, S, D]
        self.offsets = offsets  # source key -> its first row in the table


class EncoderCache:
    """Cached groups of one frozen encoder, at most `max_bytes` on disk until the process ends.

    S counts the cached layers: the taps and the encoder's output.
    """

    def __init__(
        self,
        frozen: FrozenEncoder,
        tokenizer: ExampleTokenizer,
        *,
        dtype: str,
        max_bytes: int,
        folder: Path,
    ) -> None:
        """
        Args:
            dtype: of the files, "fp32" or "bf16".
            folder: where the files are created, without a name.
        """
        self.frozen, self.tokenizer, self.dtype = frozen, tokenizer, dtype
        self.max_bytes, self.folder = max_bytes, folder
        self.layers = sorted({*frozen.taps, frozen.encoder.config.num_layers})
        self.groups: dict[str, CachedStates] = {}
        self.kept: set[str] = set()  # names of groups that are not dropped to make room
        self._weights: object = None  # the version of the weights that computed the groups

    def fetch(self, name: str, sources: Sequence[list[int]]) -> CachedStates | None:
        """Return the group of this name; compute it first if it is missing.

        Older groups are dropped to make room, and all groups once the encoder's weights change.
        Returns None if the group does not fit.
        """
        self._drop_outdated()
        return self.groups.get(name) or self._store(name, sources, None)

    def replace(self, name: str, sources: Sequence[list[int]]) -> CachedStates | None:
        """Return the group of this name with exactly these sources.

        States that the group had are kept; the missing ones are computed as a whole. The bits thus
        depend on the sequence of calls with this name. The group is not dropped to make room for
        others. Returns None if it does not fit.
        """
        self._drop_outdated()
        self.kept.add(name)
        return self._store(name, sources, self.groups.pop(name, None))

    def _drop_outdated(self) -> None:
        """Drop all groups if the encoder's weights have changed."""
        # address and write count of each weight: hashing the weights would take longer
        weights = [(p.data_ptr(), p._version) for p in self.frozen.encoder.parameters()]
        if weights != self._weights:
            self.groups.clear()
            self._weights = weights

    def _store(
        self, name: str, sources: Sequence[list[int]], before: CachedStates | None
    ) -> CachedStates | None:
        """Store a group, with what `before` has; None if it does not fit."""
        unique = list({source_key(source): source for source in sources}.values())
        size = sum(map(len, unique)) * self.bytes_per_token
        others = [group for group in self.groups if group not in self.kept]
        while others and self.size_bytes + size > self.max_bytes:
            del self.groups[others.pop(0)]
        if self.size_bytes + size > self.max_bytes or not self._has_disk_space(size) or not unique:
            return None
        try:
            self.groups[name] = self._compute_group(unique, before)
        except OSError:  # the disk is full after all
            return None
        return self.groups[name]

    def drop(self, name: str) -> None:
        """Remove a group and free its disk space."""
        self.groups.pop(name, None)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(g.table.numel() * g.table.element_size() for g in self.groups.values())

    @property
    def bytes_per_token(self) -> int:
        """Bytes on disk for each source token, over all cached layers."""
        width: int = self.frozen.encoder.config.d_model
        return len(self.layers) * width * np.dtype(STORAGE_DTYPES[self.dtype]).itemsize

    @torch.no_grad()
    def compute(self, batch: Batch) -> Tensor:
        """Run the encoder on a batch, in fp32 and without dropout. Returns [S, B, T, D]."""
        encoder = self.frozen.encoder
        was_training = encoder.training
        encoder.eval()
        batch = batch.to(next(encoder.parameters()).device)
        with torch.autocast(batch.input_ids.device.type, enabled=False):
            out = encoder(
                input_ids=batch.input_ids,
                attention_mask=encoder_attention_mask(batch, encoder.config),
                output_hidden_states=len(self.layers) > 1,
            )
        encoder.train(was_training)
        last = self.layers[-1]
        states = [out.last_hidden_state if i == last else out.hidden_states[i] for i in self.layers]
        return torch.stack(states)

    def patch_encoder(
        self, batch: Batch, groups: Sequence[CachedStates | None]
    ) -> AbstractContextManager[None]:
        """Within the context the encoder returns the cached states of this batch.

        Args:
            groups: the group of each row's sources. If any source is missing, the states of the
                whole batch are computed here.
        """
        cached = self._look_up(batch, groups)
        states = self.compute(batch) if cached is None else cached
        device = next(self.frozen.encoder.parameters()).device
        return replace_forward(self.frozen.encoder, lambda: self._make_output(states.to(device)))

    def _has_disk_space(self, size: int) -> bool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            has_space = shutil.disk_usage(self.folder).free > size + DISK_RESERVE
        except OSError:
            has_space = False
        if not has_space:
            logger.info("No disk space for %d bytes of encoder states in %s", size, self.folder)
        return has_space

    def _compute_group(
        self, sources: Sequence[list[int]], before: CachedStates | None
    ) -> CachedStates:
        """The states of different sources; those that `before` has are copied."""
        offsets, end = {}, 0
        missing: list[list[int]] = []
        for source in sources:
            offsets[source_key(source)] = end
            end += len(source)
        group = CachedStates(self._allocate_table(end), offsets)
        for source in sources:
            key, size = source_key(source), len(source)
            if before is None or key not in before.offsets:
                missing.append(source)
                continue
            start, old = offsets[key], before.offsets[key]
            group.table[start : start + size] = before.table[old : old + size]
        for batch in self._iter_batches(missing):
            states = self.compute(batch).to(group.table.dtype).cpu()
            for row, start, key in iter_segments(batch):
                size, offset = len(key) // 8, offsets[key]
                segment = states[:, row, start : start + size].swapaxes(0, 1)
                group.table[offset : offset + size] = segment
        return group

    def _allocate_table(self, tokens: int) -> Tensor:
        """[tokens, S, D] in a file without a name, which disappears with the process."""
        shape = (tokens, len(self.layers), self.frozen.encoder.config.d_model)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            _reserve_space(file, tokens * self.bytes_per_token)
            mapped = np.memmap(file, STORAGE_DTYPES[self.dtype], "r+", shape=shape)
        table = torch.from_numpy(mapped)
        return table.view(torch.bfloat16) if self.dtype == "bf16" else table

    def _iter_batches(self, sources: Sequence[list[int]]) -> Iterator[Batch]:
        examples = [TokenizedExample(source, [0]) for source in sources]
        rows = [[i] for i in range(len(examples))]
        for part in split_micro_batches(examples, rows, most=len(examples), budget=BATCH_TOKENS):
            yield self.tokenizer.collate_packed([[examples[i] for i in row] for row in part])

    def _look_up(self, batch: Batch, groups: Sequence[CachedStates | None]) -> Tensor | None:
        """Cached states [S, B, T, D] in fp32, 0 at padding; None if a source is missing."""
        rows, width = batch.input_ids.shape
        states = torch.zeros(rows, width, len(self.layers), self.frozen.encoder.config.d_model)
        for row, start, key in iter_segments(batch):
            group, size = groups[row], len(key) // 8
            if group is None or key not in group.offsets:
                return None
            offset = group.offsets[key]
            states[row, start : start + size] = group.table[offset : offset + size]
        return states.permute(2, 0, 1, 3)

    def _make_output(self, states: Tensor) -> BaseModelOutput:
        """The encoder's output; hidden states that are not cached are None."""
        by_layer = dict(zip(self.layers, states, strict=True))
        hidden = tuple(by_layer.get(i) for i in range(self.layers[-1] + 1))
        return BaseModelOutput(last_hidden_state=states[-1], hidden_states=hidden)


def detect_frozen_encoder(encoder: Any, taps: tuple[int, ...] = ()) -> FrozenEncoder | None:
    """A FrozenEncoder, or None if any of the encoder's parameters train."""
    trains = any(p.requires_grad for p in encoder.parameters())
    return None if trains else FrozenEncoder(encoder, taps)


def source_key(source: Sequence[int]) -> bytes:
    """The token ids of a source as bytes, 8 for each."""
    return np.asarray(source, np.int64).tobytes()


def iter_segments(batch: Batch) -> Iterator[tuple[int, int, bytes]]:
    """(row, first position, source key) of each example in a batch."""
    ids = batch.input_ids.numpy()
    parts = (
        batch.attention_mask if batch.segment_ids is None else batch.segment_ids.sources
    ).numpy()
    for row, (tokens, numbers) in enumerate(zip(ids, parts, strict=True)):
        start = 0
        for size in np.bincount(numbers)[1:].tolist():
            yield row, start, tokens[start : start + size].tobytes()
            start += size


def _reserve_space(file: IO[bytes], size: int) -> None:
    """Extend a file to its final size. Raises OSError if the disk is full.

    A memory map that runs out of disk space later would kill the process.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
