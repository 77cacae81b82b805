"""Splits documents into chunks and masks spans of them, with other spans in each epoch."""

import random
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fki.core.errors import ConfigError
from fki.core.types import DocumentObjective, Example
from fki.data.salient_spans import salient_spans
from fki.data.span_corruption import (
    DENSITY,
    SENTINELS,
    Span,
    hide_spans,
    mask_to_spans,
    noise_counts,
    noise_mask,
)
from fki.data.tokenization import PlainTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_CACHED_TEXTS = 20_000  # documents whose chunks stay in memory
MIN_CHUNK_TOKENS = 2  # one to mask, and one to keep


MarkedText = tuple[list[int], list[tuple[str, Span]]]  # a document's ids, and its salient spans


class Chunk(NamedTuple):
    """Tokens of a document, without EOS, and the ranges that are salient."""

    ids: "array[int]"
    salient: list[Span]


class Chunker(Protocol):
    """Splits documents into chunks, and makes training pairs of them."""

    def chunk(self, texts: Sequence[str]) -> list[list[Any]]:
        """The chunks of each document. Raises ConfigError if the lengths are too short."""
        ...

    def make_pairs(self, example: Example, seed: int) -> list[tuple[list[int], list[int]]]:
        """(source, target) token ids of each chunk of a document, or of one if it is a piece."""
        ...


