"""Text to token ids, once; token ids to padded batches, each time."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from fki.core.errors import ConfigError
from fki.core.types import Batch, Example, Objective, SegmentIds
from fki.data.chunking import Pieces
from fki.data.prompts import SENTINEL
from fki.data.token_cache import Tokens

IGNORE = -100  # a label that is not scored


class TokenizedExample(NamedTuple):
    """One example, or one piece of a text, as token ids; both end in EOS."""

    source: list[int]
    target: list[int]
    id: str = ""  # of the example, for people


class ExampleTokenizer:
    """Tokenises each text once, within the configured lengths.

    A source that is too long loses what lies far from its blank. A target is never cut: the answer
    would be lost, so it is an error instead. Running text is cut into pieces that fit.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        input_length: int,
        output_length: int,
        *,
        multiple: int = 1,
        objective: Objective = "span_corruption",
        tokens: Tokens | None = None,
    ) -> None:
        """
        Args:
            multiple: lengths are padded to a multiple of this (8 suits a GPU's matrix units).
            tokens: where ids are kept; by default in memory.
        """
        self.tokenizer = tokenizer
        self.input_length, self.output_length = input_length, output_length
        self.multiple = multiple
        self.sentinel = tokenizer.convert_tokens_to_ids(SENTINEL)
        self.pad = tokenizer.pad_token_id
        self.store = tokens or Tokens(tokeniser(tokenizer))
        self.pieces = Pieces(tokenizer, input_length, output_length, objective, self.store.ids)

    def sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most `input_length` long, EOS included."""
        return [self._fit(ids) for ids in self.store.ids(texts)]

    def targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text. Raises ConfigError where one exceeds `output_length`."""
        self.check_fit(texts)
        return self.store.ids(texts)

    def check_fit(self, texts: Sequence[str]) -> None:
        """Raises ConfigError where a target exceeds `output_length`."""
        sizes = self.store.sizes(texts)
        over = [
            (int(sizes[i]), texts[i]) for i in (sizes > self.output_length).nonzero()[0].tolist()
        ]
        if over:
            longest, text = max(over)
            text = text if len(text) <= 80 else text[:80] + " ..."
            raise ConfigError(
                f"{len(over):,} of {len(texts):,} answers do not fit into output_length = "
                f"{self.output_length} tokens; the longest, '{text}', has {longest}. An answer is "
                "never cut.",
                hint=f"Add: --set output_length={longest}",
            )

    def encode(self, examples: Sequence[Example], seed: int = 0) -> list[TokenizedExample]:
        """Both sides of each example that has an answer, then of each piece of the texts.

        Args:
            seed: what is hidden in a text follows from it, and from nothing else around the text.
        """
        texts, asked = split(examples)
        sources = self.sources([e.source for e in asked])
        targets = self.targets([e.target for e in asked])
        answered = zip(sources, targets, (e.id for e in asked), strict=True)
        self.pieces.of([e.source for e in texts])  # tokenised in one go
        pieces = [(*pair, text.id) for text in texts for pair in self.pieces.corrupted(text, seed)]
        return [TokenizedExample(*parts) for parts in (*answered, *pieces)]

    def count(self, examples: Sequence[Example]) -> int:
        """How many examples `encode` makes of these: each piece of a text is one."""
        texts, asked = split(examples)
        return len(asked) + sum(map(len, self.pieces.of([e.source for e in texts])))

    def tokens(self, examples: Sequence[Example]) -> int:
        """Input and target tokens of these examples, without padding."""
        return sum(len(e.source) + len(e.target) for e in self.encode(examples))

    def batch(self, encoded: Sequence[TokenizedExample]) -> Batch:
        """Each example in a row of its own."""
        return self.packed([[example] for example in encoded])

    def packed(self, rows: Sequence[Sequence[TokenizedExample]]) -> Batch:
        """Each row's examples, one behind another; none sees another (see `Parts`)."""
        ids = self._table([[e.source for e in row] for row in rows], self.pad)
        parts = None
        labels = self._table([[e.target for e in row] for row in rows], IGNORE)
        sources = self._table([numbered([e.source for e in row]) for row in rows], 0)
        if any(len(row) > 1 for row in rows):
            targets = self._table([numbered([e.target for e in row]) for row in rows], 1)
            parts = SegmentIds(sources, targets)
        places = (labels.flatten() != IGNORE).nonzero().flatten()
        return Batch(ids, (sources > 0).long(), labels, places, parts)

    def _table(self, rows: Sequence[Sequence[Sequence[int]]], value: int) -> torch.Tensor:
        return padded([list(chain.from_iterable(row)) for row in rows], value, self.multiple)

    def _fit(self, ids: list[int]) -> list[int]:
        """The window around the blank (or, without one, the end), then EOS."""
        if len(ids) <= self.input_length:
            return ids
        body, room = ids[:-1], self.input_length - 1
        blank = body.index(self.sentinel) if self.sentinel in body else len(body)
        start = max(0, min(len(body) - room, blank - room // 2))
        return body[start : start + room] + ids[-1:]


def tokeniser(tokenizer: PreTrainedTokenizerBase) -> Callable[[list[str]], list[list[int]]]:
    """Texts to ids, EOS included, whatever their length."""
    return lambda texts: tokenizer(texts, truncation=False, verbose=False).input_ids


def split(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The texts, and the examples that have an answer, each in their order."""
    return [e for e in examples if e.is_text], [e for e in examples if not e.is_text]


def numbered(sides: Sequence[Sequence[int]]) -> list[list[int]]:
    """Instead of each example's tokens the example's number, from 1."""
    return [[number] * len(side) for number, side in enumerate(sides, 1)]


def padded(rows: Sequence[Sequence[int]], value: int, multiple: int = 1) -> torch.Tensor:
    """[B, longest row, rounded up] with `value` where a row has ended."""
    width = -(-max(map(len, rows)) // multiple) * multiple
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def shift_right(
    labels: torch.Tensor, start: int, pad: int, parts: SegmentIds | None = None
) -> torch.Tensor:
    """Decoder inputs [B, U] for labels [B, U]: each example's start token, then all its labels but
    the last."""
    inputs = labels.roll(1, dims=1)
    inputs[:, 0] = start
    if parts is not None:
        inputs[:, 1:][parts.targets[:, 1:] != parts.targets[:, :-1]] = start
    return inputs.masked_fill(inputs == IGNORE, pad)
