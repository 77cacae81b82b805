"""A cache of token ids by text, on disk, shared by all runs.

A segment is an immutable, memory-mapped file: the sorted keys of texts, the start of each text's
ids, and all ids. It ends with its own digest, so that a truncated or altered file is ignored. Texts
that are not cached are tokenized and written by `flush`. Without a writable folder, the cache is in
memory.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fki.core.paths import evict_oldest

logger = logging.getLogger(__name__)

MAGIC = 0x31736E656B6F7466  # "ftokens1"
MAX_CACHE_BYTES = (
    2**30
)  # bytes of one tokenizer's segments; those that were used longest ago go first
DAY = 86_400  # seconds
RULES = "control tokens in texts are characters"  # of `tokenization.py`; others have other ids
MAX_PENDING = 2**17  # texts that are held in memory before they go on disk

Ids = list[list[int]]


class Segment(NamedTuple):
    """The ids of n texts."""

    file: Path
    first: NDArray[np.uint64]  # [n], in order: the first half of each text's key
    second: NDArray[np.uint64]  # [n]
    begins: NDArray[np.int64]  # [n + 1]
    ids: NDArray[Any]  # [all ids]

    def places(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """[len(keys)], the index of each key, -1 if it is missing."""
        order = np.argsort(keys[:, 0])  # neighbours are near in memory
        found = np.empty(len(keys), np.int64)
        found[order] = np.searchsorted(self.first, keys[order, 0]).clip(max=len(self.first) - 1)
        is_here = (self.first[found] == keys[:, 0]) & (self.second[found] == keys[:, 1])
        return np.where(is_here, found, -1)

    def sizes(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of ids at each index."""
        return self.begins[places + 1] - self.begins[places]

    def at(self, places: NDArray[np.int64]) -> Ids:
        """The ids at each index, in one read."""
        sizes = self.sizes(places)
        ends = np.cumsum(sizes)
        shifts = np.repeat(self.begins[places] - (ends - sizes), sizes)
        flat = self.ids[shifts + np.arange(len(shifts))].data
        pairs = zip(ends.tolist(), sizes.tolist(), strict=True)
        return [flat[end - size : end].tolist() for end, size in pairs]


