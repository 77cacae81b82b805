"""Tokenization of examples, once per text, and collation of token ids into padded batches."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from fki.core.errors import ConfigError
from fki.core.formatting import quote_text
from fki.core.types import Batch, DocumentObjective, Example, PromptFormat, SegmentIds
from fki.data.chunking import Chunker, TextChunker
from fki.data.prompts import PROMPT_FORMS, SENTINEL
from fki.data.span_corruption import SENTINELS
from fki.data.text_infilling import hide_more_spans
from fki.data.token_cache import TokenCache
from fki.data.tokenization import make_tokenize

IGNORE_INDEX = -100  # the label of a position that is not scored


class TokenizedExample(NamedTuple):
    """The token ids of an example, or of one chunk of a document.

    Both sides end in EOS. The source of a decoder contains the target without its last token, and
    the target belongs to the source's last positions.
    """

    source: list[int]
    target: list[int]
    id: str = ""  # of the example, for display
    number: int = -1  # of the example among those that were encoded together


class TargetCheck:
    """Counts the different answers that exceed `output_length`, over any number of calls."""

    def __init__(self, tokenizer: "ExampleTokenizer") -> None:
        self.tokenizer, self.output_length = tokenizer, tokenizer.output_length
        self.too_long: set[str] = set()
        self.longest = (0, "")  # tokens and text

    def add(self, answers: Sequence[str]) -> None:
        """Count these answers, and tokenize them."""
        lengths = self.tokenizer.target_lengths(answers)
        rows = (lengths > self.output_length).nonzero()[0].tolist()
        self.too_long.update(answers[i] for i in rows)
        self.longest = max([self.longest, *((int(lengths[i]), answers[i]) for i in rows)])

    def raise_if_too_long(self) -> None:
        """Raises ConfigError, with the length that all targets need, if one is too long."""
        if not self.too_long:
            return
        longest, text = self.longest
        count = len(self.too_long)
        answers = "1 answer exceeds" if count == 1 else f"{count:,} answers exceed"
        raise ConfigError(
            f"{answers} output_length = {self.output_length} tokens; the longest, "
            f"'{quote_text(text)}', needs {longest}. Answers are never truncated.",
            hint=f"Add: --set output_length={longest}",
        )


class ExampleTokenizer:
    """Tokenizes each text once and fits it into the configured lengths.

    Questions and answers become a model's texts here, by the form of prompts. A source that exceeds
    `input_length` is cut to a window around its blank. A target is never cut, because that would
    lose the answer: a longer one is an error. Running text is split into chunks that fit.
    """

    kept = "a window around the blank"  # of a source that exceeds `input_length`

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        input_length: int,
        output_length: int,
        *,
        pad_multiple: int = 1,
        objective: DocumentObjective = "span_corruption",
        prompt_format: PromptFormat = "sentinel",
        token_cache: TokenCache | None = None,
    ) -> None:
        """
        Args:
            pad_multiple: lengths are padded to a multiple of this (8 suits a GPU's matrix units).
            token_cache: stores the token ids; by default in memory.
        """
        self.tokenizer = tokenizer
        self.input_length, self.output_length = input_length, output_length
        self.pad_multiple = pad_multiple
        self.prompts = PROMPT_FORMS[prompt_format]
        self.sentinel_id = tokenizer.convert_tokens_to_ids(SENTINEL)
        blanks = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(SENTINELS)])
        self.blank_ids = frozenset(blanks) - {tokenizer.unk_token_id}
        self.unknown_id = tokenizer.unk_token_id
        self.pad_id = tokenizer.pad_token_id
        self.ends = frozenset({tokenizer.eos_token_id})  # tokens that end an answer
        self.token_cache = token_cache or TokenCache(make_tokenize(tokenizer))
        self.chunker = self._make_chunker(objective)

    def tokenize_sources(self, questions: Sequence[str]) -> list[list[int]]:
        """Token ids of each question, at most `input_length` long, EOS included."""
        return [self._fit(ids) for ids in self.whole_sources(questions)]

    def whole_sources(self, questions: Sequence[str]) -> list[list[int]]:
        """Token ids of each question, of any length, EOS included."""
        return self.token_cache.get_ids([*map(self.prompts.source, questions)])

    def source_lengths(self, questions: Sequence[str]) -> NDArray[np.int64]:
        """The number of tokens of each whole question, EOS included."""
        return self.token_cache.get_lengths([*map(self.prompts.source, questions)])

    def tokenize_targets(self, answers: Sequence[str]) -> list[list[int]]:
        """Token ids of each answer, EOS included. Raises ConfigError if one exceeds
        `output_length`."""
        check = TargetCheck(self)
        check.add(answers)
        check.raise_if_too_long()
        return self.whole_targets(answers)

    def plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of parts of a source, without EOS."""
        return [ids[:-1] for ids in self.token_cache.get_ids(texts)]

    def unwrap(self, source: list[int]) -> list[int]:
        """The token ids of a source's text, without EOS."""
        return source[:-1]

    def wrap(self, body: Sequence[int]) -> list[int]:
        """The source whose text has these token ids."""
        return [*body, self.tokenizer.eos_token_id]

    def whole_targets(self, answers: Sequence[str]) -> list[list[int]]:
        """Token ids of each answer, of any length, EOS included."""
        return self.token_cache.get_ids([*map(self.prompts.target, answers)])

    def target_lengths(self, answers: Sequence[str]) -> NDArray[np.int64]:
        """The number of tokens of each answer, EOS included."""
        return self.token_cache.get_lengths([*map(self.prompts.target, answers)])

    def read_answer(self, tokens: Sequence[int]) -> str:
        """The answer in generated tokens."""
        return self.prompts.read_answer(str(self.tokenizer.decode(tokens)))

    def encode(self, examples: Sequence[Example], seed: int = 0) -> list[TokenizedExample]:
        """Both sides of each example that has an answer, then of each chunk of the documents.

        Args:
            seed: determines, with the example's id, which spans of a document are masked, and
                which further spans of an example with `infilling` are hidden.
        """
        questions = [(i, e) for i, e in enumerate(examples) if not e.is_text]
        documents = [(i, e) for i, e in enumerate(examples) if e.is_text]
        sources = self.tokenize_sources([e.source for _, e in questions])
        targets = self.tokenize_targets([e.target for _, e in questions])
        answered = [
            (*self._pair(e, source, target, seed), e.id, i)
            for source, target, (i, e) in zip(sources, targets, questions, strict=True)
        ]
        self.chunker.chunk([e.source for _, e in documents])  # tokenizes all of them in one call
        chunks = [
            (*pair, document.id, i)
            for i, document in documents
            for pair in self.chunker.make_pairs(document, seed)
        ]
        return [TokenizedExample(*parts) for parts in (*answered, *chunks)]

    def count_examples(self, examples: Sequence[Example]) -> int:
        """The number of tokenized examples that `encode` returns: each chunk counts as one."""
        whole = [e.source for e in examples if e.is_text and e.piece < 0]
        others = len(examples) - len(whole)
        return others + sum(map(len, self.chunker.chunk(whole)))

    def split_into_pieces(self, examples: Sequence[Example]) -> list[Example]:
        """The examples, with each chunk of a document as an example of its own."""
        texts = [e.source for e in examples if e.is_text]
        counts = iter([len(chunks) for chunks in self.chunker.chunk(texts)])
        pieces: list[Example] = []
        for example in examples:
            if example.is_text:
                pieces += [replace(example, piece=number) for number in range(next(counts))]
            else:
                pieces.append(example)
        return pieces

    def count_tokens(self, examples: Sequence[Example]) -> int:
        """Input and target tokens of these examples, without padding."""
        return sum(len(e.source) + len(e.target) for e in self.encode(examples))

    def collate(self, encoded: Sequence[TokenizedExample]) -> Batch:
        """A batch with one example per row."""
        return self.collate_packed([[example] for example in encoded])

    def collate_packed(self, rows: Sequence[Sequence[TokenizedExample]]) -> Batch:
        """A batch of packed rows; `segment_ids` keep the examples of a row apart."""
        input_ids = self._join([[e.source for e in row] for row in rows], self.pad_id)
        labels = self._join([[e.target for e in row] for row in rows], IGNORE_INDEX)
        sources = self._join([number_segments([e.source for e in row]) for row in rows], 0)
        segment_ids = None
        if any(len(row) > 1 for row in rows):
            targets = self._join([number_segments([e.target for e in row]) for row in rows], 1)
            segment_ids = SegmentIds(sources, targets)
        scored_positions = (labels.flatten() != IGNORE_INDEX).nonzero().flatten()
        return Batch(input_ids, (sources > 0).long(), labels, scored_positions, segment_ids)

    def count_blanks(self, ids: Sequence[int]) -> int:
        """The number of sentinels among token ids."""
        return sum(token in self.blank_ids for token in ids)

    def answer_part(self, target: Sequence[int]) -> slice:
        """The tokens of a target that spell its answer: without sentinels and end tokens."""
        marks = self.blank_ids | self.ends
        own = [place for place, token in enumerate(target) if token not in marks]
        return slice(own[0], own[-1] + 1) if own else slice(0, len(target))

    def can_represent(self, ids: Sequence[int]) -> bool:
        """Do the ids of a text contain no unknown token?"""
        return self.unknown_id is None or self.unknown_id not in ids

    def cut_after_end(self, ids: list[int]) -> list[int]:
        """The ids up to and including the first EOS; all of them without an EOS."""
        end = self.tokenizer.eos_token_id
        return ids[: ids.index(end) + 1] if end in ids else ids

    def _make_chunker(self, objective: DocumentObjective) -> Chunker:
        lengths = self.input_length, self.output_length
        return TextChunker(self.tokenizer, *lengths, objective, self.token_cache.get_ids)

    def _pair(
        self, example: Example, source: list[int], target: list[int], seed: int
    ) -> tuple[list[int], list[int]]:
        """Source and target, with further hidden spans if the example has `infilling`."""
        if example.infilling is None:
            return source, target
        return hide_more_spans(
            source,
            target,
            self.blank_ids,
            self._sentinel,
            example.infilling,
            random.Random(f"{seed}|{example.id}"),
            self.output_length,
        )

    def _sentinel(self, number: int) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(f"<extra_id_{number}>"))

    def _join(self, rows: Sequence[Sequence[Sequence[int]]], value: int) -> torch.Tensor:
        joined = [list(chain.from_iterable(row)) for row in rows]
        return pad_rows(joined, value, self.pad_multiple)

    def _fit(self, ids: list[int]) -> list[int]:
        """The window around the blank (without a blank: the end), then EOS."""
        if len(ids) <= self.input_length:
            return ids
        body, room = ids[:-1], self.input_length - 1
        blank = body.index(self.sentinel_id) if self.sentinel_id in body else len(body)
        start = max(0, min(len(body) - room, blank - room // 2))
        return body[start : start + room] + ids[-1:]


def number_segments(sides: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each token of a packed row: the number of its example, from 1."""
    return [[number] * len(side) for number, side in enumerate(sides, 1)]


def pad_rows(rows: Sequence[Sequence[int]], value: int, multiple: int = 1) -> torch.Tensor:
    """[B, longest row rounded up to `multiple`], padded with `value`."""
    width = -(-max(map(len, rows)) // multiple) * multiple
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def shift_right(
    labels: torch.Tensor, start: int, pad: int, segment_ids: SegmentIds | None = None
) -> torch.Tensor:
    """Decoder inputs [B, U] for labels [B, U].

    Each example starts with the start token, followed by all of its labels but the last.
    """
    inputs = labels.roll(1, dims=1)
    inputs[:, 0] = start
    if segment_ids is not None:
        targets = segment_ids.targets
        inputs[:, 1:][targets[:, 1:] != targets[:, :-1]] = start
    return inputs.masked_fill(inputs == IGNORE_INDEX, pad)
