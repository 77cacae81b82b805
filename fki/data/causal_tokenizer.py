"""Tokenization and collation for decoders: the answer continues the prompt in one sequence.

A source is a prompt, a target is its answer with the end token. A row of a batch is the prompt and
the answer; the labels are aligned with the positions that predict them.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from fki.core.errors import ConfigError
from fki.core.types import Batch, DocumentObjective, Example, PromptFormat, SegmentIds
from fki.data.collator import (
    IGNORE_INDEX,
    ExampleTokenizer,
    TokenizedExample,
    number_segments,
)
from fki.data.next_token import NextTokenChunker
from fki.data.prompts import first_line
from fki.data.token_cache import TokenCache

ANCHOR = "\n"  # the text before an answer, so that its first token is that within a text
PLACEHOLDER = "\ue000"  # in place of the message in a chat template; of the private use area
# a newline in the names of tokens: plain, of a byte-level BPE, of a byte
NEWLINES = ("\n", "\u010a", "<0x0A>")


class CausalTokenizer(ExampleTokenizer):
    """An ExampleTokenizer for decoders."""

    kept = "their end"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        input_length: int,
        output_length: int,
        *,
        pad_multiple: int = 1,
        prompt_format: PromptFormat = "completion",
        start_token: str = "auto",
        loss_on: Literal["answer", "all"] = "answer",
        token_cache: TokenCache | None = None,
    ) -> None:
        """
        Args:
            start_token: before each text: "auto" for what the tokenizer adds itself, "none", or a
                token.
            loss_on: the training loss is on the answer and the end token, or on the prompt too.
        Raises:
            ConfigError: the tokenizer has no such token, or no template for a chat.
        """
        self.start = find_start(tokenizer, start_token)
        cache = token_cache or TokenCache(PlainText(tokenizer))
        super().__init__(
            tokenizer,
            input_length,
            output_length,
            pad_multiple=pad_multiple,
            objective="next_token",
            prompt_format=prompt_format,
            token_cache=cache,
        )
        self.loss_on = loss_on
        self.end_id = int(tokenizer.eos_token_id)
        self.pad_id = self.end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        if self.unknown_id in (tokenizer.eos_token_id, tokenizer.bos_token_id, self.pad_id):
            self.unknown_id = None  # the tokenizer has none: it spells all texts as bytes
        self.ends = frozenset({self.end_id, *find_newlines(tokenizer)})
        self.before, self.after = self.start, list[int]()
        if prompt_format == "chat":
            self.before, self.after = split_template(tokenizer)
        [self._anchor] = cache.get_ids([ANCHOR])

    def whole_sources(self, questions: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt, of any length."""
        return [*map(self.wrap, self.plain_ids([*map(self.prompts.source, questions)]))]

    def plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of parts of a prompt."""
        return self.token_cache.get_ids(texts)

    def wrap(self, body: Sequence[int]) -> list[int]:
        """The prompt whose text has these token ids: behind the start token, or in a chat."""
        return [*self.before, *body, *self.after]

    def unwrap(self, source: list[int]) -> list[int]:
        """The token ids of a prompt's text."""
        return source[len(self.before) : len(source) - len(self.after)]

    def source_lengths(self, questions: Sequence[str]) -> NDArray[np.int64]:
        """The number of tokens of each whole prompt."""
        lengths = self.token_cache.get_lengths([*map(self.prompts.source, questions)])
        return lengths + len(self.before) + len(self.after)

    def whole_targets(self, answers: Sequence[str]) -> list[list[int]]:
        """Token ids of each answer, of any length, end token included."""
        rows = self.token_cache.get_ids([*map(self._after_anchor, answers)])
        return [[*ids[len(self._anchor) :], self.end_id] for ids in rows]

    def target_lengths(self, answers: Sequence[str]) -> NDArray[np.int64]:
        """The number of tokens of each answer, end token included."""
        lengths = self.token_cache.get_lengths([*map(self._after_anchor, answers)])
        return lengths - len(self._anchor) + 1

    def read_answer(self, tokens: Sequence[int]) -> str:
        """The answer in generated tokens: up to the end token, to the end of the first line or,
        without an end token, to the end of the first sentence."""
        is_ended = self.end_id in tokens
        ids = tokens[: tokens.index(self.end_id)] if is_ended else tokens
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        return first_line(text) if is_ended else self.prompts.read_answer(text)

    def cut_after_end(self, ids: list[int]) -> list[int]:
        """The shortest beginning of the ids that has the answer; with its end token, if any."""
        if self.end_id in ids:
            return super().cut_after_end(ids)
        answer = self.read_answer(ids)
        sizes = range(1, len(ids))
        return next((ids[:n] for n in sizes if self.read_answer(ids[:n]) == answer), ids)

    def count_blanks(self, ids: Sequence[int]) -> int:
        """0: a prompt ends before its blank."""
        return 0

    def collate_packed(self, rows: Sequence[Sequence[TokenizedExample]]) -> Batch:
        """A batch of packed rows; labels are at the positions that predict them."""
        input_ids = self._join([[e.source for e in row] for row in rows], self.pad_id)
        labels = self._join([[*map(align_labels, row)] for row in rows], IGNORE_INDEX)
        segments = self._join([number_segments([e.source for e in row]) for row in rows], 0)
        is_packed = any(len(row) > 1 for row in rows)
        segment_ids = SegmentIds(segments, segments) if is_packed else None
        scored_positions = (labels.flatten() != IGNORE_INDEX).nonzero().flatten()
        return Batch(input_ids, (segments > 0).long(), labels, scored_positions, segment_ids)

    def _make_chunker(self, objective: DocumentObjective) -> NextTokenChunker:
        end: int = self.tokenizer.eos_token_id
        start = self.start or [end]  # documents follow each other, as in pretraining
        return NextTokenChunker(self.input_length, start, end, self.token_cache.get_ids)

    def _pair(
        self, example: Example, source: list[int], target: list[int], seed: int
    ) -> tuple[list[int], list[int]]:
        """The prompt with the answer, and the tokens that are scored."""
        text = source + target
        return text[:-1], text[1:] if self.loss_on == "all" else target

    def _after_anchor(self, answer: str) -> str:
        return ANCHOR + self.prompts.target(answer)

    def _fit(self, ids: list[int]) -> list[int]:
        """The end of the prompt's text."""
        room = max(1, self.input_length - len(self.before) - len(self.after))
        return ids if len(ids) <= self.input_length else self.wrap(self.unwrap(ids)[-room:])