class TokenCache:
    """Tokenizes each text once; with a folder, once for all runs."""

    def __init__(self, tokenize: Callable[[list[str]], Ids], folder: Path | None = None) -> None:
        self.tokenize, self.folder = tokenize, folder
        self.pending: dict[str, list[int]] = {}
        self.segments = [*_read_segments(folder)] if folder else []

    def get_ids(self, texts: Sequence[str]) -> Ids:
        """The ids of each text, in order."""
        found = self._pending(texts)
        for segment, rows, places in self._stored(texts, found):
            for row, ids in zip(rows.tolist(), segment.at(places), strict=True):
                found[row] = ids
        if any(ids is None for ids in found):
            self._add([t for t, ids in zip(texts, found, strict=True) if ids is None])
            rest = zip(texts, found, strict=True)
            found = [self.pending[t] if ids is None else ids for t, ids in rest]
            self._flush_if(len(self.pending) > MAX_PENDING)
        return found

    def get_lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The number of ids of each text, without reading them."""
        found = self._pending(texts)
        sizes = np.full(len(texts), -1, np.int64)
        if self.pending:
            sizes[:] = [-1 if ids is None else len(ids) for ids in found]
        for segment, rows, places in self._stored(texts, found):
            sizes[rows] = segment.sizes(places)
        if left := np.flatnonzero(sizes < 0).tolist():
            sizes[left] = [len(ids) for ids in self.get_ids([texts[row] for row in left])]
        return sizes

    def _pending(self, texts: Sequence[str]) -> list[Any]:
        """The ids of each text that is not yet on disk, None for other texts."""
        return [*map(self.pending.get, texts)] if self.pending else [None] * len(texts)

    def _stored(
        self, texts: Sequence[str], found: Sequence[Any]
    ) -> list[tuple[Segment, NDArray[np.int64], NDArray[np.int64]]]:
        """(segment, rows of texts, indices in the segment) of the texts on disk."""
        if not self.segments:
            return []
        rows, stored = np.arange(len(texts)), []
        if self.pending:
            rows = np.array([row for row, ids in enumerate(found) if ids is None], np.int64)
            texts = [texts[row] for row in rows.tolist()]
        keys = text_keys(texts)
        for segment in self.segments:
            if not len(rows):
                break
            places = segment.places(keys)
            is_here = places >= 0
            if is_here.any():
                with suppress(OSError):
                    os.utime(segment.file)  # used now
                stored.append((segment, rows[is_here], places[is_here]))
                rows, keys = rows[~is_here], keys[~is_here]
        return stored

    def _add(self, texts: Sequence[str]) -> None:
        fresh = [*dict.fromkeys(texts)]
        logger.debug("Token cache: %d texts to tokenize", len(fresh))
        self.pending.update(zip(fresh, self.tokenize(fresh), strict=True))

    def flush(self) -> None:
        """Write the texts in memory as a segment."""
        self._flush_if(bool(self.pending))

    def _flush_if(self, is_time: bool) -> None:
        if self.folder is None or not is_time:
            return
        try:
            file = _write_segment(self.folder, self.pending)
        except OSError:
            self.folder = None  # continue in memory
            return
        segment = _read_segment(file)
        if segment is not None:
            self.segments.append(segment)
            self.pending.clear()


def tokenizer_digest(tokenizer: Any) -> str | None:
    """The digest of all that token ids depend on; None for a tokenizer without a backend."""
    state = _tokenizer_state(tokenizer)
    if state is None:
        return None
    kind = type(tokenizer).__name__, tokenizer.backend_tokenizer.encode_special_tokens
    versions = [version(package) for package in ("tokenizers", "transformers")]
    text = json.dumps([RULES, kind, versions, state], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def tokenizer_identity(tokenizer: Any) -> str:
    """The digest of a tokenizer, whatever the versions of its libraries; "" without a backend."""
    state = _tokenizer_state(tokenizer)
    text = json.dumps(state, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32] if state else ""


def _tokenizer_state(tokenizer: Any) -> dict[str, Any] | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    state: dict[str, Any] = json.loads(backend.to_str())
    for passing in ("truncation", "padding"):  # left by the last call
        state.pop(passing, None)
    return state


def text_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """[n, 2]: a 128-bit digest of each text."""
    digests = (hashlib.blake2b(t.encode(), digest_size=16).digest() for t in texts)
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)


def _write_segment(folder: Path, ids: dict[str, list[int]]) -> Path:
    """Write a segment, whole or not at all, then evict the oldest ones. Raises OSError."""
    keys = text_keys([*ids])
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    rows = [*ids.values()]
    sizes = np.array([len(rows[i]) for i in order.tolist()], np.int64)
    flat = [token for i in order.tolist() for token in rows[i]]
    kind = np.uint16 if max(flat, default=0) < 2**16 else np.uint32
    head = np.array([MAGIC, len(rows), len(flat), np.dtype(kind).itemsize], np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    parts = (head, keys[order, 0], keys[order, 1], begins, np.array(flat, kind))
    content = b"".join(part.tobytes() for part in parts)
    check = hashlib.sha256(content)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale_files(folder)
    file = folder / f"{check.hexdigest()[:32]}.ids"
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as scratch:
        try:
            scratch.write(content + check.digest())
            scratch.flush()
            os.fsync(scratch.fileno())
            os.replace(scratch.name, file)
        except BaseException:
            Path(scratch.name).unlink(missing_ok=True)
            raise
    evict_oldest(folder, "*.ids", MAX_CACHE_BYTES)
    return file


def _remove_stale_files(folder: Path) -> None:
    """Delete incomplete files that killed processes left a day ago or earlier."""
    for scratch in folder.glob(".*"):
        with suppress(OSError):
            if scratch.stat().st_mtime < time.time() - DAY:
                scratch.unlink()


def _read_segments(folder: Path) -> list[Segment]:
    """The segments of a folder, the largest first."""
    try:
        found = [
            segment for file in folder.glob("*.ids") if (segment := _read_segment(file)) is not None
        ]
    except OSError:
        return []
    return sorted(found, key=lambda segment: len(segment.first), reverse=True)


def _read_segment(file: Path) -> Segment | None:
    """A segment as a memory map, or None if it is incomplete."""
    try:
        whole = np.memmap(file, np.uint8, "r")
    except (OSError, ValueError):
        return None
    content = whole[: len(whole) - 32]
    if hashlib.sha256(content.data).digest() != whole[len(content) :].tobytes():
        return None
    magic, n, m, size = content[:32].view(np.int64).tolist()
    if magic != MAGIC:
        return None
    ends = np.cumsum([32, 8 * n, 8 * n, 8 * (n + 1), size * m]).tolist()
    first, second, begins, ids = (content[begin:end] for begin, end in pairwise(ends))
    kind = np.uint16 if size == 2 else np.uint32
    return Segment(
        file, first.view(np.uint64), second.view(np.uint64), begins.view(np.int64), ids.view(kind)
    )