class TextChunker:
    """Splits each document into chunks once, and masks other spans of them for each seed.

    A chunk is the longest one whose source fits into `input_length` and whose target fits into
    `output_length` and T5's sentinels. A last chunk of a single token is dropped.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        input_length: int,
        output_length: int,
        objective: DocumentObjective,
        get_ids: Callable[[Sequence[str]], list[list[int]]],
    ) -> None:
        """`get_ids`: returns the token ids of texts, EOS included."""
        self.tokenizer, self.get_ids = tokenizer, get_ids
        self.input_length, self.output_length = input_length, output_length
        self.is_salient = objective == "salient_spans"
        self.max_tokens = self._find_max_tokens()
        self._chunks: dict[str, list[Chunk]] = {}

    def chunk(self, texts: Sequence[str]) -> list[list[Chunk]]:
        """The chunks of each document.

        Raises ConfigError if the lengths are too short, or if salient spans are required and the
        tokenizer has no character offsets.
        """
        if len(self._chunks) > MAX_CACHED_TEXTS:
            self._chunks.clear()
        fresh = [t for t in dict.fromkeys(texts) if t not in self._chunks]
        if fresh:
            self._check()
            whole = self._tokenize_salient(fresh) if self.is_salient else self._tokenize(fresh)
            for text, (ids, salient) in zip(fresh, whole, strict=True):
                self._chunks[text] = self._split(ids, salient)
        return [self._chunks[t] for t in texts]

    def _tokenize(self, texts: list[str]) -> list[MarkedText]:
        return [(ids[:-1], []) for ids in self.get_ids(texts)]  # without EOS

    def _tokenize_salient(self, texts: list[str]) -> list[MarkedText]:
        """Tokenized here, because the token cache has no character offsets."""
        encoding = self.tokenizer(
            texts,
            add_special_tokens=False,
            truncation=False,
            return_offsets_mapping=True,
            verbose=False,  # no warning about long texts: they are split
        )
        plain, marked = PlainTokenizer(self.tokenizer), list[MarkedText]()
        for text, ids, ranges in zip(
            texts, encoding.input_ids, encoding.offset_mapping, strict=True
        ):
            if not plain.is_ordinary(text, ids):
                pairs = [*plain.encode(text)]
                ids, ranges = [id for id, _ in pairs], [span for _, span in pairs]
            marked.append((ids, token_spans(text, ranges)))
        return marked

    def make_pairs(self, example: Example, seed: int) -> list[tuple[list[int], list[int]]]:
        """(source, target) token ids of each chunk of a document, both ending in EOS.

        Only those of one chunk if the example is a piece. The masked spans depend on the seed, the
        example's id and the chunk's number alone.
        """
        [pieces] = self.chunk([example.source])
        return [
            self._corrupt(piece, random.Random(f"{seed}|{example.id}|{number}"))
            for number, piece in enumerate(pieces)
            if example.piece in (-1, number)
        ]

    def _corrupt(self, piece: Chunk, rng: random.Random) -> tuple[list[int], list[int]]:
        ids = piece.ids.tolist()
        spans = self._draw_salient(piece, rng) or mask_to_spans(noise_mask(len(ids), rng))
        source, target = hide_spans(ids, spans, self._sentinel)
        end = self.tokenizer.eos_token_id
        return [*source, end], [*target, end]

    def _draw_salient(self, piece: Chunk, rng: random.Random) -> list[Span]:
        """Random salient spans: at least one, at most 15 % of the chunk."""
        budget = DENSITY * len(piece.ids)
        chosen: list[Span] = []
        hidden = 0
        for start, end in rng.sample(piece.salient, len(piece.salient)):
            more = hidden + end - start
            if (more <= budget or not chosen) and self._fits(more, len(chosen) + 1):
                chosen.append((start, end))
                hidden = more
        return sorted(chosen)

    def _sentinel(self, number: int) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(f"<extra_id_{number}>"))

    def _split(self, ids: list[int], salient: list[tuple[str, Span]]) -> list[Chunk]:
        """Consecutive chunks, each with the first complete span of each wording in it."""
        starts = range(0, len(ids) - MIN_CHUNK_TOKENS + 1, self.max_tokens)
        parts = [array("i", ids[at : at + self.max_tokens]) for at in starts]
        first: list[dict[str, Span]] = [{} for _ in parts]
        for wording, (start, end) in salient:
            number, at = divmod(start, self.max_tokens)
            length = len(parts[number]) if number < len(parts) else 0
            if end - start < length and at + end - start <= length:
                first[number].setdefault(wording, (at, at + end - start))
        return [Chunk(p, list(f.values())) for p, f in zip(parts, first, strict=True)]

    def _find_max_tokens(self) -> int:
        """Tokens of the longest chunk that fits, as in T5's `random_spans_helper`."""
        length = MIN_CHUNK_TOKENS - 1
        while self._has_room(length + 1):
            length += 1
        return length

    def _has_room(self, length: int) -> bool:
        hidden, spans = noise_counts(length)
        left = length if self.is_salient else length - hidden + spans  # of one-token words
        return left + 1 <= self.input_length and self._fits(hidden, spans)

    def _fits(self, hidden: int, spans: int) -> bool:
        """Does a target of `hidden` tokens in `spans` spans fit, with last sentinel and EOS?"""
        return hidden + spans + 2 <= self.output_length and spans < SENTINELS

    def _check(self) -> None:
        if self.max_tokens < MIN_CHUNK_TOKENS:
            raise ConfigError(
                "Documents require input_length >= 3 and output_length >= 4, "
                f"not {self.input_length} and {self.output_length}.",
                hint="Add: --set input_length=64 --set output_length=32",
            )
        if self.is_salient and not self.tokenizer.is_fast:
            raise ConfigError(
                "document_objective = 'salient_spans' requires a tokenizer with character offsets; "
                f"{type(self.tokenizer).__name__} has none.",
                hint="Add: --set document_objective=span_corruption",
            )


def token_spans(text: str, offsets: Sequence[Span]) -> list[tuple[str, Span]]:
    """Each salient span of a document: its wording, and its token range.

    Args:
        offsets: the character range of each token; empty: no span.
    """
    if not offsets:
        return []
    starts, ends = [a for a, _ in offsets], [b for _, b in offsets]
    spans: list[tuple[str, Span]] = []
    taken = 0
    for start, end in salient_spans(text):
        first, behind = bisect_right(ends, start), bisect_left(starts, end)
        if taken <= first < behind:  # else they share a token
            spans.append((text[start:end], (first, behind)))
            taken = behind
    return spans
