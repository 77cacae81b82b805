"""What a frozen encoder says of each source, computed once and kept in memory maps.

It is what the encoder says without dropout: where an epoch reads it from here, the frozen part of
the model has none. A group of sources is the unit: it is computed as a whole, in fixed batches, so
that its bits depend on nothing but the group and the encoder, and a run that was stopped goes on
with the same ones.
"""

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

BATCH_TOKENS = 4096  # padded, of a batch that is computed
DISK_RESERVE = 256 * 2**20  # bytes that are left free on the disk
STORAGE_DTYPES = {"fp32": np.float32, "bf16": np.int16}  # numpy has no bfloat16: its bits


class FrozenEncoder(NamedTuple):
    """An encoder that nothing trains, so that what it says of a source can be kept."""

    encoder: Any
    states: tuple[int, ...] = ()  # hidden states that the model reads beside its output, from 0


class CachedStates:
    """The states [S, T, D] of each of its sources."""

    def __init__(self, table: Tensor, begins: dict[bytes, int]) -> None:
        self.table = table  # [all tokens, S, D]
        self.begins = begins  # of each source's tokens in it


class EncoderCache:
    """The groups of one frozen encoder; on disk until the process ends, at most `limit` bytes."""

    def __init__(
        self,
        frozen: FrozenEncoder,
        encoder: ExampleTokenizer,
        *,
        store: str,
        limit: int,
        folder: Path,
    ) -> None:
        self.frozen, self.encoder, self.store = frozen, encoder, store
        self.limit, self.folder = limit, folder
        self.kept = sorted({*frozen.states, frozen.encoder.config.num_layers})
        self.groups: dict[str, CachedStates] = {}
        self.weights: object = None  # which weights the groups are of

    def group(self, name: str, sources: Sequence[list[int]]) -> CachedStates | None:
        """The group of this name, computed where it is not here yet; None where it does not fit.

        Older groups give way to it. All of them go where the encoder's weights have changed.
        """
        # where each weight is and how often it was written to: a hash of them all would take longer
        weights = [(p.data_ptr(), p._version) for p in self.frozen.encoder.parameters()]
        if weights != self.weights:
            self.groups.clear()
            self.weights = weights
        if name not in self.groups:
            unique = list({source_key(s): s for s in sources}.values())
            size = sum(map(len, unique)) * self.bytes_a_token
            while self.groups and self.size + size > self.limit:
                del self.groups[next(iter(self.groups))]
            if size > self.limit or not self._has_room(size) or not unique:
                return None
            try:
                self.groups[name] = self._computed(unique)
            except OSError:  # the disk refuses after all
                return None
        return self.groups[name]

    def drop(self, name: str) -> None:
        """Give a group's place back."""
        self.groups.pop(name, None)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(g.table.numel() * g.table.element_size() for g in self.groups.values())

    @property
    def bytes_a_token(self) -> int:
        """Of all its states."""
        width: int = self.frozen.encoder.config.d_model
        return len(self.kept) * width * np.dtype(STORAGE_DTYPES[self.store]).itemsize

    def _has_room(self, size: int) -> bool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return shutil.disk_usage(self.folder).free > size + DISK_RESERVE
        except OSError:
            return False

    def _computed(self, sources: Sequence[list[int]]) -> CachedStates:
        begins, end = {}, 0
        for source in sources:
            begins[source_key(source)] = end
            end += len(source)
        group = CachedStates(self._table(end), begins)
        for batch in self._batches(sources):
            states = self.computed(batch).to(group.table.dtype).cpu()
            for row, start, key in iter_segments(batch):
                size, begin = len(key) // 8, begins[key]
                group.table[begin : begin + size] = states[:, row, start : start + size].swapaxes(
                    0, 1
                )
        return group

    def _table(self, tokens: int) -> Tensor:
        """[tokens, S, D] in a file that has no name, so that nothing of it outlives the process."""
        shape = (tokens, len(self.kept), self.frozen.encoder.config.d_model)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            _reserve_space(file, tokens * self.bytes_a_token)
            mapped = np.memmap(file, STORAGE_DTYPES[self.store], "r+", shape=shape)
        table = torch.from_numpy(mapped)
        return table.view(torch.bfloat16) if self.store == "bf16" else table

    def _batches(self, sources: Sequence[list[int]]) -> Iterator[Batch]:
        encoded = [TokenizedExample(source, [0]) for source in sources]
        rows = [[i] for i in range(len(encoded))]
        for part in split_micro_batches(encoded, rows, most=len(encoded), budget=BATCH_TOKENS):
            yield self.encoder.collate_packed([[encoded[i] for i in row] for row in part])

    @torch.no_grad()
    def computed(self, batch: Batch) -> Tensor:
        """[S, B, T, D], computed now, in fp32 and without dropout."""
        encoder = self.frozen.encoder
        was_training = encoder.training
        encoder.eval()
        batch = batch.to(next(encoder.parameters()).device)
        with torch.autocast(batch.input_ids.device.type, enabled=False):
            out = encoder(
                input_ids=batch.input_ids,
                attention_mask=encoder_attention_mask(batch, encoder.config),
                output_hidden_states=len(self.kept) > 1,
            )
        encoder.train(was_training)
        last = self.kept[-1]
        states = [out.last_hidden_state if i == last else out.hidden_states[i] for i in self.kept]
        return torch.stack(states)

    def recalled(
        self, batch: Batch, groups: Sequence[CachedStates | None]
    ) -> AbstractContextManager[None]:
        """Inside of this the encoder says what is known of this batch, or else is computed here.

        `groups`: where each row's sources are.
        """
        known = self._known(batch, groups)
        states = self.computed(batch) if known is None else known
        device = next(self.frozen.encoder.parameters()).device
        return replace_forward(self.frozen.encoder, lambda: self._output(states.to(device)))

    def _known(self, batch: Batch, groups: Sequence[CachedStates | None]) -> Tensor | None:
        """[S, B, T, D] in fp32, 0 where a row has ended; None where a source is not there."""
        rows, width = batch.input_ids.shape
        found = torch.zeros(rows, width, len(self.kept), self.frozen.encoder.config.d_model)
        for row, start, key in iter_segments(batch):
            group, size = groups[row], len(key) // 8
            if group is None or key not in group.begins:
                return None
            begin = group.begins[key]
            found[row, start : start + size] = group.table[begin : begin + size]
        return found.permute(2, 0, 1, 3)

    def _output(self, states: Tensor) -> BaseModelOutput:
        """As the encoder gives it; hidden states are None but those that are read."""
        found = dict(zip(self.kept, states, strict=True))
        hidden = tuple(found.get(i) for i in range(self.kept[-1] + 1))
        return BaseModelOutput(last_hidden_state=states[-1], hidden_states=hidden)


def _reserve_space(file: IO[bytes], size: int) -> None:
    """Give a file its size. Raises OSError where the disk has no room: a memory map that finds none
    later would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def source_key(source: Sequence[int]) -> bytes:
    """A source's tokens, 8 bytes each."""
    return np.asarray(source, np.int64).tobytes()


def iter_segments(batch: Batch) -> Iterator[tuple[int, int, bytes]]:
    """(row, first token, key) of each example of a batch."""
    ids = batch.input_ids.numpy()
    parts = (
        batch.attention_mask if batch.segment_ids is None else batch.segment_ids.sources
    ).numpy()
    for row, (tokens, numbers) in enumerate(zip(ids, parts, strict=True)):
        start = 0
        for size in np.bincount(numbers)[1:].tolist():
            yield row, start, tokens[start : start + size].tobytes()
            start += size


def detect_frozen_encoder(encoder: Any, states: tuple[int, ...] = ()) -> FrozenEncoder | None:
    """The encoder, where nothing in it trains."""
    trains = any(p.requires_grad for p in encoder.parameters())
    return None if trains else FrozenEncoder(encoder, states)