def align_labels(example: TokenizedExample) -> list[int]:
    """The label of each position of the source: the target at the last ones."""
    return [IGNORE_INDEX] * (len(example.source) - len(example.target)) + example.target


class PlainText:
    """Token ids of texts; special tokens that a text spells are characters like any others."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, without special tokens and without truncation."""
        rows: list[list[int]] = self.tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            verbose=False,
        ).input_ids
        if (backend := getattr(self.tokenizer, "backend_tokenizer", None)) is not None:
            backend.encode_special_tokens = False  # the call leaves it set
        return rows


def find_start(tokenizer: PreTrainedTokenizerBase, start_token: str) -> list[int]:
    """The ids before each text. Raises ConfigError if the tokenizer has no such token."""
    if start_token == "none":
        return []
    if start_token == "auto":
        added = tokenizer("a").input_ids
        bos = tokenizer.bos_token_id
        return [bos] if bos is not None and added[:1] == [bos] else []
    token = tokenizer.convert_tokens_to_ids(start_token)
    if token is None or (token == tokenizer.unk_token_id and start_token != tokenizer.unk_token):
        raise ConfigError(
            f"start_token = '{start_token}': the tokenizer has no such token.",
            hint=f"Its special tokens: {', '.join(tokenizer.all_special_tokens)}",
        )
    return [int(token)]


def find_newlines(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of tokens with a newline."""
    candidates = [
        token for name, token in tokenizer.get_vocab().items() if any(n in name for n in NEWLINES)
    ]
    return [token for token in candidates if "\n" in str(tokenizer.decode([token]))]


def split_template(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids of a chat before and after a user's message.

    Raises ConfigError if the tokenizer has no template, or one that changes the message.
    """
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": PLACEHOLDER}], tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # a template raises what it likes
        raise ConfigError(
            f"prompt_format = 'chat' requires a chat template: {error}",
            hint="Add: --set prompt_format=question",
        ) from None
    before, found, after = str(text).partition(PLACEHOLDER)
    if not found:
        raise ConfigError(
            "The tokenizer's chat template leaves out the message.",
            hint="Add: --set prompt_format=question",
        )
    parts = (tokenizer(part, add_special_tokens=False).input_ids for part in (before, after))
    first, last = ([*map(int, ids)] for ids in parts)
    return first, last
